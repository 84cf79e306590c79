from pathlib import Path
from typing import Any

import bitsandbytes as bnb
import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from transformers import AutoModelForCausalLM

from artifacts.schemas import FORMATTED_TRAIN, read_table
from tasks import lora_worker
from tasks.base_model import load_tokenizer
from tasks.config import Runtime
from tasks.turns import TurnEncoder
from tests.test_train import formatted, spec_of

pytestmark = pytest.mark.usefixtures("workers_inline")


@pytest.mark.parametrize("evaluated", [False, True])
def test_gradient_under_nf4_is_that_of_the_dequantized_weights(
    models: dict[str, Any], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluated: bool
) -> None:
    """Quantization changes how weights are stored, not where the gradient goes; a validation before does neither."""
    monkeypatch.setattr(lora_worker, "_cpu_has_bf16", lambda: False)
    spec, rows = spec_of(models["gemma"], "nf4"), read_table(formatted(data).payload / "train.parquet", FORMATTED_TRAIN)
    tokenizer = load_tokenizer(spec.model)
    ready, _ = lora_worker.prepare(spec, TurnEncoder(tokenizer, spec.turns), rows, len(rows))
    trainer = lora_worker.build_trainer(
        spec, Runtime(device="cpu"), torch.device("cpu"), 4, tokenizer, ready, ready, tmp_path
    )
    model = lora_worker.model_of(trainer)
    plain = AutoModelForCausalLM.from_pretrained(models["gemma"], dtype=torch.float32)
    weights = {name: module for name, module in plain.named_modules() if isinstance(module, torch.nn.Linear)}
    for name, module in model.get_base_model().named_modules():
        if isinstance(module, bnb.nn.Linear4bit):
            target = weights[name.removesuffix(".base_layer")].weight
            target.data = dequantize_4bit(module.weight.data, module.weight.quant_state).float()
    from peft import get_peft_model

    plain = get_peft_model(plain, model.peft_config["default"])
    same = dict(plain.named_parameters())
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter.data, std=0.05)
            same[name].data = parameter.data.clone()
    if evaluated:
        trainer.evaluate()
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    trainer.compute_loss(model.train(), dict(batch)).backward()
    plain(**batch).loss.backward()
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            wanted = same[name].grad
            assert (parameter.grad - wanted).norm() < 0.05 * wanted.norm(), name
