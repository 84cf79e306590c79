"""The result of a sweep: its trials compared on the same dialogues, and what to expect of the best of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from artifacts.artifact_store import DamageError, Store
from artifacts.errors import RequestError
from artifacts.record import Record
from flows.sweeps.cost import price
from flows.sweeps.setup import SweepSetup
from flows.sweeps.trials import Trial
from tasks.metrics.bootstrap import bootstrap_counts, paired_difference
from tasks.metrics.row_scores import read_row_scores
from tasks.metrics.score_table import System
from tasks.metrics.scores import Difference
from tasks.metrics.selection_bias import RESAMPLES, selection_bias

ORDER = ("complete", "running", "pruned", "failed")
"""States of trials in the order of the table; complete ones are sorted by their score."""


class TrialResult(Record):
    """A trial, and how it compares with the recipe as it is."""

    trial: Trial
    difference: Difference | None
    """Paired difference to trial 0, F1 x 100; None for trial 0, and without the scores of both."""
    cost: float | None
    """In the currency of `report.price_per_gpu_hour`; None without a price or a GPU."""


class SweepResult(Record):
    """Everything that the table, the plot and the sentence about a sweep are made from."""

    measure: str
    trials: tuple[TrialResult, ...]
    """The best first."""
    best: TrialResult | None
    """None if no trial is complete."""
    compared: int
    """Complete trials whose scores are in the store: those that the best was chosen from."""
    selection_bias: float | None
    """By how much the score of the best overstates it, F1 x 100; None if there was no choice."""

    @property
    def seconds(self) -> float:
        """Paid for all trials."""
        return sum(each.trial.seconds for each in self.trials)

    @property
    def cost(self) -> float | None:
        costs = [each.cost for each in self.trials if each.cost is not None]
        return sum(costs) if costs else None

    def count(self, state: str) -> int:
        return sum(each.trial.state == state for each in self.trials)


@dataclass(frozen=True)
class _RowScores:
    """F1 (0 to 1) of trials on the same dialogues."""

    numbers: list[int]
    f1: np.ndarray
    """Shape (dialogues, trials)."""


def sweep_result(setup: SweepSetup, trials: Sequence[Trial]) -> SweepResult:
    """Compare the trials, by the paired bootstrap with the settings of the recipe's section `score`."""
    recipe = setup.base.recipe
    rows = _row_scores(trials, recipe.gate.measure)
    counts = bootstrap_counts(len(rows.f1), recipe.score.bootstrap_resamples, recipe.score.bootstrap_seed)
    differences = _differences(rows, counts, recipe.gate.measure)
    gpus = _gpus(trials)
    results = [
        TrialResult(
            trial=trial,
            difference=differences.get(trial.number),
            cost=price(
                trial.gpu_seconds if trial.state == "complete" else trial.seconds * gpus,
                recipe.report.price_per_gpu_hour,
            ),
        )
        for trial in sorted(trials, key=lambda t: (ORDER.index(t.state), -(t.value or 0.0), t.number))
    ]
    bias = selection_bias(rows.f1, counts[:RESAMPLES]) if len(rows.numbers) > 1 else None
    return SweepResult(
        measure=recipe.gate.measure,
        trials=tuple(results),
        best=results[0] if results and results[0].trial.state == "complete" else None,
        compared=len(rows.numbers),
        selection_bias=round(100 * bias, 4) if bias is not None else None,
    )


def _row_scores(trials: Sequence[Trial], measure: str) -> _RowScores:
    """Of the complete trials whose scores are in the store: `dialogsum gc` may have removed some."""
    store, columns = Store.current(), dict[int, list[float]]()
    for trial in trials:
        if trial.scores is None:
            continue
        try:
            folder = store.payload(store.by_id(trial.scores).path)
        except (RequestError, DamageError):
            continue
        rows = read_row_scores(folder / "rows.parquet")
        columns[trial.number] = [row[measure] for row in rows if row["system"] == System.TUNED]
    return _RowScores([*columns], np.asarray([*columns.values()]).T)


def _differences(rows: _RowScores, counts: np.ndarray, measure: str) -> dict[int, Difference]:
    """Number of a trial -> paired difference to trial 0."""
    if 0 not in rows.numbers:
        return {}
    reference = rows.f1[:, [rows.numbers.index(0)]]
    return {
        number: paired_difference(rows.f1[:, [column]] - reference, counts, [measure])[measure]
        for column, number in enumerate(rows.numbers)
        if number
    }


def _gpus(trials: Sequence[Trial]) -> float:
    """GPUs in use per second that is paid, from the complete trials: for the price of those that were not completed."""
    complete = [trial for trial in trials if trial.state == "complete"]
    seconds = sum(trial.seconds for trial in complete)
    return sum(trial.gpu_seconds for trial in complete) / seconds if seconds else 0.0
