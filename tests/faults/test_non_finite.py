"""Row 8: NaN and infinite numbers, through the whole command: exit 1, one line, nothing published.

tests/tasks/training/test_loop.py checks the step in which it happens and the checkpoint before it, bit by bit.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from artifacts.artifact_store import Store
from tests.faults.fault_table import Tally
from tests.support.pipelines import set_options, small_overrides


def spoilt(model: Path, folder: Path, value: float) -> Path:
    """A copy of a model, one of whose weights is no number."""
    shutil.copytree(model, folder)
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if "down_proj" in name)
    tensors[name][3, 5] = value
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server", "workers_inline")
def test_what_is_no_number_is_never_published(
    models: dict[str, Path], data: Path, tmp_path: Path, command: Any, tally: Tally
) -> None:
    """A learning rate that diverges; NaN or infinite weights, in training and, without an adapter, in generation."""
    model_folder, lost = models["llama"], list[Any]()
    step = "(learning rate"
    tries: dict[str, tuple[list[str], Path, list[str], tuple[str, ...]]] = {
        "diverges": (
            ["run"],
            model_folder,
            ["train.learning_rate=1e30", "train.max_steps=6"],
            ("at step", step, "rows of the step"),
        ),
        "NaN": (
            ["run"],
            spoilt(model_folder, tmp_path / "nan", torch.nan),
            [],
            ("loss is nan at step 1", step, "rows of the step"),
        ),
        "inf": (
            ["run"],
            spoilt(model_folder, tmp_path / "inf", torch.inf),
            [],
            ("loss is nan at step 1", step, "rows of the step"),
        ),
        "logits": (
            ["evaluate", "--adapter", "none"],
            tmp_path / "nan",
            [],
            ("NaN or infinite logits for row 'test_", "at token 1"),
        ),
    }
    for name, (words, model, more, parts) in tries.items():
        options = set_options([*small_overrides("smollm2-135m", model, data), *more])
        code, out, stderr = command(words[0], *options, *words[1:])
        last = stderr.strip().splitlines()[-1]
        if (code, out) != (1, "") or not last.startswith("dialogsum: ") or not all(part in last for part in parts):
            lost.append((name, code, out, last))
    lost += [m.id for m in Store.current().manifests() if m.stage not in ("download", "format")]
    tally("8 no number, through the whole command", len(tries), lost)
