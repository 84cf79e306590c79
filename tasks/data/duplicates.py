"""Finds training dialogues that occur twice."""

from tasks.data.dialogue_row import DialogueRow
from tasks.data.row_check import Finding


class Duplicates:
    """Finds training dialogues with the words of an earlier one."""

    def __init__(self) -> None:
        self.rows, self.other_references = 0, 0
        self.first: dict[int, tuple[str, int]] = {}
        """Hash of what is said -> id and hash of the references of the first such dialogue."""
        self.repeated: list[str] = []

    def add(self, row: DialogueRow) -> None:
        self.rows += 1
        if not row.spoken_words:
            return
        references = hash(tuple(row.references))
        first, its_references = self.first.setdefault(hash(tuple(row.spoken_words)), (row.id, references))
        if first != row.id:
            self.repeated.append(f"{row.id} repeats {first}")
            self.other_references += references != its_references

    def findings(self) -> list[Finding]:
        return [
            Finding(
                "duplicates",
                "the words of an earlier dialogue",
                self.repeated,
                f"{self.rows} training dialogues",
                f"{self.other_references} have other references; what is repeated weighs more in training, so remove "
                "what is not meant as a further reference",
            )
        ]
