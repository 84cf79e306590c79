"""Pairs for preference training: for each dialogue, the best and the worst of its sampled candidates."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from artifacts.errors import StageError
from tasks.config import TrainSpec
from tasks.models.chat_template import TurnEncoder
from tasks.training.packing import IGNORED, Row
from tasks.training.preference import Pair


@dataclass(frozen=True)
class PreferencePairs:
    """The pairs, and how many dialogues have none."""

    pairs: list[Pair]
    ids: list[str]
    same_text: int
    """Dialogues whose best and worst candidate have the same text."""
    unfinished: int
    """Dialogues without a candidate that ended before the limit of tokens."""

    def facts(self) -> dict[str, int]:
        """Counts for the manifest."""
        return {"pairs": len(self.pairs), "same_text": self.same_text, "unfinished": self.unfinished}

    def __str__(self) -> str:
        return (
            f"{len(self.pairs)} pairs; left out: {self.same_text} dialogues whose best and worst sample are the same "
            f"text, {self.unfinished} without a finished sample"
        )


def best_and_worst(candidates: Mapping[str, Any], reference_weight: float) -> tuple[int, int] | None:
    """Indexes of the candidates (artifacts.schemas.CANDIDATES) with the highest and the lowest score.

    The best one has to be finished: a summary that was cut off would teach where not to stop. None if there is none.
    Of equal scores the first counts.
    """
    # rounded, so that equal texts have equal scores in whatever order their agreement was added up
    scores = [
        round(agreement + reference_weight * reference, 9)
        for agreement, reference in zip(candidates["agreement"], candidates["reference_agreement"], strict=True)
    ]
    finished = [i for i, is_finished in enumerate(candidates["finished"]) if is_finished]
    if not finished:
        return None
    return max(finished, key=lambda i: scores[i]), min(range(len(scores)), key=lambda i: scores[i])


def preference_pairs(
    spec: TrainSpec, encoder: TurnEncoder, rows: Sequence[dict[str, Any]], candidates: Iterable[dict[str, Any]]
) -> PreferencePairs:
    """Pairs in the order of the formatted rows, encoded as for generation.

    StageError if a dialogue has no candidates, or if no dialogue has a pair.
    """
    assert spec.preference is not None
    by_id = {row["id"]: row for row in candidates}
    prompts = {row["id"]: row["prompt"] for row in rows}
    if missing := [name for name in prompts if name not in by_id]:
        raise StageError(
            f"{len(missing)} of {len(prompts)} training dialogues have no sampled summaries, the first is "
            f"{missing[0]!r}: run again with --refresh sample"
        )
    texts: list[tuple[str, bool]] = []
    names, same_text, unfinished = list[str](), 0, 0
    for name in prompts:
        row = by_id[name]
        chosen = best_and_worst(row, spec.preference.reference_weight)
        if chosen is None:
            unfinished += 1
        elif row["candidates"][chosen[0]] == row["candidates"][chosen[1]]:
            same_text += 1
        else:
            names.append(name)
            texts += [(row["candidates"][i], row["finished"][i]) for i in chosen]
    if not names:
        raise StageError(
            f"no pair is left of {len(prompts)} dialogues: the best and the worst of the samples of {same_text} have "
            f"the same text, and {unfinished} have no finished sample; raise train.distill.samples, temperature or "
            "max_new_tokens"
        )
    limit = spec.train.max_length - spec.preference.max_new_tokens
    encoded, _ = encoder.prompts([prompts[name] for name in names], limit)
    endings = encoder.endings([text for text, _ in texts])
    rows_of_pairs = [
        _labelled(encoded[i // 2], ending if finished else ending[:-1])
        for i, (ending, (_, finished)) in enumerate(zip(endings, texts, strict=True))
    ]
    pairs = list(zip(rows_of_pairs[::2], rows_of_pairs[1::2], strict=True))
    return PreferencePairs(pairs, names, same_text, unfinished)


def _labelled(prompt: list[int], completion: list[int]) -> Row:
    return prompt + completion, [IGNORED] * len(prompt) + completion
