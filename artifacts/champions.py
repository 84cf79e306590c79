"""Who is champion of a base model, and who was: a log in the store that only grows.

    <store>/champions/<base model, 12 hex digits>/000001.json, 000002.json, …

The highest number is in force. A change claims the next number, which a store gives away once: of two retrainings that
finish together one is told that the champion has changed meanwhile, and compares again.
"""

import json
from typing import Any, Literal

from pydantic import ValidationError

from artifacts.artifact_store import Store, now
from artifacts.errors import RequestError, one_line
from artifacts.manifest import Record


class Champion(Record):
    """An adapter together with the way of asking it that it was judged by."""

    adapter: str
    template: str
    """Prompt with {dialogue} in it."""
    turns: str
    generate: dict[str, Any]
    """Decoding settings (tasks.config.GenerateConfig), without `limit`."""


class Change(Record):
    """One entry of the log: who is champion from then on."""

    number: int
    at: str
    """UTC time, ISO 8601."""
    action: Literal["promoted", "rolled back"]
    champion: Champion | None
    """None after the only one was rolled back."""
    scores: str | None
    """The score artifact that it was judged by."""
    run: str


class Rollback(Record):
    """An adapter that was champion until a person rolled it back."""

    adapter: str
    at: str
    """UTC time, ISO 8601."""
    reinstated: str | None = None
    """When it was promoted again, if it was."""


class Champions:
    """The log of one base model, as it stood when it was read."""

    def __init__(self, base: str) -> None:
        self.folder = ("champions", base[:12])
        self.changes = [self._read(name, text) for name, text in Store.current().read_all(*self.folder).items()]
        self.stack: list[tuple[Champion, str | None]] = []
        """Who is in force, last, after those it replaced, each with the scores it was judged by."""
        self.withdrawn: dict[str, str] = {}
        """Adapter -> when it was rolled back: no gate puts it in force again by itself."""
        self.rollbacks: list[Rollback] = []
        """Every one, oldest first, also where the adapter was promoted again."""
        for change in self.changes:
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

    @property
    def current(self) -> Champion | None:
        """Who is in force."""
        return self.stack[-1][0] if self.stack else None

    def withdrawn_at(self, candidate: Champion) -> str | None:
        """When a candidate's adapter was rolled back; None if it was not, or is in force all the same, as it was before."""
        return None if candidate == self.current else self.withdrawn.get(candidate.adapter)

    def rival(self, candidate: Champion) -> Champion | None:
        """Whom a candidate has to beat: the champion, or the one it replaced if the candidate is champion already.

        So an unchanged retraining is compared as it was the first time, and nothing has to be computed again.
        """
        others = [champion for champion, _ in self.stack if champion != candidate]
        return others[-1] if others else None

    def promote(self, champion: Champion, scores: str, run: str) -> bool:
        """Put a champion in force; False if the log has grown since it was read."""
        return self._append("promoted", champion, scores, run)

    def roll_back(self, run: str) -> Champion | None:
        """Put the one before, or nobody, in force again; returns it. RequestError if nobody is or the log has grown."""
        if not self.stack:
            raise RequestError("there is no champion that could be rolled back (see `dialogsum history`)")
        before, scores = self.stack[-2] if len(self.stack) > 1 else (None, None)
        if not self._append("rolled back", before, scores, run):
            raise RequestError("the champion changed meanwhile: look at `dialogsum history` and roll back again")
        return before

    def _append(
        self, action: Literal["promoted", "rolled back"], champion: Champion | None, scores: str | None, run: str
    ) -> bool:
        number = self.changes[-1].number + 1 if self.changes else 1
        change = Change(number=number, at=now(), action=action, champion=champion, scores=scores, run=run)
        text = change.model_dump_json(indent=1).encode()
        return Store.current().create(text, *self.folder, f"{number:06d}.json")

    def _read(self, name: str, text: bytes) -> Change:
        try:
            return Change.model_validate(json.loads(text))
        except (ValueError, ValidationError) as error:
            raise RequestError(
                f"{'/'.join(self.folder)}/{name} in {Store.current().root} does not read ({one_line(error, 80)}): "
                "remove it and those after it, then promote again"
            ) from error
