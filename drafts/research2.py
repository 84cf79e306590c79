"""One process per GPU: supervised and cross-fitted adapters, samples, then jobs from a queue, until it has "end".

queue: SHARE/queue.jsonl, one job a line: {"name", "kind", "how", "rw", "beta", "ce", "lr", "epochs", "bs", "n", "k", "start", "from",
"refs", "save"}, or {"name", "op": "sample", "start", "k"} or {"name", "op": "mbr", "start", "k"} or {"name", "op": "average", "of"}.
Results: SHARE/results.jsonl. OF is the number of GPUs, RANK_OF_TWO the number of this one.
"""
import copy, json, os, sys, time
T0 = time.time()
def log(*a):
    line = f"{time.time()-T0:6.1f} " + " ".join(map(str, a)); print(line, flush=True)
    with open(LOG, "a") as f: f.write(line + "\n")
RANK = int(os.environ.get("RANK_OF_TWO", "0")); OF = int(os.environ.get("OF", "1"))
os.makedirs(os.environ["RES"], exist_ok=True)
LOG = os.environ["RES"] + f"/research-{RANK}.log"
import numpy as np, torch, torch.nn.functional as F
from artifacts.artifact_store import Store
from artifacts.schemas import FORMATTED_TRAIN, FORMATTED_EVAL, DATASET, read_table
from flows import dag
from flows.local_steps import LocalSteps
from flows.recipe import load_recipe
from tasks.config import *
from tasks.format import FORMAT
from tasks.models.chat_template import TurnEncoder
from tasks.models.loading import load_tokenizer, pick_device
from tasks.decoding.engine import Engine
from tasks.decoding.batching import make_batches
from tasks.sampling.worker import candidates_row
from tasks.training import builder
from tasks.training.loop import Loop
from tasks.training.memory import token_budget
from tasks.training.objective import Supervised
from tasks.training.packing import LabelledRows
from tasks.training.preference import Preference
from tasks.training.preference_rows import _labelled
from tasks.training.process_group import ProcessGroup
from tasks.training.worker import encode_and_check
from tasks.workers.events import NullListener
from flows.benchmarks.greedy import rouge
if __name__ == "__main__":
    N_SUP, N_SAMPLE, SAMPLES = (int(os.environ.get(k, d)) for k, d in (("N_SUP", "4000"), ("N_SAMPLE", "3000"), ("SAMPLES", "16")))
    EVAL = int(os.environ.get("N_EVAL", "500"))
    class L(NullListener):
        def stage(self, *a): pass
        def finished(self, *a): pass
    recipe = load_recipe("smollm2-135m", [f"data.source={os.environ['GPU_FILES']}/dialogsum", "generate.candidates=1", *os.environ.get("SETS", "").split()])
    resolved = dag.resolve_recipe(recipe)
    steps = LocalSteps("research", recipe.runtime, L())
    dataset = steps.step(dag.DOWNLOAD, None, DownloadSpec(data=resolved.data))
    def fmt(rows): return Store.current().payload(Store.current().by_id(steps.step(FORMAT, rows, dag._format(resolved, rows, resolved.prompt), dataset=dataset).id).path)
    SHARE = os.environ["SHARE"]; os.makedirs(SHARE, exist_ok=True)
    train_folder = fmt("train"); log("rows")
    rows = read_table(train_folder / "train.parquet", FORMATTED_TRAIN)
    val = read_table(train_folder / "validation.parquet", FORMATTED_TRAIN)[:EVAL]
    spec = TrainSpec(model=resolved.model, turns=recipe.model.turns, quantization="none", train=recipe.train)
    tokenizer = load_tokenizer(spec.model); encoder = TurnEncoder(tokenizer, spec.turns)
    group = ProcessGroup.init(recipe.runtime.device); device = group.device
    dtype, _ = builder.compute_dtype(device)
    peft_model = builder.load_peft_model(spec, device, dtype)
    base = copy.deepcopy(peft_model).unload().eval() if device.type == "cuda" else copy.deepcopy(peft_model).unload().float().eval()
    for p in base.parameters(): p.requires_grad_(False)
    packed = builder.build_packed(peft_model, dtype)
    adapter = packed.adapter
    budget = token_budget(device, peft_model.config, dtype.itemsize, False)
    from tasks.models.formatted_rows import in_fold
    rows = rows[: int(os.environ.get("N_ROWS", "1000000"))]
    half = [in_fold(rows, Fold(index=i, count=2)) for i in (0, 1)]
    labelled, _ = encode_and_check(spec, encoder, rows, len(rows))
    by_half = [[r for r, h in zip(rows, half[i]) if h] for i in (0, 1)]
    shuffled = np.random.default_rng(0).permutation(len(rows))
    held, _ = encode_and_check(spec, encoder, val[:16], len(val[:16]))
    log("loaded", len(labelled.rows))
    def train(objective, settings):
        loop = Loop(objective, settings, held, group, NullListener(), budget)
        t = time.time(); loop.run(); log("trained", len(objective.ids), "examples", f"{time.time()-t:.1f}s", loop.final_figures(), "loss", loop.progress.curve[-1].get("train_loss"))
        return loop
    def merged():
        model = copy.deepcopy(base)
        mods = dict(peft_model.base_model.model.named_modules())
        with torch.no_grad():
            for name, m in model.named_modules():
                if isinstance(m, torch.nn.Linear) and hasattr(mods.get(name), "lora_A"):
                    l = mods[name]; a, b = l.lora_A["default"].weight.float(), l.lora_B["default"].weight.float()
                    m.weight.copy_((m.weight.float() + l.scaling["default"] * (b @ a)).to(m.weight.dtype))
        return model
    texts, refs = {}, [[r["completion"]] for r in val]
    def evaluate(name):
        t = time.time(); g = recipe.generate.model_copy(update={"candidates": 1})
        engine = Engine(merged(), tokenizer, encoder.stop_id, g)
        prompts, _ = encoder.prompts([r["prompt"] for r in val], g.max_prompt_tokens)
        out = {}
        for batch in make_batches([(str(i), p) for i, p in enumerate(prompts)], 512 if device.type == "cuda" else 4):
            out |= {r["id"]: r for r in engine.predict(batch)}
        preds = [out[str(i)]["prediction"] for i in range(len(val))]
        texts[name] = preds
        s = rouge({name: preds}, refs)[name]; w = np.mean([len(p.split()) for p in preds]); wr = np.mean([len(r[0].split()) for r in refs])
        log("EVAL", name, "ROUGE", " / ".join(f"{x:.2f}" for x in s), f"words {w:.1f} of {wr:.1f} limit {np.mean([o['stop']=='limit' for o in out.values()]):.3f} ({time.time()-t:.1f}s)")
        (open(os.environ["RES"] + f"/texts-{RANK}.json", "w")).write(json.dumps(texts))
    def sample(some, count):
        t = time.time(); g = recipe.generate.model_copy(update={"candidates": count, "temperature": 1.0, "epsilon": 0.02, "max_prompt_tokens": 944})
        engine = Engine(merged(), tokenizer, encoder.stop_id, g)
        prompts, _ = encoder.prompts([r["prompt"] for r in some], 944)
        ref = {str(i): [r["completion"]] for i, r in enumerate(some)}; res = {}
        for batch in make_batches([(str(i), p) for i, p in enumerate(prompts)], 256 if device.type == "cuda" else 4):
            for r in engine.sample(batch, lambda name, outs: candidates_row(name, outs, ref[name], "auto")): res[int(r["id"])] = r
        log("sampled", len(some), "x", count, f"{time.time()-t:.1f}s")
        return [res[i] for i in range(len(some))]
    def words(t): return max(1, len(t.split()))
    def choose(c, how, rw):
        s = np.array(c["agreement"]) + rw * np.array(c["reference_agreement"]); n = np.array([words(x) for x in c["candidates"]]); fin = np.array(c["finished"])
        if not fin.any(): return None
        if how == "extremes":
            b = max(np.flatnonzero(fin), key=lambda i: s[i]); return b, int(np.argmin(s))
        if how.startswith("matched"):
            tol = float(how[7:] or .15); bestgap, pair = 0, None
            for b in np.flatnonzero(fin):
                near = np.flatnonzero(np.abs(n - n[b]) <= tol * n[b]); w = near[np.argmin(s[near])]
                if s[b] - s[w] > bestgap: bestgap, pair = s[b] - s[w], (b, w)
            return pair
        if how.startswith("shorter"):  # best of all; worst at least as long as the best
            b = max(np.flatnonzero(fin), key=lambda i: s[i]); near = np.flatnonzero(n >= n[b]); w = near[np.argmin(s[near])]
            return None if w == b else (b, w)
        if how.startswith("penalty"):
            s2 = s - float(how[7:]) * np.abs(0) - float(how[7:]) * (n / n.mean() - 1)
            b = max(np.flatnonzero(fin), key=lambda i: s2[i]); return b, int(np.argmin(s2))
        raise ValueError(how)
    def pairs_of(some, cands, how, rw):
        texts_, keep = [], []
        for i, c in enumerate(cands):
            p = choose(c, how, rw)
            if p is None or c["candidates"][p[0]] == c["candidates"][p[1]]: continue
            keep.append(i); texts_ += [(c["candidates"][k], c["finished"][k]) for k in p]
        enc, _ = encoder.prompts([some[i]["prompt"] for i in keep], 944); ends = encoder.endings([t for t, _ in texts_])
        lab = [_labelled(enc[i // 2], e if f else e[:-1]) for i, (e, (_, f)) in enumerate(zip(ends, texts_))]
        wb, ww = np.mean([words(t) for t, _ in texts_[::2]]), np.mean([words(t) for t, _ in texts_[1::2]])
        log("pairs", how, rw, len(keep), f"words best {wb:.1f} worst {ww:.1f}")
        return list(zip(lab[::2], lab[1::2])), [some[i]["id"] for i in keep]
    class Variant(Preference):
        kind = "sigmoid"; alpha = 0.0
        def loss(self, examples):
            lp = self.log_probabilities(examples); counts = torch.tensor([self.target_counts[i] for i in examples], device=self.model.device).float()
            ratios = lp - self.reference[list(examples)]
            if self.kind == "norm": ratios = ratios / counts
            margins = self.settings.beta * (ratios[:, 0] - ratios[:, 1])
            if self.alpha:  # R-DPO: longer preferred rows need a larger margin
                margins = margins + self.alpha * (counts[:, 1] - counts[:, 0])
            loss = -F.logsigmoid(margins).sum()
            if self.kind == "ipo":
                m = ratios / counts; d = m[:, 0] - m[:, 1]; loss = ((d - 1 / (2 * self.settings.beta)) ** 2).sum()
            if self.settings.cross_entropy: loss = loss - self.settings.cross_entropy * (lp[:, 0] / counts[:, 0]).sum()
            d = margins.detach(); return loss, torch.stack([(d > 0).float().sum(), d.sum()])
    def path(name): return f"{SHARE}/{name}"
    def put(value, name): torch.save(value, path(name + ".tmp" + str(RANK))); os.replace(path(name + ".tmp" + str(RANK)), path(name))
    def get(name, seconds=600):
        t = time.time()
        while not os.path.exists(path(name)):
            if time.time() - t > seconds: raise RuntimeError("no " + name)
            time.sleep(0.3)
        return torch.load(path(name), map_location=device, weights_only=False)
    def snapshot(name): put(adapter.values.detach().clone(), "adapter-" + name)
    def restore(name):
        with torch.no_grad(): adapter.values.data.copy_(get("adapter-" + name))
        adapter.refresh()
    init = adapter.values.detach().clone()
    def reset():
        with torch.no_grad(): adapter.values.data.copy_(init)
        adapter.refresh()
    def without(i):
        keep = [j for j in range(len(rows)) if not half[i][j]]
        return LabelledRows([labelled.rows[j] for j in keep], [labelled.ids[j] for j in keep])
    if RANK == 0: put(init, "adapter-init")
    if RANK == 0:
        train(Supervised(packed, labelled), recipe.train); snapshot("supervised"); evaluate("supervised")
    if RANK == OF - 1:
        for i in (0, 1): reset(); train(Supervised(packed, without(i)), recipe.train); snapshot(f"fold{i}")
    for i in (0, 1):
        if i % OF == RANK: restore(f"fold{i}"); put(sample(by_half[i], SAMPLES), f"cands-{i}")
    place = {r["id"]: None for r in rows}
    candidates = {}
    def load_candidates(name):
        if name not in candidates:
            found = {}
            for i in (0, 1):
                for r, c in zip(by_half[i], get(f"{name}-{i}")): found[r["id"]] = c
            candidates[name] = [found[r["id"]] for r in rows]
        return candidates[name]
    def first(c, k):
        if k >= len(c["candidates"]): return c
        if k not in c.setdefault("cut", {}):
            from types import SimpleNamespace as O
            ref = [refs_of[c["id_"]]]
            c["cut"][k] = candidates_row(c["id_"], [O(text=t, finished=f, tokens=0) for t, f in zip(c["candidates"][:k], c["finished"])], ref, "auto")
        return c["cut"][k]
    refs_of = {r["id"]: r["completion"] for r in rows}
    def mbr(k):
        from tasks.decoding.minimum_bayes_risk import choose as mbr_choose
        g = recipe.generate.model_copy(update={"candidates": k, "temperature": 1.0})
        engine = Engine(merged(), tokenizer, encoder.stop_id, g)
        prompts, _ = encoder.prompts([r["prompt"] for r in val], g.max_prompt_tokens); out = {}
        for batch in make_batches([(str(i), p) for i, p in enumerate(prompts)], 256 if device.type == "cuda" else 4):
            out |= {r["id"]: r["prediction"] for r in engine.predict(batch)}
        return [out[str(i)] for i in range(len(val))]
    def say(name, o, preds, seconds):
        s = rouge({name: preds}, refs)[name]; w = np.mean([len(p.split()) for p in preds])
        from rouge_score.rouge_scorer import RougeScorer
        line = {"name": name, "job": o, "rouge": [round(x, 2) for x in s], "words": round(float(w), 1), "seconds": round(seconds, 1), "gpu": RANK, "texts": preds}
        with open(path("results.jsonl"), "a") as f: f.write(json.dumps(line) + "\n")
    def work(o):
        name, t = o["name"], time.time()
        if o.get("op") == "sample":  # both halves from one adapter; without folds
            restore(o["start"]); return [put(sample(by_half[i], o.get("k", 16)), f"{o['name']}-{i}") for i in o.get("halves", (0, 1))]
        if o.get("op") == "average":
            values = sum(get("adapter-" + a) for a in o["of"]) / len(o["of"])
            with torch.no_grad(): adapter.values.data.copy_(values)
            adapter.refresh(); snapshot(name); evaluate(name); return say(name, o, texts[name], time.time() - t)
        if o.get("op") == "mbr":
            restore(o["start"]); return say(name, o, mbr(o.get("k", 128)), time.time() - t)
        restore(o.get("start", "supervised"))
        cands = load_candidates(o.get("from", "cands")); chosen = sorted(shuffled[: o.get("n", len(rows))])
        some = [rows[i] for i in chosen]; use = []
        for i in chosen: cands[i]["id_"] = rows[i]["id"]; use.append(first(cands[i], o.get("k", 1000)))
        pairs, ids = pairs_of(some, use, o.get("how", "extremes"), o.get("rw", 0.0))
        d = recipe.train.distill.model_copy(update={"samples": SAMPLES, "beta": o.get("beta", .3), "cross_entropy": o.get("ce", 0.0), "learning_rate": o.get("lr", 1e-4), "epochs": o.get("epochs", 1.0), "batch_size": o.get("bs", 32)})
        settings = spec.model_copy(update={"preference": d}).step_settings
        if o.get("kind") == "sft":
            best, names = [b for b, _ in pairs], list(ids)
            if o.get("refs"): best += [labelled.rows[i] for i in chosen]; names += [labelled.ids[i] for i in chosen]
            objective = Supervised(packed, LabelledRows(best, names))
        else:
            objective = Variant(packed, pairs, ids, d); objective.kind = {"sigmoid_norm": "norm"}.get(o.get("kind"), o.get("kind", "sigmoid")); objective.alpha = o.get("alpha", 0.0)
        log("VARIANT", o); train(objective, settings); evaluate(name); say(name, o, texts.pop(name), time.time() - t)
        if o.get("save", True): snapshot(name)
    put(1, f"ready-{RANK}"); log("ready")
    waited = time.time()
    while True:
        lines = open(path("queue.jsonl")).read().splitlines() if os.path.exists(path("queue.jsonl")) else []
        for i, line in enumerate(lines):
            o = json.loads(line)
            if o.get("gpu", RANK) != RANK and OF > 1: continue
            needs = ["adapter-" + a for a in ([o["start"]] if "start" in o else []) + o.get("of", [])] + [f"{o['from']}-{h}" for h in (0, 1) if "from" in o]
            if o.get("op") == "end": pass
            elif not all(os.path.exists(path(x)) for x in needs): continue
            try: os.close(os.open(path(f"taken-{i}" + (f"-{RANK}" if o.get("op") == "end" else "")), os.O_CREAT | os.O_EXCL))
            except FileExistsError: continue
            if o.get("op") == "end": log("end"); sys.exit(0)
            try: work(o)
            except Exception:
                import traceback; log("FAILED", o, traceback.format_exc()[-1500:])
            break
        else: time.sleep(0.3)
