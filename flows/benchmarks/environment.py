"""What a benchmark runs on: a recipe with a model and data put in, a folder for this run, and who takes part."""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artifacts.errors import RequestError, nearest
from flows.benchmarks.child_process import FailedError, run_child
from flows.benchmarks.children.random_model import SHAPES, stand_in
from flows.recipe import load_recipe
from tasks.workers.gpus import gpu_names

WORK = Path(tempfile.gettempdir()) / "dialogsum-bench"


@dataclass(frozen=True)
class Asked:
    """What the command line asks of every benchmark."""

    recipe: str = "gemma-2b"
    model: str | None = None
    """A model folder; without one the stand-in of `shape`, or with `real` the recipe's own."""
    tokenizer: Path | None = None
    shape: str = "gemma-2b"
    real: bool = False
    data: str | None = "sample"
    """As data.source; None: the recipe's own."""
    work: Path = WORK
    timeout: float = 300.0
    """Seconds that a system may take."""
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """One run of a benchmark: its folder, and the recipe as every child gets it."""

    folder: Path
    recipe: str
    overrides: tuple[str, ...]
    timeout: float
    failures: list[str] = field(default_factory=list)

    def child(self, module: str, *overrides: str, only_path: str | None = None, **config: Any) -> dict[str, Any]:
        """Run a child on the recipe with further overrides."""
        asked = {"recipe": self.recipe, "overrides": [*self.overrides, *overrides]}
        store = {"DIALOGSUM_STORE": str(self.folder / "store"), "UNSLOTH_DISABLE_STATISTICS": "1"}
        if module.startswith("children.peer_") and (
            gpus := gpu_names()
        ):  # of several they would make one batch each, silently
            store["CUDA_VISIBLE_DEVICES"] = gpus[0]
        return run_child(module, asked | config, self.folder, self.timeout, only_path, **store)

    def tried(self, who: str, module: str, *overrides: str, **config: Any) -> dict[str, Any]:
        """A child whose failure is a row with the reason."""
        try:
            found = self.child(module, *overrides, **config)
        except FailedError as failure:
            self.failures.append(who)
            found = {"failed": str(failure)}
        # at once, so that a benchmark that is stopped has not lost it
        told = {key: value for key, value in found.items() if key not in ("losses", "said")}
        print(f"{who}: {json.dumps(told)}", file=sys.stderr, flush=True)
        return found

    def prepare(self, *overrides: str) -> tuple[dict[str, Any], Path]:
        """Facts about the rows that all systems get, and the file with them. RequestError if there are none."""
        rows = self.folder / "rows.data"
        try:
            return self.child("children.our_stages", *overrides, do="prepare", rows=str(rows)), rows
        except FailedError as failure:
            raise RequestError(f"the benchmark's rows could not be made: {failure}") from failure


@contextmanager
def running(asked: Asked) -> Iterator[Run]:
    """A run in a folder of its own, removed afterwards unless a system failed: then its logs stay."""
    overrides = [*asked.overrides]
    if asked.data:
        folder = Path(asked.data).expanduser()
        overrides.insert(0, f"data.source={folder.resolve() if folder.is_dir() else asked.data}")
    asked.work.mkdir(parents=True, exist_ok=True)
    if not asked.real:
        overrides.insert(0, f"model.source={_model(asked)}")
    load_recipe(asked.recipe, overrides)  # refuse a wrong request before anything starts
    run = Run(
        Path(tempfile.mkdtemp(prefix="run-", dir=asked.work.resolve())), asked.recipe, tuple(overrides), asked.timeout
    )
    try:
        yield run
    finally:
        shutil.rmtree(run.folder / "store" if run.failures else run.folder, ignore_errors=True)


def _model(asked: Asked) -> Path:
    if asked.model:
        return Path(asked.model).expanduser().resolve()
    if asked.shape not in SHAPES:
        raise RequestError(f"--shape: no shape {asked.shape!r}{nearest(asked.shape, SHAPES)}")
    if asked.tokenizer is None:
        raise RequestError("give --tokenizer FOLDER with the model's tokenizer, or --model FOLDER with a model")
    return stand_in(asked.shape, asked.tokenizer.expanduser(), asked.work.resolve()).resolve()


def chosen(systems: str | None, known: Sequence[str]) -> list[str]:
    """`a,b` -> those systems in that order; all without a word. RequestError for one that is not known."""
    names = [name.strip() for name in systems.split(",")] if systems else list(known)
    for name in names:
        if name not in known:
            raise RequestError(f"--systems: no system {name!r}{nearest(name, known)}")
    return names
