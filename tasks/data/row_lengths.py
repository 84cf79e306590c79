"""Finds training dialogues and references that are too short, too long, or without turns. Preflight counts tokens."""

from collections.abc import Sequence
from statistics import median

from tasks.data.dialogue_row import DialogueRow
from tasks.data.row_check import Finding
from tasks.tokenization import length_in_words

LEAST_WORDS = 5
"""Of a dialogue, without the speakers' labels."""
LEAST_REFERENCE_WORDS = 3
MOST_TIMES_MEDIAN = 10
"""A text of more words than so many times the median is an outlier; in DialogSum the longest has 8 times the median."""


class RowLengths:
    """Finds outliers of length, and dialogues without turns or speakers."""

    def __init__(self) -> None:
        self.dialogues: list[tuple[str, int]] = []
        """(id, words)."""
        self.references: list[tuple[str, int]] = []
        self.short: list[str] = []
        self.one_line: list[str] = []
        self.no_speaker: list[str] = []
        self.not_shorter: list[str] = []

    def add(self, row: DialogueRow) -> None:
        length = length_in_words(row.dialogue)
        references = [length_in_words(reference) for reference in row.references]
        self.dialogues.append((row.id, length))
        self.references += [(row.id, each) for each in references]
        for rows, matches in (
            (self.short, len(row.spoken_words) < LEAST_WORDS),
            (self.one_line, "\n" not in row.dialogue),
            (self.no_speaker, not row.speakers),
            (self.not_shorter, max(references) >= length),
        ):
            if matches:
                rows.append(row.id)

    def findings(self) -> list[Finding]:
        dialogues, references = f"{len(self.dialogues)} training dialogues", f"{len(self.references)} references"
        short_references = [name for name, words in self.references if words < LEAST_REFERENCE_WORDS]
        return [
            Finding(
                "short dialogues",
                f"fewer than {LEAST_WORDS} spoken words",
                self.short,
                dialogues,
                "there is nothing to summarize; restore their text or remove the rows",
            ),
            _outliers("long dialogues", self.dialogues, dialogues, "see whether several conversations were joined"),
            Finding(
                "dialogues of one line",
                "one line only",
                self.one_line,
                dialogues,
                "the model cannot see the turns; begin a new line with each",
            ),
            Finding(
                "dialogues without speakers",
                "no speaker at the start of a line",
                self.no_speaker,
                dialogues,
                "a summary cannot name who speaks; begin each line with its speaker, as in `#Person1#: Hello.`",
            ),
            Finding(
                "short references",
                f"fewer than {LEAST_REFERENCE_WORDS} words",
                short_references,
                references,
                "the model learns to write as little; complete them or remove the rows",
            ),
            _outliers("long references", self.references, references, "see whether they are summaries"),
            Finding(
                "references as long as the dialogue",
                "a reference with at least as many words as the dialogue",
                self.not_shorter,
                dialogues,
                "the model learns not to shorten; shorten the reference or remove the row",
            ),
        ]


def _outliers(name: str, lengths: Sequence[tuple[str, int]], of: str, advice: str) -> Finding:
    usual = median(words for _, words in lengths)
    rows = [f"{row} with {words}" for row, words in lengths if words > MOST_TIMES_MEDIAN * usual]
    what = f"more than {MOST_TIMES_MEDIAN} times the median of {usual:.0f} words"
    return Finding(name, what, rows, of, advice)
