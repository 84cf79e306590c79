"""Finds test dialogues that nearly equal a training dialogue, by groups of words that both have."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from tasks.data.dialogue_row import DialogueRow
from tasks.data.row_check import Finding

SHINGLE_WORDS = 3
LEAST_OVERLAP = 0.8
"""Share of the shingles of the shorter dialogue that the other one has too."""
LEAST_SHINGLES = 10
"""Shorter dialogues are not compared: a greeting and a question are alike by chance."""
SET_PHRASE_SHARE, SET_PHRASE_ROWS = 0.05, 5
"""A shingle in more than this share of the test dialogues, and in more than so many, is a set phrase and does not
count. So the work for each shingle of a training dialogue is bounded too."""


class NearDuplicates:
    """Compares every training dialogue with an index over the shingles of the test dialogues: linear in the rows.

    A training dialogue that the stage format takes for equal to the test dialogue is left to the check `leakage`.
    """

    def __init__(self, test: Iterable[DialogueRow]) -> None:
        rows = [(row.id, _layout_free(row.dialogue), _shingles(row.spoken_words)) for row in test]
        counts = Counter(shingle for *_, shingles in rows for shingle in shingles)
        most = max(SET_PHRASE_ROWS, SET_PHRASE_SHARE * len(rows))
        self.set_phrases = {shingle for shingle, count in counts.items() if count > most}
        self.test = [(name, text, len(shingles - self.set_phrases)) for name, text, shingles in rows]
        """Id, hash of the text and number of shingles of each test dialogue."""
        self.index: dict[int, list[int]] = defaultdict(list)
        """Shingle -> positions of the test dialogues that have it."""
        for position, (*_, shingles) in enumerate(rows):
            for shingle in shingles - self.set_phrases:
                self.index[shingle].append(position)
        self.similar: dict[int, str] = {}
        """Position of a test dialogue -> id of the first training dialogue that it nearly equals."""
        self.training_rows = 0

    def add(self, row: DialogueRow) -> None:
        shingles = _shingles(row.spoken_words) - self.set_phrases
        common = Counter(position for shingle in shingles for position in self.index.get(shingle, ()))
        similar = [position for position, count in common.items() if self._overlaps(count, len(shingles), position)]
        similar = [position for position in similar if self.test[position][1] != _layout_free(row.dialogue)]
        self.training_rows += bool(similar)
        for position in similar:
            self.similar.setdefault(position, row.id)

    def findings(self) -> list[Finding]:
        return [
            Finding(
                "near-duplicates",
                "nearly the words of a training dialogue",
                [f"{self.test[position][0]} and {self.similar[position]}" for position in sorted(self.similar)],
                f"{len(self.test)} test dialogues",
                f"{self.training_rows} training dialogues make their scores too high; remove these training dialogues",
            )
        ]

    def _overlaps(self, common: int, shingles: int, position: int) -> bool:
        shorter = min(shingles, self.test[position][2])
        return shorter >= LEAST_SHINGLES and common >= LEAST_OVERLAP * shorter


def _shingles(words: Sequence[str]) -> set[int]:
    return {hash(tuple(words[i : i + SHINGLE_WORDS])) for i in range(len(words) - SHINGLE_WORDS + 1)}


def _layout_free(dialogue: str) -> int:
    """Equal for dialogues that the stage format takes for equal."""
    return hash(" ".join(dialogue.lower().split()))
