"""Trials of a sweep as records in the store, from which an interrupted sweep goes on.

<store>/sweeps/<sweep>/<number>.json  one trial, rewritten while it runs
"""

from typing import Any, Literal

from pydantic import Field, ValidationError

from artifacts.artifact_store import Store
from artifacts.cache_key import UNKNOWN, sha256
from artifacts.errors import RequestError
from artifacts.record import Record
from artifacts.text import one_line
from flows import dag
from flows.dag import ResolvedRecipe
from flows.sweeps.space import Parameters, Space
from tasks.execution.decision import Input, PlannedArtifact, identity
from tasks.execution.stage import Stage
from tasks.metrics.scores import Interval

FOLDER = "sweeps"
SamplerName = Literal["grid", "random", "tpe"]


class Trial(Record):
    """One point of the space: what was tried, and what came of it."""

    number: int
    """Counted from 0, which is the recipe as it is."""
    parameters: Parameters
    state: Literal["running", "complete", "pruned", "failed"] = "running"
    """`running` is also the state of a trial that was interrupted."""
    reason: str = ""
    """Why it was pruned, or how it failed."""
    value: float | None = None
    """F1 x 100 of the sweep's measure on the validation split, under the headline protocol."""
    interval: Interval | None = None
    adapter: str | None = None
    scores: str | None = None
    """Ids of artifacts, once the trial is complete."""
    dialogues: str = ""
    """How many were summarized: `500`, or `40 of 500`."""
    losses: dict[int, float] = Field(default_factory=dict)
    """Optimizer step -> validation loss."""
    seconds: float = 0.0
    """Paid for it in all sittings: of stages that ran, complete or not. A stage that was reused costs nothing."""
    gpu_seconds: float = 0.0
    """Those of complete stages, of all GPUs together."""
    repeated: int = 0
    """Proposals before it that were dropped because an earlier trial has the same parameters."""
    run: str = ""
    """Id of the last run that worked on it."""

    @property
    def curve(self) -> list[float]:
        """Validation losses during training, in the order of steps, without that of the untrained model."""
        return [self.losses[step] for step in sorted(self.losses) if step > 0]


class TrialStore:
    """The trials of one sweep in the store."""

    def __init__(self, store: Store, sweep: str) -> None:
        self.store, self.sweep = store, sweep

    def trials(self) -> list[Trial]:
        """All trials, in the order of their numbers. RequestError if a file cannot be parsed."""
        trials = []
        for name, content in self.store.side_files.read_all(FOLDER, self.sweep).items():
            try:
                trials.append(Trial.model_validate_json(content))
            except ValidationError as error:
                raise RequestError(
                    f"{FOLDER}/{self.sweep}/{name} in {self.store.root} could not be parsed "
                    f"({one_line(error, 80)}): remove it, and the trial runs again"
                ) from error
        return sorted(trials, key=lambda trial: trial.number)

    def save(self, trial: Trial) -> None:
        content = trial.model_dump_json(indent=1).encode()
        self.store.side_files.write(content, FOLDER, self.sweep, f"{trial.number:04d}.json")


def sweep_id(resolved: ResolvedRecipe, space: Space, sampler: SamplerName, seed: int) -> str:
    """8 hex digits of everything that decides which trials there are and what they find.

    That is the recipe, its data and model, the code of the stages, the space, the sampler, and its seed; neither the
    number of trials nor the budget, so that more trials can be added later.
    """
    stages: list[Any] = []

    def step(stage: Stage, variant: str | None, spec: Record, **inputs: Input) -> Input:
        stages.append(identity(stage, spec, {}))
        return PlannedArtifact(id=f"{stage.name}-{len(stages):08x}", digest=UNKNOWN)

    dag.trial(resolved, step)
    own = {"space": space.model_dump(mode="json"), "sampler": sampler, "seed": seed if sampler != "grid" else 0}
    return sha256(own | {"stages": stages, "measure": resolved.recipe.gate.measure})[:8]


def unfinished_trial(store: Store, run: str) -> Trial | None:
    """The trial that a run has not finished, if it is the run of a sweep."""
    trials = (trial for sweep in store.side_files.names(FOLDER) for trial in TrialStore(store, sweep).trials())
    return next((trial for trial in trials if trial.run == run and trial.state == "running"), None)
