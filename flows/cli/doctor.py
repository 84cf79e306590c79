"""doctor: all that can be known to fail before GPU time is spent. Data and prompts are prepared for real and kept."""

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

from artifacts.artifact_store import Store
from artifacts.check import Check
from artifacts.errors import RequestError, StageError, one_line
from artifacts.manifest import Record
from artifacts.refs import Ref
from flows import dag
from flows.cli.terminal import Terminal
from flows.recipe import Recipe
from flows.station.supervisor import station_server
from tasks.config import TrainSpec
from tasks.execution.stage import RECORDED, Artifact, Context, Input, Job, Stage, decide, perform
from tasks.reporting.escaping import visible
from tasks.train import run_trainer
from tasks.workers.events import NullListener


class EnoughError(Exception):
    """The graph has reached the trainer; what comes after it is not prepared."""


def doctor(recipe: Recipe, as_json: bool) -> None:
    """Print every check. StageError if one failed; RequestError if the request itself cannot be met."""
    console, store, setup = Terminal().console, _store(), dag.set_up(recipe)
    console.print("checking the GPU, which imports torch …")
    checks = [_versions(), _device(), store, *_gpu_slots()]
    checks.append(Check("data", "ok", f"{setup.data.origin} at {setup.data.revision[:12]}"))
    checks.append(Check("model", "ok", f"{setup.model.origin} at {setup.model.revision[:12]}, readable"))
    console.print("preparing the rows as the trainer gets them, and reading the model's tokenizer …")
    checks += _rows(setup)
    if as_json:
        print(json.dumps({"recipe": recipe.name, "checks": [check.as_dict() for check in checks]}, ensure_ascii=False))
    else:
        answers = Terminal().answers
        for check in checks:
            answers.print(visible(str(check)), markup=False)
    if failed := [check for check in checks if check.state == "failed"]:
        raise StageError(f"{failed[0].name}: {failed[0].detail}")


def _versions() -> Check:
    found = []
    for name in RECORDED:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            return Check("versions", "failed", f"{name} is not installed: run `make setup`")
    return Check("versions", "ok", f"Python {platform.python_version()}, " + ", ".join(found))


def _device() -> Check:
    """Asked in a process of its own: torch takes seconds to import and holds the GPU once asked."""
    script = (
        "import torch; c = torch.cuda; print(', '.join(f'{c.get_device_name(i)}, "
        "{c.get_device_properties(i).total_memory / 2**30:.0f} GiB' for i in range(c.device_count())))"
    )
    asked = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    if asked.returncode:
        return Check("GPU", "failed", f"torch does not import: {asked.stderr.strip().splitlines()[-1]}")
    return (
        Check("GPU", "ok", asked.stdout.strip())
        if asked.stdout.strip()
        else Check("GPU", "note", "no GPU: running on the CPU")
    )


def _store() -> Check:
    store = Store.current()
    store.check_writable()
    return Check("store", "ok", f"{store.root} can be written")


def _gpu_slots() -> list[Check]:
    """Whether a slot of the GPU is taken that no run holds; no check where no Prefect server is in use."""
    station, home = station_server()
    url = os.environ.get("PREFECT_API_URL") or station
    if url is None:
        return []
    os.environ["PREFECT_API_URL"] = url
    from flows.station.slot_recovery import describe_unheld  # Prefect reads its settings when it is imported

    try:
        unheld = describe_unheld(url, home if url == station else None)
    except Exception as error:  # a server that is away or refuses is not what is looked for here
        return [Check("GPU slots", "note", f"the Prefect server {url} does not say ({one_line(error, 160)})")]
    return [Check("GPU slots", "note", each) for each in unheld] or [
        Check("GPU slots", "ok", f"none is taken on {url} without a run that holds it")
    ]


def _rows(setup: dag.Setup) -> list[Check]:
    found: list[Check] = []

    def step(stage: Stage, of: str | None, spec: Record, **inputs: Input) -> Input:
        refs: dict[str, Ref] = {role: ref for role, ref in inputs.items() if isinstance(ref, Ref)}
        if isinstance(spec, TrainSpec):
            found.extend(_checks(setup, spec, refs["rows"]))
            raise EnoughError
        decision = decide(stage, of, spec, refs)
        job = Job(
            stage=stage.name,
            of=of,
            spec=spec.model_dump(mode="json"),
            inputs=refs,
            identity=decision.identity,
            run="doctor",
        )
        return Ref.of_manifest(perform(stage, job, NullListener())[0])

    try:
        dag.retrain(setup, step)
    except EnoughError:
        return found
    raise RequestError("the graph has no training stage")


def _checks(setup: dag.Setup, spec: TrainSpec, rows: Ref) -> list[Check]:
    store = Store.current()
    with TemporaryDirectory() as folder:
        place = Path(folder)
        context = Context(out=place, work=place, runtime=setup.recipe.runtime, events=NullListener())
        artifact = Artifact(store.payload(rows.path), store.verified(rows.path))
        return run_trainer(spec, context, artifact, check_only=True).checks
