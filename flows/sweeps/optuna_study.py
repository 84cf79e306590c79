"""Optuna proposes the trials of a sweep and says which training is not worth finishing.

Every question is asked of a study that is built anew from the trials so far, with a sampler seeded by the number of the
trial. An interrupted sweep therefore proposes what an undisturbed one would have.
"""

from collections.abc import Sequence
from statistics import median
from typing import Any

from artifacts.cache_key import sha256
from artifacts.errors import RequestError
from flows.sweeps.space import Choices, Parameters, Space, as_yaml
from flows.sweeps.trials import SamplerName, Trial

RANDOM_TRIALS = 5
"""Trials before TPE models the scores; it draws these at random."""
TRIALS_BEFORE_PRUNING = 4
"""Complete trials whose losses a training is compared with; with fewer, none is pruned."""
SIGNIFICANT_DIGITS = 3
"""Of numbers sampled from a range, so that people can read them and equal ones are recognised."""


def import_optuna(purpose: str) -> Any:
    """The package. RequestError with the command that installs it if it is missing."""
    try:
        import optuna
    except ImportError as error:
        raise RequestError(f"{purpose} needs the package optuna: pip install 'dialogsum-pipeline[sweep]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


class OptunaStudy:
    """The questions that a sweep asks, about one space."""

    def __init__(self, space: Space, sampler: SamplerName, seed: int) -> None:
        """RequestError if Optuna is not installed."""
        self.space, self.sampler, self.seed = space, sampler, seed
        purpose = f"--sampler {sampler}" if sampler != "grid" else "pruning (--no-prune switches it off)"
        self.optuna = import_optuna(purpose)
        self.distributions = {each.key: self._distribution(each) for each in space.dimensions}

    def propose(self, trials: Sequence[Trial], attempt: int) -> Parameters:
        """Parameters for the next trial. Another `attempt` gives others, unless the space has no others."""
        samplers = self.optuna.samplers
        seed = int(sha256([self.seed, len(trials), attempt])[:8], 16)
        sampler = (
            samplers.TPESampler(n_startup_trials=RANDOM_TRIALS, seed=seed)
            if self.sampler == "tpe"
            else samplers.RandomSampler(seed=seed)
        )
        study = self.optuna.create_study(direction="maximize", sampler=sampler)
        study.add_trials([self._known(trial) for trial in trials if self.space.contains(trial.parameters)])
        proposed = study.ask(self.distributions).params
        return {each.key: self._value(each, proposed[each.key]) for each in self.space.dimensions}

    def prune_reason(self, trial: Trial, others: Sequence[Trial], evaluations: int) -> str | None:
        """Why a training is not worth finishing, after the last of its losses; None if it is.

        Its lowest loss is above the median of the others' losses at the same share of the training, and at least half
        of the training is done.

        others: complete trials whose loss measures the same.
        """
        at = len(trial.curve)
        curves = [other.curve for other in others if other.state == "complete" and len(other.curve) >= at]
        pruner = self.optuna.pruners.MedianPruner(
            n_startup_trials=TRIALS_BEFORE_PRUNING, n_warmup_steps=max(1, evaluations // 2)
        )
        study = self.optuna.create_study(direction="minimize")
        study.add_trials([self._curve(curve, "COMPLETE") for curve in curves])
        if not pruner.prune(study, self._curve(trial.curve, "RUNNING")):
            return None
        middle = median(curve[at - 1] for curve in curves)
        return (
            f"its lowest validation loss so far is {min(trial.curve):.4f}; "
            f"the median of {len(curves)} trials is {middle:.4f} at this point"
        )

    def _distribution(self, dimension: Any) -> Any:
        distributions = self.optuna.distributions
        if isinstance(dimension, Choices):
            return distributions.CategoricalDistribution([as_yaml(value) for value in dimension.values])
        kind = distributions.IntDistribution if dimension.is_integer else distributions.FloatDistribution
        return kind(dimension.low, dimension.high, log=dimension.is_logarithmic)

    def _value(self, dimension: Any, proposed: Any) -> Any:
        """What the recipe gets for a proposed parameter."""
        if isinstance(dimension, Choices):
            return next(value for value in dimension.values if as_yaml(value) == proposed)
        if dimension.is_integer:
            return proposed
        return min(max(float(f"{proposed:.{SIGNIFICANT_DIGITS}g}"), dimension.low), dimension.high)

    def _known(self, trial: Trial) -> Any:
        """A trial as Optuna has it. Losses are negative here: of higher values more is better."""
        state = {"complete": "COMPLETE", "pruned": "PRUNED"}.get(trial.state, "FAIL")
        parameters = {
            each.key: as_yaml(trial.parameters[each.key]) if isinstance(each, Choices) else trial.parameters[each.key]
            for each in self.space.dimensions
        }
        return self.optuna.trial.create_trial(
            state=self.optuna.trial.TrialState[state],
            value=trial.value if trial.state == "complete" else None,
            params=parameters,
            distributions=self.distributions,
            intermediate_values={at: -loss for at, loss in enumerate(trial.curve, 1)},
        )

    def _curve(self, curve: Sequence[float], state: str) -> Any:
        """A trial of which only the losses matter, by the number of the measurement."""
        return self.optuna.trial.create_trial(
            state=self.optuna.trial.TrialState[state],
            value=0.0 if state == "COMPLETE" else None,
            intermediate_values=dict(enumerate(curve, 1)),
        )
