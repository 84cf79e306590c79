"""judge: dataset, predictions of one system or none -> how far dialogues support their summaries, as a model judges.

Reads   dataset (download); predictions (generate), or none: then human references and references of other dialogues,
        the two ends of the judge's scale
Writes  judgements.parquet (artifacts.schemas.JUDGEMENTS), in the order of the dialogues
Rerun   dialogsum run RECIPE --refresh judge

A classifier works in processes of its own, one per GPU (tasks/judging/worker.py); an endpoint is asked from this
process. Both save every batch, so a run that was killed resumes at the batch it had reached.
"""

import shutil
from typing import Any

import numpy as np

from artifacts.errors import StageError
from artifacts.schemas import DATASET, JUDGEMENTS, PREDICTIONS, read_table, write_table
from artifacts.text import one_line
from tasks.config import JudgeClassifier, JudgeSpec
from tasks.execution.stage import Artifact, Context, Stage, StageResult
from tasks.judging.batches import batches, finished
from tasks.judging.endpoint import judge_by_endpoint
from tasks.judging.texts import JudgedText, of_predictions, of_references
from tasks.judging.worker_records import JudgedTexts, JudgeMeasurements, JudgeWorkerConfig
from tasks.metrics.judgement import Judgement, Kind
from tasks.workers.gpus import worker_environments
from tasks.workers.launcher import run_workers

WORKER = "tasks.judging.worker"


def judge(spec: JudgeSpec, context: Context, dataset: Artifact, predictions: Artifact | None = None) -> StageResult:
    """Judge the summaries of the first `dialogues` dialogues, or of all. Those in `work/parts` are reused."""
    rows = read_table(dataset.payload / "test.parquet", DATASET)
    if predictions is None:
        texts = of_references(rows[: spec.dialogues])
    else:
        predicted = read_table(predictions.payload / "predictions.parquet", PREDICTIONS)
        texts = of_predictions(rows, predicted[: spec.dialogues])
    judgements, measured = judge_texts(spec, texts, context)
    write_table((one.model_dump(mode="json") for one in judgements), JUDGEMENTS, context.out / "judgements.parquet")
    facts = _facts(judgements)
    if facts["unreadable"]:
        context.events.log(f"{facts['unreadable']} of {len(texts)} answers could not be read: they have no score")
    return StageResult(rows=len(judgements), facts={"judge": spec.name, **facts}, measured=measured)


def judge_texts(spec: JudgeSpec, texts: list[JudgedText], context: Context) -> tuple[list[Judgement], dict[str, Any]]:
    """Judgements in the order of the texts, and measurements. No two texts may have the same id and kind."""
    parts = context.work / "parts"
    if spec.endpoint is not None:
        measured = judge_by_endpoint(spec.endpoint, texts, parts, context.events)
    elif spec.classifier is not None:
        measured = _judge_by_classifier(spec.classifier, texts, context)
    else:
        raise StageError("the judge has neither a model nor an endpoint")
    found = finished(parts)
    if missing := [text for text in texts if text.key not in found]:
        raise StageError(f"{len(missing)} of {len(texts)} summaries have no judgement, the first is {missing[0].id!r}")
    judgements = [found[text.key] for text in texts]
    if texts and all(one.score is None for one in judgements):
        shutil.rmtree(parts)  # or the next run would not ask again
        answer = one_line(judgements[0].answer or "(empty)", 120)
        raise StageError(
            f"none of the {len(texts)} answers of {spec.name} could be read, such as {answer!r}: judge.prompt must ask "
            "for a JSON object with a score from 0 to 100"
        )
    return judgements, measured


def _judge_by_classifier(classifier: JudgeClassifier, texts: list[JudgedText], context: Context) -> dict[str, Any]:
    file = context.work / "texts.json"
    file.write_text(JudgedTexts(texts=tuple(texts)).model_dump_json(), encoding="utf-8")
    runtime = context.runtime
    environments = worker_environments(runtime.device, runtime.gpus, len(batches(texts)))
    configs = [
        JudgeWorkerConfig(
            classifier=classifier,
            runtime=runtime,
            texts=file,
            parts=context.work / "parts",
            shard=shard,
            shards=len(environments),
        )
        for shard in range(len(environments))
    ]
    results = run_workers(WORKER, configs, JudgeMeasurements, context.work, context.events, environments)
    return JudgeMeasurements.merge(results).model_dump()


def _facts(judgements: list[Judgement]) -> dict[str, Any]:
    """Mean score x 100 of each kind of text, and how many answers could not be read."""
    means = {}
    for kind in Kind:
        scores = [one.score for one in judgements if one.kind == kind and one.score is not None]
        if scores:
            means[kind.value] = round(float(np.mean(scores)) * 100, 2)
    return {"mean": means, "unreadable": sum(one.score is None for one in judgements)}


JUDGE = Stage(
    name="judge",
    version=1,
    function=judge,
    spec=JudgeSpec,
    label=lambda spec: spec.name,
    pool="gpu",
    worker=WORKER,
    optional=True,
    needs_gpu=lambda spec: spec.classifier is not None,
)
