"""Turn templates, and the token ids of a row: the only place where text becomes ids, for training and generation alike.

The markers are encoded as special tokens, dialogue and summary never: `<end_of_turn>` in a dialogue is six characters
of text and cannot end its own turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tasks.config import TurnsName


@dataclass(frozen=True)
class Turns:
    """Text before the prompt, text between prompt and completion, and the token that ends the completion."""

    opening: str
    closing: str
    stop: str | None
    """None: the tokenizer's end-of-sequence token."""


TURNS: dict[TurnsName, Turns] = {
    "chatml": Turns("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>"),
    "gemma": Turns("<bos><start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n", "<end_of_turn>"),
    # SmolLM2's own chat template: without its system message the untuned model scores 4 points less
    "smollm2": Turns(
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n<|im_start|>user\n",
        "<|im_end|>\n<|im_start|>assistant\n",
        "<|im_end|>",
    ),
    "none": Turns("", "\n", None),
    # What the article trained on, and what it generated with: they differ, which is one of its faults.
    "article": Turns("<bos><start_of_turn>user\n ", "\n<end_of_turn>\n", None),
    "article-inference": Turns(
        "<bos><start_of_turn>user\n ",
        "\n<end_of_turn>\n<start_of_turn>model: Here is the summary of this dialogue:",
        None,
    ),
}


class TurnEncoder:
    """Encodes rows for one tokenizer and one turn template."""

    def __init__(self, tokenizer: Any, turns: TurnsName) -> None:
        self.tokenizer = tokenizer
        self.turns = TURNS[turns]
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
        # a lone surrogate cannot be encoded by any tokenizer
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        ids: list[list[int]] = self.tokenizer(clean, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids

    def prompts(self, prompts: Sequence[str], max_tokens: int) -> tuple[list[list[int]], int]:
        """Prompts -> (ids of each, at most `max_tokens` long; how many were cut). What is cut is the prompt's end."""
        room = max(0, max_tokens - len(self.opening) - len(self.closing))
        texts = self._texts(prompts)
        return [self.opening + text[:room] + self.closing for text in texts], sum(len(text) > room for text in texts)

    def rows(
        self, prompts: Sequence[str], completions: Sequence[str], max_tokens: int, stop: bool = True
    ) -> tuple[list[tuple[list[int], int]], int, int]:
        """Training rows -> ([(ids, tokens of the prompt)], prompts cut, completions that do not fit and were cut)."""
        tail = [self.stop_id] if stop else []
        ends = [ids + tail for ids in self._texts(completions)]
        markers, cut, lost = len(self.opening) + len(self.closing), 0, 0
        rows = []
        for text, end in zip(self._texts(prompts), ends, strict=True):
            room = max_tokens - markers - len(end)
            if room < 0:
                lost, end, room = lost + 1, end[: max(0, max_tokens - markers)], 0
            cut += len(text) > room
            prompt = self.opening + text[:room] + self.closing
            rows.append((prompt + end, len(prompt)))
        return rows, cut, lost
