"""Dialogues, however written and however long -> summaries: what tasks/summarization/worker.py does with a block of rows.

A dialogue that does not fit the context is cut between turns, each part is summarized, and what was said of the parts is
summarized as a whole; its `stop` says so. A row without a dialogue is answered with the reason.
"""

import hashlib
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from artifacts.errors import RequestError
from tasks.decoding.batching import deal
from tasks.decoding.engine import Engine
from tasks.models.chat_template import TurnEncoder
from tasks.models.prompt_template import fill
from tasks.summarization.transcripts import read

LEAST_ROOM = 32
"""Tokens that a prompt has to leave for the dialogue."""
MOST_PARTS = 64
"""A dialogue of more contexts than this is a book."""
MOST_ROUNDS = 6
"""How often summaries of parts may be put together and still not fit."""
_WIDE = 1 << 40
"""Tokens that no prompt has."""
Answer = dict[str, Any]
"""`summary` (names put back), `tokens` (those of the summary), `stop`: `stop_token` or `limit`, behind it `(3 parts)` where
the dialogue was too long for one; or `skipped: ` and the reason, with an empty summary."""


class Summarizer:
    """Asks one model, under one prompt."""

    def __init__(self, engine: Engine, encoder: TurnEncoder, template: str, room: int, batch: int) -> None:
        """`room`: tokens of a whole prompt; `batch`: rows decoded together. RequestError if no dialogue would fit."""
        self.engine, self.encoder, self.template, self.room, self.batch = engine, encoder, template, room, batch
        bare = len(self._ids([""])[0])
        if room - bare < LEAST_ROOM:
            raise RequestError(
                f"the prompt alone has {bare} tokens, the context has room for {room}: shorten the prompt"
            )

    def answer(self, values: Sequence[Any], told: Callable[[int], None] = lambda done: None) -> list[Answer]:
        """One answer a value, in their order. `told` hears, batch by batch, about how many of them are done."""
        talks = [read(value) for value in values]
        answers: dict[int, Answer] = {row: _skipped("no dialogue") for row, talk in enumerate(talks) if not talk.text}
        open_ = {row: talk.text for row, talk in enumerate(talks) if talk.text}
        parts = dict.fromkeys(open_, 1)
        for last in (*[False] * (MOST_ROUNDS - 1), True):
            asked = {}
            for row, pieces in zip(open_, self._cut(list(open_.values())), strict=True):
                if not pieces or (len(pieces) > 1 and last):
                    answers[row] = _skipped(f"longer than {MOST_PARTS} contexts")
                else:
                    asked[row] = pieces
            said = self._ask([piece for pieces in asked.values() for piece in pieces], told)
            open_ = {}
            for row, pieces in asked.items():
                found = [said[piece] for piece in pieces]
                if len(pieces) > 1:
                    parts[row] = max(parts[row], len(pieces))
                    open_[row] = "\n".join(answer["prediction"] for answer in found)
                else:
                    answers[row] = _answer(talks[row].named(found[0]["prediction"]), found[0], parts[row])
            if not open_:
                break
        told(len(values))
        return [answers[row] for row in range(len(values))]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of the prompt for each text, markers included."""
        return self.encoder.prompts([fill(self.template, text) for text in texts], _WIDE)[0]

    def _cut(self, texts: list[str]) -> list[list[str]]:
        """Each text as the pieces that fit; as none where they would be more than MOST_PARTS."""
        cut = []
        for text, ids in zip(texts, self._ids(texts) if texts else [], strict=True):
            pieces = [text] if len(ids) <= MOST_PARTS * self.room else []
            while pieces and not all(fits := [len(ids) <= self.room for ids in self._ids(pieces)]):
                halved = [[piece] if whole else halves(piece) for piece, whole in zip(pieces, fits, strict=True)]
                pieces = list(chain.from_iterable(halved))
                pieces = pieces if len(pieces) <= MOST_PARTS else []
            cut.append(pieces)
        return cut

    def _ask(self, texts: list[str], told: Callable[[int], None]) -> dict[str, dict[str, Any]]:
        """Prediction of each text; equal texts are asked once, and anywhere in a file get the same answer."""
        different = list(dict.fromkeys(texts))
        by_name = {hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]: text for text in different}
        rows = list(zip(by_name, self._ids(list(by_name.values())) if by_name else [], strict=True))
        said, done = {}, 0
        for batch in deal(rows, self.batch) if rows else []:
            for prediction in self.engine.predict(batch):
                said[by_name[prediction["id"]]] = prediction
            done += len(batch)
            told(done)
        return said


def halves(text: str) -> list[str]:
    """Two parts of about equal length, cut between turns; inside a turn, between words; its tag goes before both."""
    middle = len(text) // 2
    for mark in ("\n", " "):
        places = [
            place for place in (text.rfind(mark, 0, middle), text.find(mark, middle)) if 0 < place < len(text) - 1
        ]
        if places:
            place = min(places, key=lambda place: abs(place - middle))
            tag = text.split(" ", 1)[0] + " " if mark == " " and text.startswith("#Person") else ""
            first, second = text[:place].rstrip(), text[place + 1 :].lstrip()
            if tag.strip() == first:  # nothing but the tag
                break
            return [first, tag + second]
    return [text[:middle], text[middle:]]


def _skipped(reason: str) -> Answer:
    return {"summary": "", "tokens": 0, "stop": f"skipped: {reason}"}


def _answer(summary: str, prediction: dict[str, Any], parts: int) -> Answer:
    stop = prediction["stop"] + (f" ({parts} parts)" if parts > 1 else "")
    return {"summary": summary, "tokens": prediction["tokens"], "stop": stop}
