"""Which checks for invented names, speakers and numbers the data allows, and what they find in a summary."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tasks.metrics.invented_numbers import invented_numbers
from tasks.metrics.name_evidence import NameEvidence, lowercase_words, name_evidence
from tasks.metrics.names import hallucinated_names
from tasks.metrics.number_words import number_language
from tasks.metrics.score_table import NAMES_MEASURE, NUMBERS_MEASURE, SPEAKERS_MEASURE

MAX_REFERENCES_WITH_ERRORS, SMOOTHING_ROWS = 0.1, 20
"""A check is not applied if it finds an error in more human references than this share. In DialogSum it finds names in
1 of 100 and numbers in 3 of 1000. The share is computed as if this many dialogues more had none: few dialogues have
few words in small letters to compare with."""


@dataclass(frozen=True)
class EntityChecks:
    """The checks that a data set allows."""

    lowercase: frozenset[str]
    evidence: NameEvidence
    language: str | None
    """Of the number words, a code of num2words; None reads digits alone."""
    not_applied: dict[str, str]
    """Measure -> why the data does not allow it."""
    wrong_in_references: frozenset[str] = frozenset()
    """The measures that are not applied because they call human references wrong."""

    def speaker_errors(self, summary: str, dialogue: str) -> list[str]:
        """Speaker tags, speakers and names that the dialogue does not have, of the applied checks."""
        # a title tells a name also where capitals do not
        names, speakers = (measure not in self.wrong_in_references for measure in (NAMES_MEASURE, SPEAKERS_MEASURE))
        return hallucinated_names(summary, dialogue, self.lowercase, names, speakers, self.evidence)

    def number_errors(self, summary: str, dialogue: str) -> list[str] | None:
        """Numbers that the dialogue does not have; None if numbers cannot be checked in this data."""
        if NUMBERS_MEASURE in self.not_applied:
            return None
        return invented_numbers(summary, dialogue, self.language)


def entity_checks(dialogues: Sequence[str], references: Sequence[Sequence[str]]) -> EntityChecks:
    """The checks for a data set, judged by its human references: what calls many of them wrong is not applied."""
    lowercase = lowercase_words(dialogues, references)
    checks = EntityChecks(
        lowercase=lowercase,
        evidence=name_evidence(dialogues, references, lowercase),
        language=number_language([*dialogues, *(text for row in references for text in row)]),
        not_applied={},
    )
    pairs = [(text, dialogue) for dialogue, row in zip(dialogues, references, strict=True) for text in row]
    found = {
        NAMES_MEASURE: [_untagged(hallucinated_names(*p, lowercase, True, False, checks.evidence)) for p in pairs],
        SPEAKERS_MEASURE: [_untagged(hallucinated_names(*p, lowercase, False, True, checks.evidence)) for p in pairs],
        NUMBERS_MEASURE: [invented_numbers(*p, checks.language) for p in pairs],
    }
    shares = {measure: sum(map(bool, errors)) / max(len(pairs), 1) for measure, errors in found.items()}
    smoothing = len(dialogues) / (len(dialogues) + SMOOTHING_ROWS)
    reasons = {
        measure: f"{100 * share:.1f} % of the human references have some as well"
        for measure, share in shares.items()
        if share * smoothing > MAX_REFERENCES_WITH_ERRORS
    }
    return replace(checks, not_applied=_unjudged(checks.evidence) | reasons, wrong_in_references=frozenset(reasons))


def _unjudged(evidence: NameEvidence) -> dict[str, str]:
    """What the script or the language does not allow to judge."""
    if not evidence.has_capitals:
        return {NAMES_MEASURE: "the script has no capital letters, so only speakers of other dialogues are checked"}
    if evidence.capitalises_nouns:
        return {
            NAMES_MEASURE: "the language writes nouns with a capital, so only speakers of other dialogues and names "
            "behind a title are checked"
        }
    return {}


def _untagged(names: list[str]) -> list[str]:
    return [name for name in names if not name.startswith("#")]
