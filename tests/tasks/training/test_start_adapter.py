"""The adapter that a preference training starts from is exactly the stored one, or the training does not start."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from artifacts.errors import StageError
from tasks.training.packed_model import PackedModel
from tasks.training.packing import pack
from tasks.training.start_adapter import load_start_adapter
from tests.support.models import peft_model, random_rows


def test_the_loss_after_loading_is_that_of_the_saved_adapter(models: dict[str, Path], tmp_path: Path) -> None:
    saved: Any = peft_model(models["llama"])
    for name, parameter in saved.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter.data, std=0.2)
    saved.save_pretrained(tmp_path)
    loaded: Any = peft_model(models["llama"])
    before, rows = PackedModel(peft_model(models["llama"]), torch.float32), pack(random_rows())
    load_start_adapter(loaded, tmp_path)
    with torch.no_grad():
        losses = [PackedModel(model, torch.float32).loss(rows).item() for model in (saved, loaded)]
        assert losses[0] == losses[1]
        assert abs(before.loss(rows).item() - losses[0]) > 0.01


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_weights_that_are_not_those_of_the_adapter_are_refused(
    models: dict[str, Path], tmp_path: Path, change: str
) -> None:
    model: Any = peft_model(models["llama"])
    model.save_pretrained(tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    tensors = load_file(file)
    name = next(iter(tensors))
    if change == "missing":
        del tensors[name]
    else:
        tensors[name.replace("layers.0", "layers.7").replace("layers.1", "layers.7")] = tensors[name].clone()
    save_file(tensors, file)
    with pytest.raises(StageError, match=rf"1 {change} .*--refresh train|1 missing and 0 unexpected"):
        load_start_adapter(model, tmp_path)
