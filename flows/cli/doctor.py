"""doctor: find what would make a run fail before it uses the GPU.

The data and prompts that it prepares are kept."""

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from artifacts.artifact_store import Store
from artifacts.check import Check
from artifacts.errors import RequestError, StageError
from artifacts.record import Record
from artifacts.refs import Ref
from artifacts.text import one_line
from flows import dag
from flows.cli.terminal import Terminal
from flows.local_steps import LocalSteps
from flows.recipe import Recipe
from flows.station.supervisor import station_server
from tasks.config import TrainSpec
from tasks.data.dataset_checks import check_dataset
from tasks.download import DOWNLOAD
from tasks.execution.decision import Input
from tasks.execution.executor import RECORDED_PACKAGES
from tasks.execution.stage import Artifact, Context, Stage
from tasks.reporting.escaping import visible
from tasks.train import run_trainer
from tasks.workers.events import NullListener

DEVICES = (
    "import torch; c = torch.cuda; print(', '.join(f'{c.get_device_name(i)}, "
    "{c.get_device_properties(i).total_memory / 2**30:.0f} GiB' for i in range(c.device_count())))"
)
"""Script that prints the GPUs."""


class ReachedTrainer(Exception):  # noqa: N818  # not an error: it ends the walk
    """The walk through the DAG has reached the trainer; nothing behind it is prepared."""


def check_machine(recipe: Recipe, as_json: bool) -> None:
    """Print every check. StageError if one failed; RequestError if the recipe's data or model cannot be used."""
    console, store, resolved = Terminal().console, _store(), dag.resolve_recipe(recipe)
    console.print("checking the GPU, which imports torch …")
    checks = [_versions(), _gpu(), store, *_server()]
    checks.append(Check("data", "ok", f"{resolved.data.origin} at {resolved.data.revision[:12]}"))
    checks.append(Check("model", "ok", f"{resolved.model.origin} at {resolved.model.revision[:12]}, readable"))
    checks += _data_and_training_rows(resolved, console)
    checks.append(_decoder(resolved))
    if as_json:
        print(json.dumps({"recipe": recipe.name, "checks": [check.as_dict() for check in checks]}, ensure_ascii=False))
    else:
        output = Terminal().output
        for check in checks:
            output.print(visible(str(check)), markup=False, soft_wrap=True)
    if failed := [check for check in checks if check.state == "failed"]:
        raise StageError(f"{failed[0].name}: {failed[0].detail}")


def _versions() -> Check:
    versions = []
    for name in RECORDED_PACKAGES:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            return Check("versions", "failed", f"{name} is not installed: run `make setup`")
    return Check("versions", "ok", f"Python {platform.python_version()}, " + ", ".join(versions))


def _gpu() -> Check:
    """The GPUs, from a process of its own: torch takes seconds to import, and holds memory on a GPU until it ends."""
    process = subprocess.run([sys.executable, "-c", DEVICES], capture_output=True, text=True, check=False)
    if process.returncode:
        return Check("GPU", "failed", f"torch cannot be imported: {process.stderr.strip().splitlines()[-1]}")
    if devices := process.stdout.strip():
        return Check("GPU", "ok", devices)
    return Check("GPU", "note", "no GPU: running on the CPU")


def _store() -> Check:
    store = Store.current()
    store.check_writable()
    return Check("store", "ok", f"{store.root} is writable")


def _server() -> list[Check]:
    """Whether the Prefect server costs no runs, and whether a GPU slot is taken that no run holds.

    No check if no Prefect server is in use.
    """
    station, home = station_server()
    url = os.environ.get("PREFECT_API_URL") or station
    if url is None:
        return []
    os.environ["PREFECT_API_URL"] = url
    from flows.station.server_settings import check_settings  # Prefect reads its settings when it is imported
    from flows.station.slot_recovery import describe_unheld

    try:
        unheld = describe_unheld(url, home if url == station else None)
        checks = check_settings(url)
    except Exception as error:  # a server that is down or refuses access does not concern this check
        return [Check("server", "note", f"the Prefect server {url} did not answer ({one_line(error, 160)})")]
    return [
        *checks,
        *(
            [Check("GPU slots", "note", each) for each in unheld]
            or [Check("GPU slots", "ok", f"every slot that is taken on {url} is held by a run")]
        ),
    ]


def _data_and_training_rows(resolved: dag.ResolvedRecipe, console: Console) -> list[Check]:
    """Make the data and the prompts, and check them; the trainer checks the rows that reach it."""
    checks: list[Check] = []

    steps = LocalSteps("doctor", resolved.recipe.runtime, NullListener())

    def step(stage: Stage, variant: str | None, spec: Record, **inputs: Any) -> Input:
        if isinstance(spec, TrainSpec):
            console.print("preparing the training rows with the model's tokenizer …")
            checks.extend(_preflight(resolved, spec, inputs["rows"]))
            raise ReachedTrainer
        artifact = steps.step(stage, variant, spec, **inputs)
        if stage is DOWNLOAD:
            console.print("reading all dialogues and references …")
            checks.extend(check_dataset(Store.current().payload(artifact.path)))
        return artifact

    try:
        dag.retrain(resolved, step)
    except ReachedTrainer:
        return checks
    raise RequestError("the DAG has no training stage")


def _decoder(resolved: dag.ResolvedRecipe) -> Check:
    """What decodes the model. It fails if the recipe samples candidates of a model that only transformers decodes."""
    from transformers import AutoConfig

    from tasks.decoding.decoder_choice import choose_decoder
    from tasks.models.loading import model_folder

    config = AutoConfig.from_pretrained(model_folder(resolved.model), trust_remote_code=False)
    return choose_decoder(resolved.recipe.decoding, config).check()


def _preflight(resolved: dag.ResolvedRecipe, spec: TrainSpec, rows: Ref) -> list[Check]:
    """The checks that the training worker makes before it trains."""
    store = Store.current()
    with TemporaryDirectory() as name:
        folder = Path(name)
        context = Context(out=folder, work=folder, runtime=resolved.recipe.runtime, events=NullListener())
        artifact = Artifact(store.payload(rows.path), store.verified(rows.path))
        return run_trainer(spec, context, artifact, check_only=True).checks
