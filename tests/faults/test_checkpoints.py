"""Row 5: training resumes from the newest intact checkpoint, never from a damaged one or one of another training.

tests/tasks/training/test_loop.py cuts, flips and deletes each file of a checkpoint, and kills the loop at each call
that changes the disk while a checkpoint is written (row 4).
"""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.training import checkpoint
from tasks.training.checkpoint import Progress
from tasks.training.packing import LabelledRows
from tasks.training.worker import _checkpoint_identity
from tests.faults.fault_table import Tally
from tests.support.models import random_rows
from tests.support.training import train_spec

TENSORS = {
    "adapter": torch.arange(40.0),
    "optimizer.exp_avg": torch.ones(40),
    "optimizer.exp_avg_sq": torch.ones(40),
    "optimizer.step": torch.tensor(2.0),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two intact checkpoints, after steps 1 and 2."""
    for step in (1, 2):
        curve = [{"step": i + 1, "epoch": 0.5, "train_loss": 1.0 / (i + 1)} for i in range(step)]
        checkpoint.save(tmp_path, "this", Progress(step, curve, 60), {k: v + step for k, v in TENSORS.items()})
    return tmp_path


def taken(folder: Path, identity: str = "this") -> tuple[int | None, list[str]]:
    """The step of the checkpoint that a training would resume from, and the log."""
    messages: list[str] = []
    newest = checkpoint.load_newest(folder, identity, messages.append)
    if newest is None:
        return None, messages
    progress, tensors = newest
    assert len(progress.curve) == progress.steps_done
    assert all(torch.equal(tensors[name], value + progress.steps_done) for name, value in TENSORS.items())
    return progress.steps_done, messages


def test_any_byte_that_is_flipped_or_cut_off_is_detected(folder: Path, tally: Tally) -> None:
    """At 500 random places of the newest: the training resumes from the one before and logs the reason in one line."""
    dice, lost = random.Random(5), []
    files = sorted(folder.glob("step-00000002/*"))
    for i in range(500):
        file = files[i % len(files)]
        content = file.read_bytes()
        position, bit = dice.randrange(len(content)), dice.randrange(8)
        flipped = content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :]
        cut = i % 5 == 4
        file.write_bytes(content[:position] if cut else flipped)
        step, messages = taken(folder)
        if (
            step != 1
            or len(messages) != 1
            or not messages[0].startswith("checkpoint step-00000002 is not used")
            or "\n" in messages[0]
        ):
            lost.append((file.name, position, bit, cut, step, messages))
        file.write_bytes(content)
    assert taken(folder) == (2, [])
    tally("5 byte of a checkpoint flipped or cut off", 500, lost)


def test_files_that_are_gone_exchanged_or_half_there(folder: Path, tally: Tally) -> None:
    """Between checkpoints, too: the file of an earlier step under a later step's name."""
    first, last = folder / "step-00000001", folder / "step-00000002"
    intact, lost = shutil.copytree(last, folder / "kept"), []
    for name in ("state.safetensors", "state.json", "manifest.json"):
        for how in ("gone", "of the step before", "a folder", "empty"):
            (last / name).unlink()
            if how == "of the step before":
                shutil.copy(first / name, last / name)
            elif how == "a folder":
                (last / name).mkdir()
            elif how == "empty":
                (last / name).touch()
            step, messages = taken(folder)
            if step != 1 or len(messages) != 1:
                lost.append((name, how, step, messages))
            shutil.rmtree(last)
            shutil.copytree(intact, last)
    shutil.rmtree(last)
    last.write_text("a file, not a folder")
    if taken(folder)[0] != 1:
        lost.append("file instead of a folder")
    tally("5 file of a checkpoint gone, exchanged, empty", 13, lost)


def test_without_the_optimizers_state_it_is_none(folder: Path, tally: Tally) -> None:
    """Its digests match, but the optimizer state is missing: refused. Random numbers need only seed and step."""
    checkpoint.save(folder, "this", Progress(3, [{}] * 3, 60), {"adapter": TENSORS["adapter"]})
    step, messages = taken(folder)
    assert (step, len(messages)) == (2, 1)
    assert "optimizer" in messages[0]
    tally("5 optimizer state missing", 1, [])


def test_every_setting_row_and_label_makes_another_training(
    models: dict[str, Path], folder: Path, tally: Tally
) -> None:
    """The identity that a checkpoint carries: nothing that could change the adapter is left out."""
    rows, held_out = random_rows(4), random_rows(2, seed=1)

    def identity(
        train: Any = rows, validation: Any = held_out, quantization: str = "none", by: str = "packed", **changes: Any
    ) -> str:
        spec = train_spec(models["llama"], quantization, **changes)
        return _checkpoint_identity(
            spec, LabelledRows(train, ["a"] * len(train)), LabelledRows(validation, ["b"] * len(validation)), by
        )

    (ids, labels), *others = rows
    variants = {
        "learning rate": identity(learning_rate=3e-4),
        "seed": identity(seed=1),
        "steps": identity(max_steps=5),
        "batch": identity(batch_size=3),
        "schedule": identity(schedule="linear"),
        "decay": identity(weight_decay=0.1),
        "quantization": identity(quantization="nf4"),
        "engine": identity(by="trl"),
        "order of rows": identity(rows[::-1]),
        "fewer rows": identity(rows[1:]),
        "a token": identity([([ids[0] + 1, *ids[1:]], labels), *others]),
        "a label": identity([(ids, [*labels[:-1], -100]), *others]),
        "validation": identity(validation=held_out[:1]),
    }
    lost = [name for name, variant in variants.items() if variant == identity()]
    assert len({*variants.values()}) == len(variants)
    lost += [name for name, variant in variants.items() if taken(folder, variant)[0] is not None]
    tally("5 checkpoint of another recipe or dataset", len(variants), lost)
