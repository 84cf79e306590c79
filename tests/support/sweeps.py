"""Sweeps of the tiny model in this process, of which every stage that runs is counted."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from artifacts.artifact_store import Store
from flows import dag
from flows.labels import Overrides
from flows.recipe import load_recipe
from flows.sweeps.setup import SweepRequest, SweepSetup
from flows.sweeps.trials import Trial, TrialStore
from tasks.execution.listener import StageEntry
from tests.support.pipelines import small_overrides

RECIPE = "smollm2-135m"


class KilledError(BaseException):
    """Ends a sweep at any point, as a signal does."""


class SweepListener:
    """Counts the stages that run, keeps the lines, and can end the sweep at one of the events."""

    def __init__(self, kill_at: Callable[[str], bool] = lambda event: False) -> None:
        """kill_at: called with `stage train trial`, `step 1` or `finished train trial`."""
        self.kill_at = kill_at
        self.made = Counter[str]()
        """Artifact -> how often it was made."""
        self.lines: list[str] = []
        self.steps: list[int] = []
        """Optimizer steps that were reported since the last stage began."""

    def _event(self, name: str) -> None:
        if self.kill_at(name):
            raise KilledError

    def stage(self, label: str, status: str, reason: str, artifact: str) -> None:
        self.steps = []
        self._event(f"stage {label}")

    def finished(self, entry: StageEntry) -> None:
        self.made[str(entry.artifact)] += entry.status == "run"
        self._event(f"finished {entry.label}")

    def progress(self, done: int, total: int, note: str = "") -> None: ...

    def log(self, line: str) -> None:
        self.lines.append(line)

    def metrics(self, step: int, values: dict[str, float]) -> None:
        if "train_loss" in values:
            self.steps.append(step)
            self._event(f"step {step}")


class SweepRunner:
    """Runs the flow, with settings that make a trial take less than a second."""

    def __init__(self, model: Path, data: Path, *more: str) -> None:
        """more: overrides of the recipe."""
        self.overrides = small_overrides(RECIPE, model, data, "gate.least_rows=1", "train.lora.rank=1", *more)
        self.listener = SweepListener()

    def __call__(self, *over: str, listener: SweepListener | None = None, **options: Any) -> dict[str, Any]:
        """The JSON of a sweep without pruning, unless `prune` is set."""
        from flows.sweeps.sweep_flow import sweep
        from tasks.prefect_task import listening

        parameters = {"prune": False, "overrides": self.overrides} | options
        with listening(listener or self.listener):
            summary: Any = sweep(recipe=RECIPE, over=[*over], **parameters)
        return dict(summary.to_json())

    def setup(self, *over: str, **options: Any) -> SweepSetup:
        request = SweepRequest(recipe=RECIPE, over=over, **options)
        base = dag.resolve_recipe(load_recipe(RECIPE, self.overrides), Overrides(own=tuple(self.overrides)))
        return SweepSetup(request, base)

    def trials(self, *over: str, **options: Any) -> tuple[TrialStore, list[Trial]]:
        """The records of a sweep in the store."""
        store = TrialStore(Store.current(), self.setup(*over, **options).id)
        return store, store.trials()


def by_number(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The trials of a summary in the order in which they were tried."""
    return sorted(summary["trials"], key=lambda trial: trial["number"])
