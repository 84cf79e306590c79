"""A judge of the stage `judge` as a measure of `bench faithfulness`; what it agrees with is kept for reports."""

from collections.abc import Sequence

import numpy as np

from artifacts.artifact_store import Store
from flows.benchmarks.faithfulness_data import LabelledSummaries
from flows.benchmarks.faithfulness_measures import Measure
from flows.judge_agreement import judge_key
from tasks.config import JudgeSpec, Runtime
from tasks.execution.stage import Context
from tasks.judge import judge_texts
from tasks.judging.texts import JudgedText
from tasks.metrics.judgement import Kind
from tasks.workers.events import Events


def judge_measures(judge: JudgeSpec, data: LabelledSummaries, runtime: Runtime, events: Events) -> list[Measure]:
    """The judge's score of each summary, as the stage computes it, and if it scores sentences, that of the lowest.

    A summary whose answer could not be read gets the mean of the others. Batches are kept in the store's scratch
    folder, so that a run that was killed resumes.
    """
    texts = [
        JudgedText(id=f"{data.name} {i}", kind=Kind.PREDICTION, dialogue=dialogue, summary=summary)
        for i, (dialogue, summary) in enumerate(zip(data.dialogues, data.summaries, strict=True))
    ]
    work = Store.current().scratch / "faithfulness" / f"{judge_key(judge)}-{data.digest}"
    work.mkdir(parents=True, exist_ok=True)
    judgements, _ = judge_texts(judge, texts, Context(work, work, runtime, events))
    if unreadable := sum(one.score is None for one in judgements):
        events.log(f"{data.name}: {unreadable} of {len(texts)} answers could not be read")
    measures = [Measure(f"judge {judge.name}", True, _filled([one.score for one in judgements]))]
    if judge.classifier is not None:
        lowest = [one.score if one.lowest is None else one.lowest for one in judgements]
        measures.append(Measure(f"judge {judge.name}, lowest sentence", True, _filled(lowest)))
    return measures


def _filled(scores: Sequence[float | None]) -> np.ndarray:
    values = np.asarray([np.nan if score is None else score for score in scores], dtype=np.float64)
    return np.where(np.isnan(values), np.nanmean(values), values)
