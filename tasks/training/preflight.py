"""What must hold before GPU time is spent on training: each check is a silent failure that others have met.

Printed, stored with the adapter, and failing where training would go wrong without a word.
"""

from collections.abc import Sequence
from typing import Any

from artifacts.check import Check
from tasks.config import TrainSpec
from tasks.models.chat_template import TurnEncoder


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
    total = len(rows)
    checks = [
        _check("rows", len(encoded) == expected_rows, f"{len(encoded)} of {expected_rows} rows reach the trainer")
    ]
    alone, _ = encoder.prompts([row["prompt"] for row in rows], 1 << 30)
    parity = sum(
        len(ids) > length and _is_prompt(ids[:length], prompt, encoder)
        for (ids, length), prompt in zip(encoded, alone, strict=True)
    )
    checks.append(
        _check(
            "prompt",
            parity == total,
            f"the generation prompt is a strict prefix of the training text in {parity} of {total} rows",
        )
    )
    stops = sum(row[-1] == encoder.stop_id for row in labels)
    if spec.train.stop_token:
        checks.append(
            _check("stop token", stops == total, f"carries a label in {stops} of {total} rows (id {encoder.stop_id})")
        )
    else:
        checks.append(
            Check(
                "stop token",
                "note",
                "not trained, as the recipe says (train.stop_token): outputs will run to the limit",
            )
        )
    labelled = sum(any(label != -100 for label in row) for row in labels)
    checks.append(_check("labels", labelled == total, f"{labelled} of {total} rows have a token to learn"))
    checks.append(
        _check(
            "length",
            lost == 0,
            f"{lost} of {total} completions do not fit into train.max_length={spec.train.max_length}",
        )
    )
    if cut:
        checks.append(
            Check("truncation", "note", f"{cut} of {total} dialogues lose their end at {spec.train.max_length} tokens")
        )
    else:
        checks.append(Check("truncation", "ok", f"no dialogue is cut at {spec.train.max_length} tokens"))
    return checks


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


def _check(name: str, holds: bool, detail: str) -> Check:
    return Check(name, "ok" if holds else "failed", detail)
