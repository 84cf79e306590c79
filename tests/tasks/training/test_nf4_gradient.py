"""Gradients through NF4 weights, in either engine."""

from pathlib import Path
from typing import Any

import bitsandbytes as bnb
import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from peft import get_peft_model
from transformers import AutoModelForCausalLM

from artifacts.schemas import FORMATTED_TRAIN, read_table
from tasks.models.chat_template import TurnEncoder
from tasks.models.loading import load_tokenizer
from tasks.training import builder
from tasks.training import worker as training_worker
from tasks.training.packing import LabelledRows, pack, target_count
from tests.support.training import engine_loop, formatted_rows, train_spec

pytestmark = pytest.mark.usefixtures("workers_inline")


@pytest.mark.parametrize("engine", ["packed", "trl"])
@pytest.mark.parametrize("evaluated", [False, True])
def test_gradient_under_nf4_is_that_of_the_dequantized_weights(
    models: dict[str, Any], data: Path, engine: str, evaluated: bool
) -> None:
    """Quantization changes how weights are stored, not where the gradient goes; a validation before does neither."""
    spec, rows = (
        train_spec(models["gemma"], "nf4"),
        read_table(formatted_rows(data).payload / "train.parquet", FORMATTED_TRAIN),
    )
    encoder = TurnEncoder(load_tokenizer(spec.model), spec.turns)
    ready = training_worker.encode_and_check(spec, encoder, rows, len(rows))[0].rows[:4]
    model = builder.load_peft_model(spec, torch.device("cpu"), torch.float32)
    plain: Any = AutoModelForCausalLM.from_pretrained(models["gemma"], dtype=torch.float32)
    weights = {name: module for name, module in plain.named_modules() if isinstance(module, torch.nn.Linear)}
    packed = 0
    for name, module in model.get_base_model().named_modules():
        if isinstance(module, bnb.nn.Linear4bit):
            target = weights[name.removesuffix(".base_layer")].weight
            target.data = dequantize_4bit(module.weight.data, module.weight.quant_state).float()
            packed += 1
    assert packed == 14
    plain = get_peft_model(plain, model.peft_config["default"])
    same = dict(plain.named_parameters())
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == ("lora_" in name)
        if "lora_" in name:
            torch.nn.init.normal_(parameter.data, std=0.05)
            same[name].data = parameter.data.clone()
    loop = engine_loop(engine, model, models["gemma"], train=LabelledRows(ready, ["a", "b", "c", "d"]))
    for name, parameter in model.named_parameters():
        assert "lora_" not in name or torch.equal(parameter, same[name]), "the adapter was rounded"
    trained = loop.model
    if evaluated:
        with torch.no_grad():
            trained.loss(pack(ready))
    trained.loss(pack(ready)).backward()
    for ids, labels in ready:
        loss = plain(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss
        (loss * target_count((ids, labels))).backward()
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            expected = same[name].grad
            assert (parameter.grad - expected).norm() < 0.05 * expected.norm(), name
