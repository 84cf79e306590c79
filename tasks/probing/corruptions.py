"""Pairs of a human reference and the same text with one wrong fact, made by rules that people can follow.

FacEval (Wang et al., EMNLP 2022) makes such pairs for English dialogues with names. These rules also read speaker tags
and need neither a parser nor a list of names. What they draw depends on the seed, the dialogue's id and the kind alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from tasks.metrics.probe_kinds import ENGLISH_KINDS, ProbeKind
from tasks.probing.changed_people import change_name, change_speaker, exchange_roles, swap_speakers
from tasks.probing.changed_statements import change_number, negate, replace_sentence
from tasks.probing.dialogues import DataSet, Dialogue, read_data_set

Rule = Callable[[str, Dialogue, DataSet, Random], str | None]
"""(reference, its dialogue, data set, random numbers) -> the reference with a wrong fact, or None."""
RULES: dict[ProbeKind, Rule] = {
    ProbeKind.SPEAKERS: swap_speakers,
    ProbeKind.SPEAKER: change_speaker,
    ProbeKind.ROLES: exchange_roles,
    ProbeKind.NAME: change_name,
    ProbeKind.NUMBER: change_number,
    ProbeKind.NEGATION: negate,
    ProbeKind.SENTENCE: replace_sentence,
}


@dataclass(frozen=True)
class Pair:
    """A reference and its corruption."""

    id: str
    """Of the dialogue."""
    kind: ProbeKind
    reference: str
    corruption: str


@dataclass(frozen=True)
class Pairs:
    """The pairs of the first dialogues of a split."""

    pairs: tuple[Pair, ...]
    """By dialogue, in the order of the split, and by kind."""
    left_out: dict[str, int]
    """Kind -> number of dialogues of which no reference admits it."""
    not_applied: dict[str, str]
    """Kind -> why this data does not allow it."""


def make_pairs(rows: Sequence[Mapping[str, object]], dialogues: int, seed: int) -> Pairs:
    """One pair per kind for each of the first dialogues, from the first reference that admits it.

    rows: of the whole split (artifacts.schemas.DATASET), from which other names and sentences are drawn, so that more
    dialogues change no pair. A corruption is never one of the references, nor that of another kind.
    """
    data = read_data_set(rows)
    kinds = [kind for kind in ProbeKind if data.english or kind not in ENGLISH_KINDS]
    pairs, left_out = list[Pair](), dict.fromkeys(map(str, kinds), 0)
    for dialogue in data.dialogues[:dialogues]:
        taken = {_plain(text) for text in dialogue.references}
        for kind in kinds:
            pair = _pair(kind, dialogue, data, taken, seed)
            if pair is None:
                left_out[kind] += 1
            else:
                pairs.append(pair)
                taken.add(_plain(pair.corruption))
    reason = "its rules are those of English, and most references are not in English"
    not_applied = {str(kind): reason for kind in ProbeKind if kind not in kinds}
    return Pairs(tuple(pairs), left_out, not_applied)


def _pair(kind: ProbeKind, dialogue: Dialogue, data: DataSet, taken: set[str], seed: int) -> Pair | None:
    random = Random(f"{seed} {kind} {dialogue.id}")  # noqa: S311  # nothing is secret
    for reference in dialogue.references:
        corruption = RULES[kind](reference, dialogue, data, random)
        if corruption is not None and _plain(corruption) not in taken:
            return Pair(dialogue.id, kind, reference, corruption)
    return None


def _plain(text: str) -> str:
    """A text without what changes no fact: capitals, spaces and the full stop at its end."""
    return " ".join(text.casefold().split()).rstrip(".。")
