"""Dialogues as prompts of one model: token ids, and the parts of a dialogue that does not fit the context."""

import hashlib
from collections.abc import Sequence
from itertools import chain

from artifacts.errors import RequestError
from tasks.models.chat_template import TurnEncoder
from tasks.models.prompt_template import fill

MIN_DIALOGUE_TOKENS = 32
"""Tokens that the prompt has to leave for the dialogue."""
MAX_PARTS = 64
"""A dialogue of more parts is skipped."""
MAX_ROUNDS = 6
"""How often summaries of parts are summarized again because together they still do not fit."""
_NO_LIMIT = 1 << 40
"""More tokens than any prompt has."""


class DialoguePrompts:
    """Puts dialogues into one prompt."""

    def __init__(self, encoder: TurnEncoder, template: str, max_prompt_tokens: int) -> None:
        """RequestError if the prompt leaves no room for a dialogue.

        max_prompt_tokens: of the prompt with the dialogue.
        """
        self.encoder, self.template, self.max_prompt_tokens = encoder, template, max_prompt_tokens
        prompt_tokens = len(self.token_ids([""])[0])
        if max_prompt_tokens - prompt_tokens < MIN_DIALOGUE_TOKENS:
            raise RequestError(
                f"the prompt alone has {prompt_tokens} of at most {max_prompt_tokens} tokens, which leaves no room for "
                "a dialogue: shorten the prompt"
            )

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of the whole prompt for each text, special tokens included."""
        return self.encoder.prompts([fill(self.template, text) for text in texts], _NO_LIMIT)[0]

    def split(self, texts: list[str]) -> list[list[str]]:
        """Each text as the parts that fit the context; no parts if there would be more than MAX_PARTS."""
        split = []
        for text, ids in zip(texts, self.token_ids(texts) if texts else [], strict=True):
            parts = [text] if len(ids) <= MAX_PARTS * self.max_prompt_tokens else []
            while parts and not all(fits := [len(ids) <= self.max_prompt_tokens for ids in self.token_ids(parts)]):
                halves = [[part] if fitting else split_in_two(part) for part, fitting in zip(parts, fits, strict=True)]
                parts = list(chain.from_iterable(halves))
                parts = parts if len(parts) <= MAX_PARTS else []
            split.append(parts)
        return split


def row_id(text: str) -> str:
    """Id of a text, on which the random numbers of its sampled summaries depend: equal texts get equal summaries."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def split_in_two(text: str) -> list[str]:
    """Two parts of about equal length, split between turns, or else between words of a turn, with its tag in both."""
    middle = len(text) // 2
    for separator in ("\n", " "):
        candidates = (text.rfind(separator, 0, middle), text.find(separator, middle))
        positions = [position for position in candidates if 0 < position < len(text) - 1]
        if positions:
            position = min(positions, key=lambda position: abs(position - middle))
            tag = text.split(" ", 1)[0] + " " if separator == " " and text.startswith("#Person") else ""
            first, second = text[:position].rstrip(), text[position + 1 :].lstrip()
            if tag.strip() == first:  # the first part is only the tag
                break
            return [first, tag + second]
    return [text[:middle], text[middle:]]
