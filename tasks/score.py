"""score: predictions of one or more systems, references -> scores per dialogue and overall, and paired differences.

Reads   dataset; predictions (generate) of base and, if they exist: tuned (the candidate), champion, before (the same
        adapter with its previous prompt or decoding); the probes of these systems, if there are any; with a judge,
        judgements (judge) of the same systems and of the references, as judge_<system> and judge_references
Writes  scores.json (tasks/metrics/scores.py: every system under every protocol, with trivial baselines and the human
        ceiling; differences; slices; diagnostics; preferred facts),
        rows.parquet (ROW_SCORES: one row per dialogue and system)
Rerun   dialogsum run RECIPE --refresh score

Headline protocol: rouge_score (its tokens, or those of `score.tokenizer`), F1, mean over the references of a dialogue,
then over dialogues, with stemming.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from artifacts.errors import StageError
from artifacts.schemas import DATASET, PREDICTIONS, read_table, write_table
from tasks.config import ScoreSpec, TokenizerName
from tasks.execution.stage import Artifact, Context, Stage, StageResult
from tasks.manifest_views import JudgeView
from tasks.metrics.bootstrap import bootstrap_counts, mean_and_interval, paired_difference
from tasks.metrics.diagnostics import aggregate, diagnose
from tasks.metrics.entity_checks import EntityChecks, entity_checks
from tasks.metrics.judge_scores import ROLE, score_judgements
from tasks.metrics.probe_scores import probe_scores
from tasks.metrics.probe_table import LIKELIHOODS
from tasks.metrics.protocols import (
    CONSTANT_SENTENCE,
    F1,
    leave_one_out,
    score_under_all_protocols,
    trivial_baselines,
)
from tasks.metrics.row_scores import ROW_SCORES
from tasks.metrics.score_table import HEADLINE_PROTOCOL, PROBE_ROLE, ROUGE_TYPES, System
from tasks.metrics.scores import (
    Difference,
    JudgeScores,
    ProbeScores,
    ProtocolScores,
    Scores,
    ScoringProtocol,
    SliceScores,
)
from tasks.metrics.slices import slices
from tasks.tokenization import has_other_letters


@dataclass(frozen=True)
class Texts:
    """What is scored: equal rows, in the same order, of the split and of every system."""

    ids: list[str]
    dialogues: list[str]
    references: list[list[str]]
    topics: list[list[str]]
    predictions: dict[str, list[str]]
    """System -> summaries."""
    stops: dict[str, list[str]]
    """System -> how each summary ended: `stop_token` or `limit`."""
    rows_in_split: int


def score(spec: ScoreSpec, context: Context, dataset: Artifact, **inputs: Artifact) -> StageResult:
    """Score every system on the same dialogues.

    inputs: predictions by system, `base` always among them, probes as `probe_<system>`, and judgements by role.
    StageError if the predictions or the probes are not of the same dialogues.
    """
    outputs = {role: artifact for role, artifact in inputs.items() if not role.startswith((PROBE_ROLE, ROLE))}
    judged = {role.removeprefix(ROLE): inputs[role] for role in sorted(inputs) if role.startswith(ROLE)}
    texts = read_texts(dataset, outputs, spec.split)
    systems = texts.predictions | trivial_baselines(texts.dialogues)
    by_protocol = score_under_all_protocols(systems, texts.references, spec.tokenizer)
    f1 = {system: by_protocol[HEADLINE_PROTOCOL][system][..., F1] for system in outputs}
    checks = entity_checks(texts.dialogues, texts.references)
    diagnostics = {
        system: diagnose(summaries, texts.stops[system], texts.dialogues, texts.references, checks, spec.tokenizer)
        for system, summaries in texts.predictions.items()
    }
    scores = aggregate_scores(spec, texts, by_protocol, diagnostics, checks)
    scores = scores.model_copy(update={"probe": read_probes(spec, inputs), "judge": read_judgements(spec, judged)})
    scores.save(context.out)
    write_table(row_scores(texts.ids, f1, diagnostics), ROW_SCORES, context.out / "rows.parquet")
    for measure, reason in checks.not_applied.items():
        context.events.log(f"{measure}: not applied: {reason}")
    headline = {system: scores.under_headline_protocol.systems[system] for system in outputs}
    for system, by_type in headline.items():
        context.events.log(f"{system}: " + "  ".join(f"{name} {by_type[name].f1:.2f}" for name in ROUGE_TYPES))
    facts = {
        "protocol": scores.under_headline_protocol.protocol.model_dump(),
        "headline": {system: {name: by_type[name].f1 for name in ROUGE_TYPES} for system, by_type in headline.items()},
        "intervals": {
            system: {name: list(by_type[name].interval) for name in ROUGE_TYPES} for system, by_type in headline.items()
        },
    }
    if scores.probe is not None:
        facts["preferred"] = {system: each.share for system, each in scores.probe.all_kinds.shares.items()}
    if scores.judge is not None:
        facts["judge"] = {
            "name": scores.judge.judge,
            "mean": {system: score.mean for system, score in scores.judge.systems.items()},
        }
        context.events.log(f"judge {scores.judge.judge}: {_in_words(facts['judge']['mean'])}")
    return StageResult(rows=len(texts.ids), facts=facts)


def read_probes(spec: ScoreSpec, inputs: Mapping[str, Artifact]) -> ProbeScores | None:
    """Which facts the systems prefer; None without their probes."""
    probes = {role.removeprefix(PROBE_ROLE): each for role, each in inputs.items() if role.startswith(PROBE_ROLE)}
    if not probes:
        return None
    facts = probes[System.BASE].manifest.facts
    tables = {
        system: read_table(artifact.payload / "probe.parquet", LIKELIHOODS) for system, artifact in probes.items()
    }
    left_out, not_applied = facts["left_out"], facts["not_applied"]
    return probe_scores(tables, left_out, not_applied, spec.bootstrap_resamples, spec.bootstrap_seed)


def read_judgements(spec: ScoreSpec, judged: Mapping[str, Artifact]) -> JudgeScores | None:
    """What the judge says; None without one."""
    if not judged:
        return None
    name = JudgeView(next(iter(judged.values())).manifest).judge
    payloads = {role: artifact.payload for role, artifact in judged.items()}
    return score_judgements(name, payloads, spec.bootstrap_resamples, spec.bootstrap_seed)


def _in_words(means: dict[str, float]) -> str:
    return "  ".join(f"{system} {mean:.2f}" for system, mean in means.items())


def _tokenizer(name: TokenizerName, references: list[list[str]]) -> str:
    """`unicode`, or for how many references `auto` stands for what: `auto (unicode in 3 of 120 references)`."""
    if name != "auto":
        return name
    other_letters = [has_other_letters(text) for row in references for text in row]
    if not any(other_letters):
        return "auto (ascii)"
    if all(other_letters):
        return "auto (unicode)"
    return f"auto (unicode in {sum(other_letters)} of {len(other_letters)} references, ascii in the others)"


def aggregate_scores(
    spec: ScoreSpec,
    texts: Texts,
    by_protocol: dict[str, dict[str, np.ndarray]],
    diagnostics: dict[str, dict[str, np.ndarray]],
    checks: EntityChecks,
) -> Scores:
    """Means, intervals, paired differences and slices of scores per dialogue.

    by_protocol: protocol -> system -> scores of shape (rows, 4 types, 3 statistics). diagnostics: system -> measure ->
    values of shape (rows,). checks: which names and numbers were checked.
    """
    counts = bootstrap_counts(len(texts.ids), spec.bootstrap_resamples, spec.bootstrap_seed)
    f1 = {system: by_protocol[HEADLINE_PROTOCOL][system][..., F1] for system in texts.predictions}
    protocol = {
        "package": f"rouge-score {version('rouge-score')}",
        "tokenizer": _tokenizer(spec.tokenizer, texts.references),
        "split": spec.split,
        "references_per_row": len(texts.references[0]),
        "rows": len(texts.ids),
        "rows_in_split": texts.rows_in_split,
        "interval": f"95 %, percentile bootstrap over dialogues, {spec.bootstrap_resamples} resamples",
    }
    return Scores(
        headline=HEADLINE_PROTOCOL,
        protocols={
            name: ProtocolScores(
                protocol=ScoringProtocol.model_validate(protocol | {"name": name}),
                systems={system: mean_and_interval(values, counts) for system, values in by_system.items()},
            )
            for name, by_system in by_protocol.items()
        },
        differences=differences(f1, counts),
        slices=tuple(
            SliceScores(
                kind=kind,
                name=name,
                rows=int(mask.sum()),
                scores={system: _means(values[mask]) for system, values in f1.items()},
                differences=differences({system: values[mask] for system, values in f1.items()}, counts[:, mask]),
            )
            for kind, name, mask in slices(texts.dialogues, texts.topics)
        ),
        diagnostics={system: aggregate(measures) for system, measures in diagnostics.items()}
        | reference_diagnostics(texts, checks, spec.tokenizer),
        not_applied=checks.not_applied,
        constant=CONSTANT_SENTENCE,
    )


def read_texts(dataset: Artifact, outputs: dict[str, Artifact], split: str) -> Texts:
    """The predictions of every system, joined with the split by id."""
    predictions = {
        system: read_table(artifact.payload / "predictions.parquet", PREDICTIONS)
        for system, artifact in outputs.items()
    }
    ids = [row["id"] for row in predictions[System.BASE]]
    if other := [system for system, rows in predictions.items() if [row["id"] for row in rows] != ids]:
        raise StageError(f"base and {other[0]} were run on different dialogues: rerun generate for both")
    rows_by_id = {row["id"]: row for row in read_table(dataset.payload / f"{split}.parquet", DATASET)}
    return Texts(
        ids=ids,
        dialogues=[rows_by_id[name]["dialogue"] for name in ids],
        references=[rows_by_id[name]["references"] for name in ids],
        topics=[rows_by_id[name]["topics"] for name in ids],
        predictions={system: [row["prediction"] for row in rows] for system, rows in predictions.items()},
        stops={system: [row["stop"] for row in rows] for system, rows in predictions.items()},
        rows_in_split=len(rows_by_id),
    )


def differences(f1: dict[str, np.ndarray], counts: np.ndarray) -> dict[str, dict[str, Difference]]:
    """Tuned minus every other system: system -> ROUGE type -> paired difference. Empty without a tuned system.

    f1: system -> F1 of shape (rows, 4 types).
    """
    tuned = f1.get(System.TUNED)
    if tuned is None:
        return {}
    return {
        system: paired_difference(tuned - values, counts, ROUGE_TYPES)
        for system, values in f1.items()
        if system != System.TUNED
    }


def reference_diagnostics(texts: Texts, checks: EntityChecks, tokenizer: TokenizerName) -> dict[str, dict[str, float]]:
    """Diagnostics of the references, each measured against the others; empty if there is one per dialogue."""
    by_reference = [
        aggregate(diagnose(one, None, texts.dialogues, others, checks, tokenizer))
        for one, others in leave_one_out(texts.references)
    ]
    if not by_reference:
        return {}
    means = {name: round(float(np.mean([row[name] for row in by_reference])), 4) for name in by_reference[0]}
    return {System.HUMAN: means}


def row_scores(
    ids: list[str], f1: dict[str, np.ndarray], diagnostics: dict[str, dict[str, np.ndarray]]
) -> list[dict[str, Any]]:
    """Rows of ROW_SCORES, system by system."""
    return [
        {"system": system, "id": ids[i]}
        | dict(zip(ROUGE_TYPES, map(float, values[i]), strict=True))
        | {name: float(measure[i]) for name, measure in diagnostics[system].items()}
        for system, values in f1.items()
        for i in range(len(ids))
    ]


def _means(f1: np.ndarray) -> dict[str, float]:
    return {name: round(float(mean) * 100, 4) for name, mean in zip(ROUGE_TYPES, f1.mean(axis=0), strict=True)}


SCORE = Stage(
    name="score",
    version=1,
    function=score,
    spec=ScoreSpec,
    label=lambda spec: "rouge",
    packages=("rouge-score", "regex", "num2words"),
)
