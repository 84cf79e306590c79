"""The champion log: which adapter is champion of a base model, and which ones were before. It is append-only.

    <store>/champions/<base model, 12 hex digits>/000001.json, 000002.json, …

The highest number is in force. A change creates the file with the next number, which only one process can do: of two
retrainings that finish together, the other one is told that the champion has changed, and compares again.
"""

import json
from typing import Any, Literal

from pydantic import ValidationError

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from artifacts.record import Record
from artifacts.text import one_line
from artifacts.timestamps import timestamp_now


class Champion(Record):
    """An adapter together with the prompt and decoding settings that it was evaluated with."""

    adapter: str
    template: str
    """Prompt with {dialogue} in it."""
    turns: str
    generate: dict[str, Any]
    """Decoding settings (tasks.config.GenerateConfig), without `limit`."""
    rouge_tokenizer: str = "auto"
    """Tokens by which its candidates are compared (tasks.config.ScoreConfig)."""


class Change(Record):
    """One entry of the log: a new champion."""

    number: int
    at: str
    """UTC time, ISO 8601."""
    action: Literal["promoted", "rolled back"]
    champion: Champion | None
    """None after the only champion was rolled back."""
    scores: str | None
    """Id of the score artifact that promoted it."""
    run: str


class Rollback(Record):
    """The rollback of a champion by a person."""

    adapter: str
    at: str
    """UTC time, ISO 8601."""
    reinstated: str | None = None
    """When the adapter was promoted again, if it was."""


class Champions:
    """The log of one base model, as of when it was read. RequestError if an entry cannot be parsed."""

    def __init__(self, store: Store, base: str) -> None:
        self.store = store
        self.folder = ("champions", base[:12])
        self.changes: list[Change] = []
        self.stack: list[tuple[Champion, str | None]] = []
        """Champions that were not rolled back, oldest first, the current one last, each with its score artifact."""
        self.withdrawn: dict[str, str] = {}
        """Adapter -> when it was rolled back: the gate does not promote it again by itself."""
        self.rollbacks: list[Rollback] = []
        """All rollbacks, oldest first, also of adapters that were promoted again."""
        for name, text in store.side_files.read_all(*self.folder).items():
            self._apply(self._read(name, text))

    @property
    def current(self) -> Champion | None:
        """The champion in force."""
        return self.stack[-1][0] if self.stack else None

    def withdrawn_at(self, candidate: Champion) -> str | None:
        """When the candidate's adapter was rolled back; None if it never was or if the candidate is champion."""
        return None if candidate == self.current else self.withdrawn.get(candidate.adapter)

    def rival(self, candidate: Champion) -> Champion | None:
        """The champion that a candidate has to beat; for the current champion, the one that it replaced.

        So an unchanged retraining is compared as it was the first time, and nothing is computed again.
        """
        others = [champion for champion, _ in self.stack if champion != candidate]
        return others[-1] if others else None

    def promote(self, champion: Champion, scores: str, run: str) -> bool:
        """Make `champion` the champion. False if the log has grown since it was read."""
        return self._append("promoted", champion, scores, run)

    def roll_back(self, run: str) -> Champion | None:
        """Restore the previous champion (or none) and return it.

        RequestError if there is no champion or the log has grown since it was read.
        """
        if not self.stack:
            raise RequestError("there is no champion to roll back (see `dialogsum history`)")
        previous, scores = self.stack[-2] if len(self.stack) > 1 else (None, None)
        if not self._append("rolled back", previous, scores, run):
            raise RequestError("another command changed the champion: see `dialogsum history`, then roll back again")
        return previous

    def read_new(self) -> bool:
        """Read the entries that were added since the log was read. True if there is one."""
        known = len(self.changes)
        while (text := self.store.side_files.read(*self.folder, self._next_name)) is not None:
            self._apply(self._read(self._next_name, text))
        return len(self.changes) > known

    @property
    def _next_number(self) -> int:
        return self.changes[-1].number + 1 if self.changes else 1

    @property
    def _next_name(self) -> str:
        return f"{self._next_number:06d}.json"

    def _apply(self, change: Change) -> None:
        """Add an entry that was read."""
        self.changes.append(change)
        if change.action == "promoted" and change.champion is not None:
            adapter = change.champion.adapter
            if self.withdrawn.pop(adapter, None):
                last = max(i for i, rollback in enumerate(self.rollbacks) if rollback.adapter == adapter)
                self.rollbacks[last] = self.rollbacks[last].model_copy(update={"reinstated": change.at})
            self.stack.append((change.champion, change.scores))
        elif self.stack:
            adapter = self.stack.pop()[0].adapter
            self.withdrawn[adapter] = change.at
            self.rollbacks.append(Rollback(adapter=adapter, at=change.at))

    def _append(
        self, action: Literal["promoted", "rolled back"], champion: Champion | None, scores: str | None, run: str
    ) -> bool:
        change = Change(
            number=self._next_number,
            at=timestamp_now(),
            action=action,
            champion=champion,
            scores=scores,
            run=run,
        )
        text = change.model_dump_json(indent=1).encode()
        return self.store.side_files.create(text, *self.folder, self._next_name)

    def _read(self, name: str, text: bytes) -> Change:
        try:
            return Change.model_validate(json.loads(text))
        except (ValueError, ValidationError) as error:
            raise RequestError(
                f"{'/'.join(self.folder)}/{name} in {self.store.root} could not be parsed "
                f"({one_line(error, 80)}): remove it and all later ones, then promote again"
            ) from error
