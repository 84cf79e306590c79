"""The result of a sweep in words, as a table, and as JSON."""

from collections.abc import Sequence
from typing import Any

from artifacts.record import Record
from flows.sweeps.durations import duration
from flows.sweeps.results import SweepResult, TrialResult
from flows.sweeps.setup import SweepSetup
from flows.sweeps.space import as_overrides, as_yaml, short_names
from tasks.metrics.score_table import HEADLINE_LABEL, HEADLINE_TYPE

MOST_LISTED = 8
"""Trials that a remark lists by their parameters."""


class SweepSummary(Record):
    """The result of a sweep. Its JSON keys are part of the command line's interface."""

    sweep: str
    recipe: str
    measure: str
    trials: list[dict[str, Any]]
    """Records of the trials, with `difference` and `cost`; the best first."""
    best: int | None
    """Number of the best trial; None if none is complete."""
    selection_bias: float | None
    """By how much the score of the best overstates it, F1 x 100."""
    sentence: str
    remarks: list[str]
    seconds: float
    cost: float | None
    files: dict[str, str]
    """`recipe` and `plot` -> path."""
    table: list[dict[str, str]]
    """The trials as text."""

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"table"})


def sentence(result: SweepResult) -> str:
    """How many were tried, which is the best, and what to expect of it on other dialogues."""
    others = ", ".join(f"{result.count(state)} {state}" for state in ("pruned", "failed") if result.count(state))
    tried = f"Of {len(result.trials)} tried{f' ({others})' if others else ''}"
    best = result.best
    if best is None:
        return f"{tried}, none is complete."
    trial = best.trial
    score = f"{measure_label(result.measure)} {_with_interval(trial.value, trial.interval)}"
    where = f"{score} on {trial.dialogues} validation dialogues"
    if not trial.number:
        return f"{tried}, none scores higher than the recipe as it is: {where}. {_expectation(result)}".strip()
    against = f", {against_recipe(best)} against the recipe as it is" if best.difference else ""
    if best.difference and best.difference.interval[0] <= 0:
        against += ", which may be chance"
    parameters = ", ".join(as_overrides(trial.parameters))
    return f"{tried} the best is {parameters}: {where}{against}. {_expectation(result)}".strip()


def _expectation(result: SweepResult) -> str:
    if result.compared < 2:
        return ""
    chosen = f"It was chosen as the best of {result.compared} on these dialogues"
    if result.selection_bias is None:
        return f"{chosen}; how much of its score is chance cannot be estimated from so few."
    if result.selection_bias < 0.05:
        return f"{chosen}; being chosen adds less than 0.05 to its score."
    return f"{chosen}, so expect about {result.selection_bias:.1f} less on others."


def remarks(setup: SweepSetup, result: SweepResult, stopped: str) -> list[str]:
    """What the table does not show. stopped: why the sweep ended before all trials; empty if it did not."""
    request, lines = setup.request, [*map(str, setup.space.dimensions)]
    left = setup.count - len(result.trials)
    repeated = sum(each.trial.repeated for each in result.trials)
    if request.trials:
        lines.append(f"proposed by the sampler {request.sampler}, seed {request.seed}")
    if repeated:
        lines.append(f"proposals that repeated an earlier trial and were replaced: {repeated}")
    if stopped:
        lines.append(f"ended early: {stopped}; not tried: {left} of {setup.count}{_untried(setup, result)}")
    elif left > 0:
        lines.append(f"the sampler found no further parameters that were not tried yet: {left} trials fewer")
    elif request.trials > setup.count:
        lines.append(f"the space has no more than {setup.count} different trials, with the recipe as it is")
    if missing := result.count("complete") - result.compared:
        lines.append(f"complete trials whose scores are no longer in the store, left out of comparisons: {missing}")
    cost = f", {result.cost:.2f} at report.price_per_gpu_hour" if result.cost is not None else ""
    return [*lines, f"paid in all sittings: {duration(result.seconds)}{cost}"]


def _untried(setup: SweepSetup, result: SweepResult) -> str:
    """`: rank=64, …` for the points of a grid; nothing for trials that nobody has proposed."""
    if setup.request.trials:
        return ""
    tried = [each.trial.parameters for each in result.trials]
    names = [", ".join(as_overrides(point)) for point in setup.grid if point not in tried]
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return f" ({'; '.join(names[:MOST_LISTED])}{more})"


def table(result: SweepResult) -> list[dict[str, str]]:
    """One row per trial, with short names of the keys."""
    names = short_names([*result.trials[0].trial.parameters]) if result.trials else {}
    return [_row(result, each, names) for each in result.trials]


def _row(result: SweepResult, each: TrialResult, names: dict[str, str]) -> dict[str, str]:
    trial = each.trial
    row = {"trial": str(trial.number)} | {names[key]: as_yaml(value) for key, value in trial.parameters.items()}
    row[measure_label(result.measure)] = _with_interval(trial.value, trial.interval)
    row["against the recipe"] = against_recipe(each) or "-"
    row["validation loss"] = f"{trial.curve[-1]:.4f}" if trial.curve else "-"
    row["adapter"] = trial.adapter or "-"
    row["paid"] = duration(trial.seconds)
    if result.cost is not None:
        row["cost"] = f"{each.cost or 0:.2f}"
    state = "best" if result.best and trial.number == result.best.trial.number else trial.state
    note = "" if trial.number else "the recipe as it is"
    row["note"] = "; ".join(filter(None, [state, note, trial.reason]))
    return row


def summarize(setup: SweepSetup, result: SweepResult, stopped: str, files: dict[str, str]) -> SweepSummary:
    """The result for people and for programs. stopped: as of `remarks`; files: that were written."""
    return SweepSummary(
        sweep=setup.id,
        recipe=setup.base.recipe.name,
        measure=result.measure,
        trials=[
            each.trial.model_dump(mode="json") | each.model_dump(mode="json", exclude={"trial"})
            for each in result.trials
        ],
        best=result.best.trial.number if result.best else None,
        selection_bias=result.selection_bias,
        sentence=sentence(result),
        remarks=remarks(setup, result, stopped),
        seconds=round(result.seconds, 3),
        cost=result.cost,
        files=files,
        table=table(result),
    )


def measure_label(measure: str) -> str:
    """`rouge1` -> `ROUGE-1`."""
    return HEADLINE_LABEL if measure == HEADLINE_TYPE else f"ROUGE-{measure.removeprefix('rouge')}"


def against_recipe(each: TrialResult) -> str:
    """`+1.20 (+0.3 to +2.1)`; empty for the recipe as it is."""
    return _with_interval(each.difference.mean, each.difference.interval, "+") if each.difference else ""


def _with_interval(value: float | None, interval: Sequence[float] | None, sign: str = "") -> str:
    """`47.10 (46.0 to 48.2)`; a dash where there is no value."""
    if value is None or interval is None:
        return "-"
    return f"{value:{sign}.2f} ({interval[0]:{sign}.1f} to {interval[1]:{sign}.1f})"
