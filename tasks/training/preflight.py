"""What must hold before GPU time is spent on training: each check is a silent failure that others have met.

Printed, stored with the adapter, and failing where training would go wrong without a word.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from artifacts.check import Check, CheckState
from tasks.config import TrainSpec
from tasks.models.chat_template import TurnEncoder
from tasks.training.check_messages import message


def training_checks(
    spec: TrainSpec,
    encoder: TurnEncoder,
    rows: Sequence[dict[str, Any]],
    encoded: Sequence[tuple[list[int], int]],
    labels: Sequence[Sequence[int]],
    expected_rows: int,
    cut: int,
    lost: int,
) -> list[Check]:
    """Checks over the rows as the trainer will get them.

    `encoded`: (ids, length of the prompt) of each row; `labels`: its labels, -100 where no loss is taken.
    """
    total, limit = len(rows), spec.train.max_length
    reached = len(encoded)
    prompts, _ = encoder.prompts([row["prompt"] for row in rows], 1 << 30)
    prefixes = sum(
        len(ids) > length and _is_prompt(ids[:length], prompt, encoder)
        for (ids, length), prompt in zip(encoded, prompts, strict=True)
    )
    stops = sum(row[-1] == encoder.stop_id for row in labels)
    stop_figures = {"labelled": stops, "rows": total, "id": encoder.stop_id}
    labelled = sum(any(label != -100 for label in row) for row in labels)
    return [
        _required("rows", reached == expected_rows, {"reached": reached, "expected": expected_rows}),
        _required("prompt", prefixes == total, {"prefixes": prefixes, "rows": total}),
        _required("stop token", stops == total, stop_figures)
        if spec.train.stop_token
        else finding("stop token", "note", {}, "stop token untrained"),
        _required("labels", labelled == total, {"labelled": labelled, "rows": total}),
        _required("length", lost == 0, {"oversized": lost, "rows": total, "max_length": limit}),
        finding("truncation", "note", {"truncated": cut, "rows": total, "max_length": limit})
        if cut
        else finding("truncation", "ok", {"max_length": limit}, "no truncation"),
    ]


def leakage_check(shared: int) -> Check:
    """`shared`: dialogues that are in train and in test."""
    return finding("leakage", "note" if shared else "ok", {"shared": shared})


def finding(name: str, state: CheckState, figures: Mapping[str, float], sentence: str = "") -> Check:
    """A check whose sentence is in check_messages under `sentence`, by default under its name."""
    return Check(name, state, message(sentence or name, figures), figures)


def _required(name: str, holds: bool, figures: Mapping[str, float]) -> Check:
    return finding(name, "ok" if holds else "failed", figures)


def _is_prompt(trained: list[int], alone: list[int], encoder: TurnEncoder) -> bool:
    """Whether a row begins with its generation prompt, or with that prompt less the end of its dialogue."""
    closing = len(encoder.closing)
    text = trained[: len(trained) - closing]
    return trained[len(text) :] == encoder.closing and text == alone[: len(alone) - closing][: len(text)]


def memory_check(
    parameters: int, layers: int, hidden: int, tokens: int, spec: TrainSpec, free: int, where: str
) -> Check:
    """Rough peak: weights, adapter with its optimizer state, activations of one micro-batch without checkpointing.

    `tokens`: of the largest micro-batch. 140 bytes per token, layer and hidden unit were measured for LoRA on all linears
    under bf16 autocast (SmolLM2-135M on the CPU at 2, 4 and 8 rows), and 1 GiB for libraries.
    """
    weights = parameters * (0.6 if spec.quantization == "nf4" else 4 if where == "CPU" else 2)
    need = int(2**30 + weights + parameters * 0.05 * 16 + 140 * tokens * layers * hidden)
    said = f"about {need / 2**30:.1f} GiB for {parameters / 1e6:.0f} M parameters; {free / 2**30:.1f} GiB free on the {where}"
    return Check("memory", "ok" if need <= free else "note", said)
