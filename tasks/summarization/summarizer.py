"""Dialogues in any form and of any length -> summaries, by one model under one prompt.

A dialogue that does not fit the context is split between turns, each part is summarized, and then the summaries of the
parts are summarized; `stop` notes this. A row without a dialogue gets the reason instead of a summary.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple

from tasks.decoding.batching import make_batches
from tasks.decoding.engine import Engine
from tasks.models.chat_template import TurnEncoder
from tasks.summarization.dialogue_prompts import MAX_PARTS, MAX_ROUNDS, DialoguePrompts, row_id
from tasks.transcripts.conversation import parse_conversation


class Summary(NamedTuple):
    """What a row gets."""

    summary: str
    """With the speakers' names; empty if the row is skipped."""
    tokens: int
    """Of the summary."""
    stop: str
    """`stop_token` or `limit`, followed by `(3 parts)` for a split dialogue; or `skipped: ` and the reason."""


class Prediction(NamedTuple):
    """A generated text."""

    text: str
    tokens: int
    stop: str


class Summarizer:
    """Summarizes dialogues with one model, under one prompt."""

    def __init__(
        self,
        engine: Engine,
        encoder: TurnEncoder,
        template: str,
        format: str | None,
        *,
        max_prompt_tokens: int,
        batch_size: int,
    ) -> None:
        """RequestError if the prompt leaves no room for a dialogue.

        format: of the dialogues; detected for each if None. max_prompt_tokens: of the prompt with the dialogue.
        batch_size: rows decoded together.
        """
        self.engine, self.format, self.batch_size = engine, format, batch_size
        self.prompts = DialoguePrompts(encoder, template, max_prompt_tokens)

    def summarize(self, values: Sequence[Any], on_progress: Callable[[int], None] = lambda rows: None) -> list[Summary]:
        """One summary per value, in order. `on_progress` gets the number of finished rows, about, after each batch."""
        conversations = [parse_conversation(value, self.format) for value in values]
        summaries = {row: _skipped("no dialogue") for row, talk in enumerate(conversations) if not talk.text}
        pending = {row: talk.text for row, talk in enumerate(conversations) if talk.text}
        part_counts = dict.fromkeys(pending, 1)
        for final_round in (*[False] * (MAX_ROUNDS - 1), True):
            parts_by_row = {}
            for row, parts in zip(pending, self.prompts.split(list(pending.values())), strict=True):
                if not parts or (len(parts) > 1 and final_round):
                    summaries[row] = _skipped(f"longer than {MAX_PARTS} contexts")
                else:
                    parts_by_row[row] = parts
            predictions = self._predict(list(chain.from_iterable(parts_by_row.values())), on_progress)
            pending = {}
            for row, parts in parts_by_row.items():
                if len(parts) > 1:
                    part_counts[row] = max(part_counts[row], len(parts))
                    pending[row] = "\n".join(predictions[part].text for part in parts)
                else:
                    prediction = predictions[parts[0]]
                    text = conversations[row].restore_names(prediction.text)
                    summaries[row] = _summary(text, prediction, part_counts[row])
            if not pending:
                break
        on_progress(len(values))
        return [summaries[row] for row in range(len(values))]

    def _predict(self, texts: list[str], on_progress: Callable[[int], None]) -> dict[str, Prediction]:
        """Prediction for each text. Equal texts are generated once, and get the same prediction anywhere in a file."""
        by_name = {row_id(text): text for text in dict.fromkeys(texts)}
        rows = list(zip(by_name, self.prompts.token_ids(list(by_name.values())) if by_name else [], strict=True))
        predictions: dict[str, Prediction] = {}
        finished = 0
        for batch in make_batches(rows, self.batch_size) if rows else []:
            for row in self.engine.predict(batch):
                predictions[by_name[row["id"]]] = Prediction(row["prediction"], row["tokens"], row["stop"])
            finished += len(batch)
            on_progress(finished)
        return predictions


def _skipped(reason: str) -> Summary:
    return Summary("", 0, f"skipped: {reason}")


def _summary(text: str, prediction: Prediction, parts: int) -> Summary:
    stop = prediction.stop + (f" ({parts} parts)" if parts > 1 else "")
    return Summary(text, prediction.tokens, stop)
