"""bench faithfulness: how far measures of faithfulness agree with people, who labelled summaries as right or wrong.

Measures are developed on SAMSum's summaries; DialogSum's are opened at the end only, with --final.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from artifacts.errors import RequestError
from flows.benchmarks.auroc import auroc, interval, weighted_auroc, weighted_auroc_within
from flows.benchmarks.faithfulness_data import LabelledSummaries, dialogsum, samsum
from flows.benchmarks.faithfulness_measures import LENGTH, ROUGE, Measure, all_measures
from flows.benchmarks.judge_measures import judge_measures
from flows.judge_agreement import keep_agreement
from flows.judge_settings import resolve_judge
from flows.recipe import Recipe
from tasks.config import JudgeAgreement
from tasks.metrics.bootstrap import bootstrap_counts
from tasks.workers.events import Events, NullListener

RESAMPLES, SEED = 4000, 0
LEAST_OF_TYPE = 10
"""Summaries with an error of a type, below which the type has no column."""


@dataclass(frozen=True)
class Agreement:
    """How far a measure agrees with people on one data set. Intervals are 95 %, bootstrap over dialogues."""

    measure: Measure
    auroc: float
    interval: tuple[float, float]
    within: float
    """AUROC over pairs of summaries of the same dialogue, which leaves out how difficult the dialogue is."""
    within_interval: tuple[float, float]
    over_length: tuple[float, float]
    """Interval of the AUROC minus that of the length."""
    over_rouge: tuple[float, float]
    """The same for the best of ROUGE."""


def bench_faithfulness(
    folder: Path,
    dialogues: Path | None,
    final: bool,
    by_type: bool = False,
    recipe: Recipe | None = None,
    events: Events | None = None,
) -> tuple[list[dict[str, Any]], str]:
    """A row for every measure and data set, and a remark.

    recipe: has the judge that is compared as well; None: no judge. What it agrees with is kept in the store.
    """
    judge = resolve_judge(recipe.judge) if recipe is not None else None
    if recipe is not None and judge is None:
        raise RequestError("there is no judge: name one by --judge, or by --endpoint and --name")
    data, rows, kept = labelled_data(folder, dialogues, final), [], []
    for each in data:
        measures = all_measures(each)
        if judge is not None and recipe is not None:
            judged = judge_measures(judge, each, recipe.runtime, events or NullListener())
            measures += judged
            found = agreements(each, measures)
            kept.append(_kept(each, next(one for one in found if one.measure is judged[0])))
            rows += type_rows(each, measures) if by_type else agreement_rows(each, found)
        else:
            rows += type_rows(each, measures) if by_type else agreement_rows(each, agreements(each, measures))
    if judge is not None:
        keep_agreement(judge, kept)
    return rows, remark(data, final)


def _kept(data: LabelledSummaries, agreement: Agreement) -> JudgeAgreement:
    low, high = (round(end, 4) for end in agreement.interval)
    return JudgeAgreement(
        data=data.name, auroc=round(agreement.auroc, 4), interval=(low, high), summaries=len(data.summaries)
    )


def labelled_data(folder: Path, dialogues: Path | None, final: bool) -> list[LabelledSummaries]:
    """SAMSum, and with `final` DialogSum. RequestError without its dialogues."""
    if not final:
        return [samsum(folder)]
    if dialogues is None:
        raise RequestError("--final needs --dialogsum FOLDER: test.csv of DialogSum, with the dialogues and references")
    return [samsum(folder), dialogsum(folder, dialogues)]


def agreements(data: LabelledSummaries, measures: Sequence[Measure], resamples: int = RESAMPLES) -> list[Agreement]:
    """How far each measure agrees with people. `words` and the four of ROUGE must be among them."""
    counts = bootstrap_counts(int(data.dialogue_index.max()) + 1, resamples, SEED)
    weights = counts[:, data.dialogue_index]
    values = {measure.name: measure.oriented for measure in measures}
    point = {name: auroc(each, data.errors) for name, each in values.items()}
    resampled = {name: weighted_auroc(each, data.errors, weights) for name, each in values.items()}
    length, rouge = resampled[LENGTH], resampled[best_rouge(point)]
    found = []
    for measure in measures:
        own = resampled[measure.name]
        within = weighted_auroc_within(values[measure.name], data.errors, data.dialogue_index, counts)
        whole = np.ones((1, counts.shape[1]))
        found.append(
            Agreement(
                measure=measure,
                auroc=point[measure.name],
                interval=interval(own),
                within=float(weighted_auroc_within(values[measure.name], data.errors, data.dialogue_index, whole)[0]),
                within_interval=interval(within),
                over_length=interval(own - length),
                over_rouge=interval(own - rouge),
            )
        )
    return found


def best_rouge(point: dict[str, float]) -> str:
    """The measure of ROUGE with the highest AUROC."""
    return max(ROUGE, key=point.__getitem__)


def agreement_rows(data: LabelledSummaries, found: Sequence[Agreement]) -> list[dict[str, Any]]:
    """The table's rows, in the order of the measures."""
    rouge = best_rouge({each.measure.name: each.auroc for each in found})
    return [
        {
            "data": data.name,
            "measure": each.measure.name,
            "faithful if": "higher" if each.measure.higher_is_faithful else "lower",
            "AUROC": _figure(each.auroc, each.interval),
            "within a dialogue": _figure(each.within, each.within_interval),
            "minus length": "-" if each.measure.name == LENGTH else _signed(each.over_length),
            "minus best ROUGE": "-" if each.measure.name == rouge else _signed(each.over_rouge),
        }
        for each in found
    ]


def type_rows(data: LabelledSummaries, measures: Sequence[Measure]) -> list[dict[str, Any]]:
    """AUROC of each measure for the summaries with an error of one type against those without any error."""
    counts = Counter(kind for types in data.types for kind in types)
    kinds = sorted((kind for kind, count in counts.items() if count >= LEAST_OF_TYPE), key=lambda kind: -counts[kind])
    masks = {f"{kind} ({counts[kind]})": data.of_type(kind) for kind in kinds}
    return [
        {
            "data": data.name,
            "measure": measure.name,
            "types": ", ".join(
                f"{kind} {auroc(measure.oriented[mask], data.errors[mask]):.3f}" for kind, mask in masks.items()
            ),
        }
        for measure in measures
    ]


def remark(data: Sequence[LabelledSummaries], final: bool) -> str:
    """What the table was measured on, and what it leaves out."""
    sizes = "; ".join(
        f"{each.name}: {len(each.summaries)} summaries of {each.dialogue_index.max() + 1} dialogues, "
        f"{each.errors.sum()} with an error"
        for each in data
    )
    opened = "" if final else " SAMSum only: DialogSum is opened once per measure, at the end, with --final."
    return (
        f"{sizes}. AUROC 0.5 is chance. Intervals: 95 %, bootstrap over dialogues, {RESAMPLES} resamples; the last two "
        f"columns are those of paired differences.{opened}"
    )


def _figure(value: float, ends: tuple[float, float]) -> str:
    """`-` where no pair of summaries can be compared."""
    return "-" if np.isnan(value) else f"{value:.3f} ({ends[0]:.3f} to {ends[1]:.3f})"


def _signed(pair: tuple[float, float]) -> str:
    return f"{pair[0]:+.3f} to {pair[1]:+.3f}"
