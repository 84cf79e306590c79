"""What a judge says of the systems, in the words of a report."""

from collections.abc import Mapping

from tasks.config import JudgeAgreement
from tasks.execution.stage import Artifact
from tasks.metrics.judge_scores import REFERENCES
from tasks.metrics.judgement import Kind, read_judgements
from tasks.metrics.score_table import COMPARISON_SYSTEMS, System
from tasks.metrics.scores import JudgeScores, Scores

CHANCE = 0.5
"""AUROC of a measure that knows nothing."""


def judge_sentences(
    scores: Scores, agreement: JudgeAgreement | None, names: tuple[str, Mapping[str, str]]
) -> list[str]:
    """Scores, differences, both ends of the scale, and agreement with people; empty without a judge.

    names: from `comparison_names`.
    """
    judge = scores.judge
    if judge is None:
        return []
    compared = [system for system in COMPARISON_SYSTEMS if system in judge.differences]
    sentences = [_first(judge, compared, names)]
    for system in compared[1:]:
        sentences.append(f"Compared with {names[1][system]}: {_difference(judge, system)}.")
    if ends := _ends(judge):
        sentences.append(ends)
    if judge.unreadable:
        sentences.append(f"{judge.unreadable} dialogues are left out: an answer of the judge could not be read.")
    sentences.append(_agreement(agreement))
    return sentences


def unsupported(judged: Mapping[str, Artifact]) -> dict[str, dict[str, tuple[str, ...]]]:
    """System -> dialogue id -> what the judge finds unsupported in its summary. judged: judgements by system."""
    return {
        system: {
            name: judgement.unsupported
            for name, judgement in read_judgements(artifact.payload)[Kind.PREDICTION].items()
        }
        for system, artifact in judged.items()
        if system != REFERENCES
    }


def _first(judge: JudgeScores, compared: list[System], names: tuple[str, Mapping[str, str]]) -> str:
    subject = System.TUNED if compared else System.BASE
    score = judge.systems[subject]
    name = "the base model" if not compared else names[0] if compared[0] == System.PREVIOUS else "the tuned model"
    low, high = score.interval
    found = (
        f"Faithfulness to the dialogue, judged by {judge.judge}: {name} gets {score.mean:.1f} of 100 points "
        f"(95 % interval {low:.1f} to {high:.1f}, {judge.dialogues} dialogues)"
    )
    if not compared:
        return f"{found}."
    other = judge.systems[compared[0]].mean
    return f"{found}, {names[1][compared[0]]} {other:.1f}: {_difference(judge, compared[0])}."


def _difference(judge: JudgeScores, system: System) -> str:
    difference = judge.differences[system]
    low, high = difference.interval
    return f"{difference.mean:+.1f} points (95 % interval {low:+.1f} to {high:+.1f})"


def _ends(judge: JudgeScores) -> str:
    names = {Kind.REFERENCE: "human references get", Kind.OTHER_DIALOGUE: "references of other dialogues"}
    ends = [f"{name} {judge.systems[kind].mean:.1f}" for kind, name in names.items() if kind in judge.systems]
    return f"On this scale, {', '.join(ends)}." if ends else ""


def _agreement(agreement: JudgeAgreement | None) -> str:
    if agreement is None:
        return "How far this judge agrees with people was not measured: `dialogsum bench faithfulness` does."
    low, high = agreement.interval
    doubt = " That may be no better than chance: do not rely on it." if low <= CHANCE else ""
    return (
        f"This measure agrees with people to {agreement.auroc:.2f} ({low:.2f} to {high:.2f}; AUROC on "
        f"{agreement.summaries} summaries of {agreement.data}, {CHANCE:.2f} is chance).{doubt}"
    )
