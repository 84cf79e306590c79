"""What a benchmark runs on: a recipe with model and data, a temporary folder, the systems to measure."""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artifacts.errors import RequestError
from artifacts.text import did_you_mean
from flows.benchmarks.child_process import ChildFailedError, run_child
from flows.benchmarks.children.random_model import SHAPES, random_model
from flows.recipe import load_recipe
from tasks.workers.gpus import gpu_names

WORK = Path(tempfile.gettempdir()) / "dialogsum-bench"
UNPRINTED = ("losses", "summaries")
"""Long entries of a result, which are not printed."""


@dataclass(frozen=True)
class BenchmarkSettings:
    """Options that all benchmarks share."""

    recipe: str = "gemma-2b"
    model: str | None = None
    """Model folder. None: a model with random weights of this `shape`, or with `real` the recipe's own model."""
    tokenizer: Path | None = None
    shape: str = "gemma-2b"
    real: bool = False
    data: str | None = "sample"
    """As data.source in a recipe; None: the recipe's own."""
    work: Path = WORK
    timeout: float = 300.0
    """Seconds that a system may take."""
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class BenchmarkRun:
    """One run of a benchmark: its folder, and the recipe that every child gets."""

    folder: Path
    recipe: str
    overrides: tuple[str, ...]
    timeout: float
    failures: list[str] = field(default_factory=list)

    def run(self, module: str, *overrides: str, only_path: str | None = None, **config: Any) -> dict[str, Any]:
        """Run a child on the recipe with further overrides. ChildFailedError if it fails."""
        variables = {"DIALOGSUM_STORE": str(self.folder / "store"), "UNSLOTH_DISABLE_STATISTICS": "1"}
        if module.startswith("children.peer_") and (gpus := gpu_names()):
            variables["CUDA_VISIBLE_DEVICES"] = gpus[0]  # on several GPUs the peers would use one batch for each
        config |= {"recipe": self.recipe, "overrides": [*self.overrides, *overrides]}
        return run_child(module, config, self.folder, self.timeout, only_path, **variables)

    def run_system(self, system: str, module: str, /, *overrides: str, **config: Any) -> dict[str, Any]:
        """Run a child; if it fails, return {"failed": reason}."""
        try:
            result = self.run(module, *overrides, **config)
        except ChildFailedError as failure:
            self.failures.append(system)
            result = {"failed": str(failure)}
        # printed at once, so that an interrupted benchmark has not lost it
        printed = {key: value for key, value in result.items() if key not in UNPRINTED}
        print(f"{system}: {json.dumps(printed)}", file=sys.stderr, flush=True)
        return result

    def prepare(self, *overrides: str) -> tuple[dict[str, Any], Path]:
        """Figures about the rows that every system gets, and the file that holds them. RequestError if that fails."""
        rows = self.folder / "rows.data"
        try:
            return self.run("children.our_stages", *overrides, do="prepare", rows=str(rows)), rows
        except ChildFailedError as failure:
            raise RequestError(f"the rows of the benchmark could not be made: {failure}") from failure


@contextmanager
def benchmark_run(settings: BenchmarkSettings, folder: Path | None = None) -> Iterator[BenchmarkRun]:
    """A run in a folder of its own. The folder is removed at the end; if a system failed, its logs are kept.

    folder: that of an earlier run which was killed. It is kept if this one fails as well.
    """
    overrides = [*settings.overrides]
    if settings.data:
        data = Path(settings.data).expanduser()
        overrides.insert(0, f"data.source={data.resolve() if data.is_dir() else settings.data}")
    settings.work.mkdir(parents=True, exist_ok=True)
    if not settings.real:
        overrides.insert(0, f"model.source={_model_folder(settings)}")
    load_recipe(settings.recipe, overrides)  # refuses a wrong request before anything starts
    own = folder or Path(tempfile.mkdtemp(prefix="run-", dir=settings.work.resolve()))
    run = BenchmarkRun(own, settings.recipe, tuple(overrides), settings.timeout)
    try:
        yield run
    finally:
        if not run.failures:
            shutil.rmtree(own, ignore_errors=True)
        elif folder is None:
            shutil.rmtree(own / "store", ignore_errors=True)


def _model_folder(settings: BenchmarkSettings) -> Path:
    if settings.model:
        return Path(settings.model).expanduser().resolve()
    if settings.shape not in SHAPES:
        raise RequestError(f"--shape: no shape {settings.shape!r}{did_you_mean(settings.shape, SHAPES)}")
    if settings.tokenizer is None:
        raise RequestError("give --tokenizer FOLDER with the model's tokenizer, or --model FOLDER with a model")
    return random_model(settings.shape, settings.tokenizer.expanduser(), settings.work.resolve()).resolve()


def select_systems(names: str | None, known: Sequence[str], option: str = "--systems") -> list[str]:
    """`a,b` -> ["a", "b"]; None -> all that are known. RequestError if a system is not known."""
    systems = [name.strip() for name in names.split(",")] if names else list(known)
    for system in systems:
        if system not in known:
            raise RequestError(f"{option}: no system {system!r}{did_you_mean(system, known)}")
    return systems
