"""What a sweep is about: its request, its space, the recipe of each trial, and the next parameters to try."""

import itertools
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property

from artifacts.cache_key import canonical
from artifacts.errors import RequestError
from artifacts.record import Record
from flows import dag
from flows.dag import ResolvedRecipe
from flows.labels import overrides_of
from flows.recipe import load_recipe
from flows.sweeps.optuna_study import OptunaStudy
from flows.sweeps.space import Parameters, as_overrides, parse_space, values_of
from flows.sweeps.trials import SamplerName, Trial, sweep_id

MAX_GRID = 1000
"""Points of a grid that a sweep runs, and values that it checks before it starts."""
MAX_REPEATED = 100
"""Proposals in a row that may repeat earlier trials before a sweep ends."""


class SweepRequest(Record):
    """What was asked for."""

    recipe: str
    over: tuple[str, ...]
    trials: int = 0
    """How many to propose, the recipe as it is among them; 0 for the whole grid."""
    sampler: SamplerName = "grid"
    """`grid` if and only if `trials` is 0."""
    seed: int = 0
    budget: float | None = None
    """Seconds to pay for at most."""
    prune: bool = True
    retry_failed: bool = False

    @property
    def final_states(self) -> set[str]:
        """States in which a trial is not run again."""
        pruned, failed = ({"pruned"} if self.prune else set()), (set() if self.retry_failed else {"failed"})
        return {"complete"} | pruned | failed


class SweepSetup:
    """A request with its recipe resolved. Trial 0 is the recipe as it is, the reference of all others."""

    def __init__(self, request: SweepRequest, base: ResolvedRecipe) -> None:
        """RequestError if the space, one of its values or, in a grid, one of its combinations is refused.

        base: the recipe as it is, with the overrides of the station and of the request.
        """
        self.request, self.base = request, base
        self.overrides = [*base.overrides.station, *base.overrides.own]
        self.space = parse_space(request.recipe, self.overrides, request.over, sampled=request.trials > 0)
        self.reference = values_of(base.recipe, self.space)
        self.id = sweep_id(base, self.space, request.sampler, request.seed)
        if not request.trials and (self.space.size or 0) > MAX_GRID:
            raise RequestError(f"the grid has {self.space.size:,} points: add --trials N to try some of them")
        for parameters in self.grid if not request.trials else self._single_changes():
            self.resolved(parameters)

    @cached_property
    def grid(self) -> list[Parameters]:
        """All points of a listed space after the reference, which may be one of them."""
        return [self.reference, *(point for point in self.space.corners() if point != self.reference)]

    @cached_property
    def study(self) -> OptunaStudy:
        """What proposes parameters and prunes. RequestError if Optuna is not installed."""
        return OptunaStudy(self.space, self.request.sampler, self.request.seed)

    def refuse_without_optuna(self) -> None:
        """RequestError if the request needs Optuna and it is not installed."""
        if self.request.trials or self.request.prune:
            self.study  # noqa: B018

    @property
    def count(self) -> int:
        """Trials at most."""
        if not self.request.trials:
            return len(self.grid)
        distinct = (self.space.size or self.request.trials) + (not self.space.contains(self.reference))
        return min(self.request.trials, distinct)

    def resolved(self, parameters: Parameters) -> ResolvedRecipe:
        """The recipe of a trial, with data and model pinned as at the start. RequestError if it is refused."""
        if parameters == self.reference:
            return self.base
        own = as_overrides(parameters)
        recipe, without_overrides = load_recipe(self.request.recipe, [*self.overrides, *own]), None
        with suppress(RequestError):  # a recipe that lacks what the overrides add
            without_overrides = load_recipe(self.request.recipe)
        station = self.base.overrides.station
        overrides = overrides_of(without_overrides, recipe, station, [*self.base.overrides.own, *own])
        return dag.resolve_recipe(recipe, overrides, pinned=self.base)

    def next_trial(self, trials: Sequence[Trial]) -> Trial | None:
        """The trial to run after these; None if there is nothing left to try."""
        tried = {canonical(trial.parameters) for trial in trials}
        taken = {trial.number for trial in trials}
        number = next(each for each in itertools.count() if each not in taken)
        if not trials:
            return Trial(number=0, parameters=self.reference)
        if len(trials) >= self.count:
            return None
        if not self.request.trials:
            new = next((point for point in self.grid if canonical(point) not in tried), None)
            return Trial(number=number, parameters=new) if new is not None else None
        for attempt in range(MAX_REPEATED):
            proposed = self.study.propose(trials, attempt)
            if canonical(proposed) not in tried:
                return Trial(number=number, parameters=proposed, repeated=attempt)
        return None

    def _single_changes(self) -> list[Parameters]:
        """The reference with one value of the space at a time: listed values and ends of ranges."""
        return [self.reference | {each.key: value} for each in self.space.dimensions for value in each.values]
