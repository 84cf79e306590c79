"""Finds references that are no summaries: the dialogue itself, or a text that many dialogues share."""

from tasks.data.dialogue_row import DialogueRow, spoken_words
from tasks.data.row_check import Finding

LEAST_DIALOGUES = 5
"""A reference that so many different dialogues share is boilerplate; in DialogSum no more than two share one."""


class RepeatedReferences:
    """Finds references that equal their dialogue or those of other dialogues, by their words."""

    def __init__(self) -> None:
        self.rows = 0
        self.copied: list[str] = []
        self.dialogues: dict[int, dict[int, str]] = {}
        """Hash of a reference -> hash of a dialogue -> id of the first such row."""

    def add(self, row: DialogueRow) -> None:
        self.rows += 1
        dialogue = hash(tuple(row.spoken_words))
        references = {hash(tuple(spoken_words(reference))) for reference in row.references}
        if dialogue in references:
            self.copied.append(row.id)
        for reference in references:
            self.dialogues.setdefault(reference, {}).setdefault(dialogue, row.id)

    def findings(self) -> list[Finding]:
        shared = [ids for ids in self.dialogues.values() if len(ids) >= LEAST_DIALOGUES]
        shared.sort(key=len, reverse=True)
        return [
            Finding(
                "copied references",
                "the dialogue itself as reference",
                self.copied,
                f"{self.rows} training dialogues",
                "the model learns to copy; write summaries or remove the rows",
            ),
            Finding(
                "repeated references",
                f"a reference that at least {LEAST_DIALOGUES} different dialogues share",
                list(dict.fromkeys(row for ids in shared for row in ids.values())),
                f"{self.rows} training dialogues",
                "the model learns to write it whatever is said; write summaries or remove the rows",
            ),
        ]
