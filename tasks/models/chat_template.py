"""Tokenization of prompts in their turns, for training and generation alike.

Markers are encoded as special tokens, dialogue and summary never are: `<end_of_turn>` in a dialogue is ordinary text
and cannot end its turn.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from tasks.config import TurnsName
from tasks.models.turns import turns_of


class EncodedRows(NamedTuple):
    """Training rows as token ids."""

    rows: list[tuple[list[int], int]]
    """Token ids, and how many of them belong to the prompt."""
    truncated: int
    """Number of prompts that lost their end."""
    oversized: int
    """Number of completions that did not fit and lost their end."""


class TurnEncoder:
    """Encodes rows for one tokenizer and one chat template."""

    def __init__(self, tokenizer: Any, turns: TurnsName) -> None:
        """RequestError if `turns` is `tokenizer` and its template cannot be used, ValueError without a stop token."""
        self.tokenizer = tokenizer
        self.turns = turns_of(turns, tokenizer)
        self.opening = self._markers(self.turns.opening)
        self.closing = self._markers(self.turns.closing)
        stop = self.turns.stop
        self.stop_id: int = tokenizer.convert_tokens_to_ids(stop) if stop else tokenizer.eos_token_id
        if self.stop_id is None or self.stop_id == tokenizer.unk_token_id:
            raise ValueError(
                f"the tokenizer has no stop token {stop or 'eos'}: choose other model.turns than {turns!r}"
            )

    def _markers(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        return ids

    def _texts(self, texts: Sequence[str]) -> list[list[int]]:
        # no tokenizer can encode a lone surrogate
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        ids: list[list[int]] = self.tokenizer(clean, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids

    def prompts(self, prompts: Sequence[str], max_tokens: int) -> tuple[list[list[int]], int]:
        """Prompts -> (ids of each, at most `max_tokens`; number of truncated prompts). A long prompt loses its end."""
        limit = max(0, max_tokens - len(self.opening) - len(self.closing))
        texts = self._texts(prompts)
        return [self.opening + text[:limit] + self.closing for text in texts], sum(len(text) > limit for text in texts)

    def endings(self, completions: Sequence[str], stop: bool = True) -> list[list[int]]:
        """Ids of completions; with `stop` each ends with the stop token."""
        suffix = [self.stop_id] if stop else []
        return [ids + suffix for ids in self._texts(completions)]

    def rows(
        self, prompts: Sequence[str], completions: Sequence[str], max_tokens: int, stop: bool = True
    ) -> EncodedRows:
        """Training rows of at most `max_tokens` tokens; with `stop` each ends with the stop token."""
        endings = self.endings(completions, stop)
        markers, truncated, oversized = len(self.opening) + len(self.closing), 0, 0
        rows = []
        for text, ending in zip(self._texts(prompts), endings, strict=True):
            limit = max_tokens - markers - len(ending)
            if limit < 0:
                oversized, ending, limit = oversized + 1, ending[: max(0, max_tokens - markers)], 0
            truncated += len(text) > limit
            prompt = self.opening + text[:limit] + self.closing
            rows.append((prompt + ending, len(prompt)))
        return EncodedRows(rows, truncated, oversized)
