"""Checks before GPU time is spent on training. Each one finds a mistake that training would not report.

They are printed and stored with the adapter. A failed check stops the run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from artifacts.check import Check, CheckState
from tasks.config import TrainSpec
from tasks.models.chat_template import EncodedRows, TurnEncoder
from tasks.training.check_messages import message


@dataclass(frozen=True)
class Preflight:
    """The rows that reach the trainer, and the checks over them."""

    spec: TrainSpec
    encoder: TurnEncoder
    rows: Sequence[dict[str, Any]]
    """Formatted rows (artifacts.schemas.FORMATTED_TRAIN)."""
    encoded: EncodedRows
    labels: Sequence[Sequence[int]]
    """Labels of each row, -100 where no loss is computed."""
    expected_rows: int

    def checks(self) -> list[Check]:
        return [
            self._row_count(),
            self._prompt_prefix(),
            self._stop_token(),
            self._labels(),
            self._completion_length(),
            self._truncation(),
        ]

    def _row_count(self) -> Check:
        reached, expected = len(self.encoded.rows), self.expected_rows
        return _required("rows", reached == expected, {"reached": reached, "expected": expected})

    def _prompt_prefix(self) -> Check:
        """The prompt of generation is how the training text begins, in every row."""
        prompts, _ = self.encoder.prompts([row["prompt"] for row in self.rows], 1 << 30)
        prefixes = sum(
            len(ids) > length and self._is_prompt(ids[:length], prompt)
            for (ids, length), prompt in zip(self.encoded.rows, prompts, strict=True)
        )
        return _required("prompt", prefixes == len(self.rows), {"prefixes": prefixes, "rows": len(self.rows)})

    def _is_prompt(self, trained: list[int], prompt: list[int]) -> bool:
        """Whether a row begins with its generation prompt, or with that prompt without the end of its dialogue."""
        closing = len(self.encoder.closing)
        text = trained[: len(trained) - closing]
        return trained[len(text) :] == self.encoder.closing and text == prompt[: len(prompt) - closing][: len(text)]

    def _stop_token(self) -> Check:
        if not self.spec.train.stop_token:
            return finding("stop token", "note", {}, "stop token untrained")
        stops, stop_id = sum(row[-1] == self.encoder.stop_id for row in self.labels), self.encoder.stop_id
        figures = {"labelled": stops, "rows": len(self.rows), "id": stop_id}
        return _required("stop token", stops == len(self.rows), figures)

    def _labels(self) -> Check:
        labelled, total = sum(any(label != -100 for label in row) for row in self.labels), len(self.rows)
        return _required("labels", labelled == total, {"labelled": labelled, "rows": total})

    def _completion_length(self) -> Check:
        oversized, max_length = self.encoded.oversized, self.spec.train.max_length
        figures = {"oversized": oversized, "rows": len(self.rows), "max_length": max_length}
        return _required("length", oversized == 0, figures)

    def _truncation(self) -> Check:
        truncated, max_length = self.encoded.truncated, self.spec.train.max_length
        if truncated:
            figures = {"truncated": truncated, "rows": len(self.rows), "max_length": max_length}
            return finding("truncation", "note", figures)
        return finding("truncation", "ok", {"max_length": max_length}, "no truncation")


def leakage_check(shared: int) -> Check:
    """`shared`: number of dialogues that are in train and in test."""
    return finding("leakage", "note" if shared else "ok", {"shared": shared})


def finding(name: str, state: CheckState, figures: Mapping[str, float], sentence: str = "") -> Check:
    """A check whose sentence is in check_messages under `sentence`, by default under its name."""
    return Check(name, state, message(sentence or name, figures), figures)


def _required(name: str, holds: bool, figures: Mapping[str, float]) -> Check:
    return finding(name, "ok" if holds else "failed", figures)


def memory_check(
    parameters: int, layers: int, hidden: int, tokens: int, spec: TrainSpec, free: int, device: str
) -> Check:
    """Estimated peak memory: weights, adapter with optimizer state, activations of one micro-batch.

    parameters, layers, hidden: the model's size. tokens: of the largest micro-batch. free: bytes of memory.
    device: `GPU` or `CPU`.

    The estimate uses 140 bytes per token, layer and hidden unit, measured for LoRA on all linears under bf16 autocast
    (SmolLM2-135M on the CPU with 2, 4 and 8 rows), and 1 GiB for libraries.
    """
    weights = parameters * (0.6 if spec.quantization == "nf4" else 4 if device == "CPU" else 2)
    need = int(2**30 + weights + parameters * 0.05 * 16 + 140 * tokens * layers * hidden)
    detail = (
        f"about {need / 2**30:.1f} GiB for {parameters / 1e6:.0f} M parameters; "
        f"{free / 2**30:.1f} GiB free on the {device}"
    )
    return Check("memory", "ok" if need <= free else "note", detail)
