"""python3 trial.py MODE NAME KEY=VALUE...   MODE: trial | start | fold0 | fold1 | start+fold..."""
import json, os, shutil, sys, time
from pathlib import Path
from artifacts.artifact_store import Store
from flows import dag
from flows.local_steps import LocalSteps
from flows.recipe import load_recipe
from tasks.workers.events import NullListener

class L(NullListener):
    last = 0.0
    def log(self, line): print(f"{time.time()-T0:6.1f} {line}", flush=True)
    def stage(self, label, status, reason, artifact): print(f"{time.time()-T0:6.1f} > {label}: {status}, {reason} {artifact}", flush=True)
    def finished(self, entry): print(f"{time.time()-T0:6.1f} < {entry.artifact} {entry.seconds}", flush=True)
    def progress(self, done, total, note=""):
        if time.time() - self.last > 15: self.last = time.time(); print(f"{time.time()-T0:6.1f} {done}/{total} {note}", flush=True)

class Done(Exception): pass
T0 = time.time()
mode, name, *sets = sys.argv[1:]
base = os.environ["BASE_SETS"].split()
recipe = load_recipe(os.environ.get("RECIPE", "smollm2-135m"), [*base, *sets])
steps = LocalSteps(name, recipe.runtime, L())
made = []
def step(stage, variant, spec, **inputs):
    if mode != "trial":
        if stage.name == "train" and getattr(spec, "preference", None) is not None: raise Done
        fold = getattr(spec, "without", None) or getattr(spec, "fold", None)
        if stage.name in ("train", "sample"):
            which = "start" if fold is None else f"fold{fold.index}"
            if which != mode: return None
    ref = steps.step(stage, variant, spec, **inputs)
    made.append(ref.id)
    return ref
resolved = dag.resolve_recipe(recipe)
out = {"name": name, "sets": sets, "mode": mode}
try:
    scores = dag.trial(resolved, step)
    m = Store.current().by_id(scores.id)
    out["headline"] = m.facts["headline"]
    preds = [i for i in made if i.startswith("generate")][-1]
    pm = Store.current().by_id(preds)
    out["generate"] = pm.provenance.measured
    to = Path(os.environ["RES"]) / "pred"; to.mkdir(exist_ok=True, parents=True)
    shutil.copy(Store.current().payload(pm.path) / "predictions.parquet", to / f"{name}.parquet")
    am = Store.current().by_id([i for i in made if i.startswith("train")][-1])
    out["train"] = {"id": am.id, "seconds": am.provenance.seconds, "facts": am.facts, "measured": am.provenance.measured}
except Done:
    out["made"] = made
    for i in made:
        m = Store.current().by_id(i)
        if m.stage in ("train", "sample"): out[i] = {"seconds": m.provenance.seconds, "measured": m.provenance.measured, "facts": m.facts}
out["wall"] = time.time() - T0
with open(Path(os.environ["RES"]) / "results.jsonl", "a") as f: f.write(json.dumps(out, default=str) + "\n")
print(json.dumps(out.get("headline", {}), default=str), out["wall"], flush=True)
