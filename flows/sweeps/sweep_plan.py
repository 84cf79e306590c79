"""The plan of a sweep: how many trials, which of them are in the store, and what the others will take."""

from contextlib import suppress
from itertools import islice
from typing import Any

from artifacts.artifact_store import Store
from artifacts.cache_key import canonical
from artifacts.errors import RequestError
from artifacts.record import Record
from flows import dag
from flows.sweeps.cost import CostPlanner, Estimate, left_to_run, price
from flows.sweeps.durations import duration
from flows.sweeps.setup import SweepSetup
from flows.sweeps.space import Choices, Parameters, Space, as_overrides
from flows.sweeps.trials import TrialStore

COST_KEYS = (
    *("train.epochs", "train.max_steps", "train.limit", "train.stride", "train.batch_size"),
    *("model.", "generate.beams", "generate.candidates"),
)
"""Keys, or their beginnings, on which the predicted time depends."""
MAX_CORNERS = 256
"""Combinations of their values that are looked at for the bounds."""


class PlannedTrial(Record):
    """A trial of a grid, or one that the store has."""

    parameters: Parameters
    state: str
    """complete, pruned or failed; otherwise to run, or reused if all of its artifacts exist."""
    estimate: Estimate = Estimate()
    """Of what it does not share with a trial before it."""


class SweepPlan(Record):
    """What a sweep would do now."""

    sweep: str
    trials: tuple[PlannedTrial, ...]
    unknown: int
    """Trials whose parameters the sampler will propose."""
    at_least: Estimate
    at_most: Estimate
    """Of everything that is left; both are equal for a grid. Pruning and trials that fail make it less."""
    price_per_gpu_hour: float | None

    @property
    def left(self) -> int:
        """Trials that will train or generate."""
        return self.unknown + sum(trial.state == "to run" for trial in self.trials)

    def sentence(self) -> str:
        """Number of trials, and the time and the cost of what is left."""
        total = len(self.trials) + self.unknown
        head = f"{total} trials with the recipe as it is, {total - self.left} of them finished or reused"
        if not self.left:
            return f"{head}: nothing is left to run"
        if self.at_most.unknown:
            names = ", ".join(dict.fromkeys(self.at_most.unknown))
            some = f"; {_range(self.at_least, self.at_most)} without it" if self.at_most.measured else ""
            return f"{head}; time of {names}: not measured yet{some}"
        measured = ", ".join(self.at_most.measured)
        return f"{head}; the others take about {_range(self.at_least, self.at_most)}{self._cost()}, as {measured} did"

    def _cost(self) -> str:
        low, high = (price(each.gpu_seconds, self.price_per_gpu_hour) for each in (self.at_least, self.at_most))
        if low is None or high is None:
            return ""
        amount = f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"
        return f" and {amount} at report.price_per_gpu_hour"

    def rows(self) -> list[dict[str, str]]:
        """The table of trials, as text."""
        return [
            {
                "trial": str(number),
                "parameters": ", ".join(as_overrides(trial.parameters)),
                "state": trial.state,
                "takes about": _takes(trial),
            }
            for number, trial in enumerate(self.trials)
        ]

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json") | {"sentence": self.sentence()}


def plan_sweep(setup: SweepSetup) -> SweepPlan:
    """Decide what is left of a sweep. Runs nothing."""
    known, planner = TrialStore(Store.current(), setup.id).trials(), CostPlanner()
    points = ([trial.parameters for trial in known] or [setup.reference]) if setup.request.trials else setup.grid
    ended = {canonical(trial.parameters): trial.state for trial in known if trial.state in setup.request.final_states}
    trials = [_planned(setup, point, ended.get(canonical(point)), planner) for point in points]
    left = sum((trial.estimate for trial in trials), Estimate())
    unknown = max(0, setup.count - len(trials))
    low, high = _bounds(setup) if unknown else (Estimate(), Estimate())
    return SweepPlan(
        sweep=setup.id,
        trials=tuple(trials),
        unknown=unknown,
        at_least=left + low.times(unknown),
        at_most=left + high.times(unknown),
        price_per_gpu_hour=setup.base.recipe.report.price_per_gpu_hour,
    )


def _planned(setup: SweepSetup, point: Parameters, ended: str | None, planner: CostPlanner) -> PlannedTrial:
    if ended is not None:
        return PlannedTrial(parameters=point, state=ended)
    dag.trial(setup.resolved(point), planner.step)
    estimate = left_to_run(planner.take_stages())
    return PlannedTrial(parameters=point, state="to run" if estimate.stages else "reused", estimate=estimate)


def _bounds(setup: SweepSetup) -> tuple[Estimate, Estimate]:
    """The cheapest and the most expensive trial of the space, without what trials share."""
    dimensions = (
        each if each.key.startswith(COST_KEYS) else Choices(key=each.key, values=(setup.reference[each.key],))
        for each in setup.space.dimensions
    )
    estimates, planner = list[Estimate](), CostPlanner()
    for corner in islice(Space(dimensions=tuple(dimensions)).corners(), MAX_CORNERS):
        with suppress(RequestError):  # keys that exclude each other, such as beams and candidates
            dag.trial(setup.resolved(corner), planner.step)
            own = (stage.estimate for stage in planner.take_stages() if not stage.shared)
            estimates.append(sum(own, Estimate()))
    return min(estimates, key=lambda each: each.seconds), max(estimates, key=lambda each: each.seconds)


def _takes(trial: PlannedTrial) -> str:
    if trial.state != "to run":
        return "-"
    return "not measured yet" if trial.estimate.unknown else duration(trial.estimate.seconds)


def _range(low: Estimate, high: Estimate) -> str:
    least, most = duration(low.seconds), duration(high.seconds)
    return least if least == most else f"{least} to {most}"
