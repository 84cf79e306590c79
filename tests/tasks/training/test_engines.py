"""The engine that a recipe gets, and what it is told if that engine cannot train it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, GemmaConfig, LlamaConfig, Qwen2Config

from artifacts.errors import StageError
from flows.recipe import load_recipe
from tasks.config import LoraConfig, TrainConfig
from tasks.training.engines import choose_engine
from tests.support.training import formatted_rows, train, train_spec

CPU = torch.device("cpu")
LLAMA = LlamaConfig()


@pytest.mark.parametrize("name", ["gemma", "llama"])
@pytest.mark.parametrize("settings", [{}, {"label_smoothing": 0.1}, {"lora": {"rslora": True, "targets": ["q_proj"]}}])
def test_auto_packs_what_the_packed_engine_computes(
    models: dict[str, Path], name: str, settings: dict[str, Any]
) -> None:
    config = AutoConfig.from_pretrained(models[name])
    choice = choose_engine(TrainConfig(**settings), config, CPU, torch.float32)
    assert (choice.name, str(choice), choice.check().state) == ("packed", "packed", "ok")


@pytest.mark.parametrize(
    ("recipe", "config"),
    [("article", GemmaConfig()), ("gemma-2b", GemmaConfig()), ("quickstart", LLAMA), ("smollm2-135m", LLAMA)],
)
def test_the_recipes_of_the_project_are_packed(recipe: str, config: Any) -> None:
    assert choose_engine(load_recipe(recipe).train, config, CPU, torch.bfloat16).name == "packed"


@pytest.mark.parametrize(
    ("config", "lora", "device", "reason"),
    [
        (LLAMA, {"dropout": 0.1}, CPU, "dropout"),
        (LLAMA, {"dora": True}, CPU, "DoRA"),
        (LLAMA, {"targets": ("embed_tokens",)}, CPU, "adapters of other layers"),
        (Qwen2Config(), {}, CPU, "architecture qwen2"),
        (LlamaConfig(hidden_act="gelu"), {}, CPU, "activation gelu"),
        (LlamaConfig(attention_bias=True), {}, CPU, "biases"),
        (LlamaConfig(attention_dropout=0.1), {}, CPU, "dropout"),
        (LLAMA, {}, torch.device("cuda"), "a GPU without flash attention"),
    ],
)
def test_what_the_packed_engine_does_not_support_goes_to_trl_and_is_refused_if_packed_is_named(
    config: Any, lora: dict[str, Any], device: torch.device, reason: str
) -> None:
    settings = TrainConfig(lora=LoraConfig(**lora))
    choice = choose_engine(settings, config, device, torch.float32)
    assert (choice.name, str(choice), choice.check().state) == ("trl", f"trl ({reason})", "ok")
    named = choose_engine(settings.model_copy(update={"engine": "packed"}), config, device, torch.float32).check()
    assert named.state == "failed"
    assert named.detail == (f"train.engine is packed, which does not support {reason}: set train.engine to auto or trl")


@pytest.mark.usefixtures("workers_inline")
def test_the_engine_and_its_reason_are_in_the_manifest(models: dict[str, Path], data: Path) -> None:
    rows, dropout = formatted_rows(data), LoraConfig(rank=4, dropout=0.2)
    trainings: dict[str, dict[str, Any]] = {
        "packed": {},
        "trl (train.engine)": {"engine": "trl"},
        "trl (dropout)": {"lora": dropout},
    }
    for engine, settings in trainings.items():
        manifest = train(train_spec(models["llama"], **settings), rows).manifest
        assert manifest.provenance.measured["engine"] == engine
    with pytest.raises(StageError, match=r"engine: train\.engine is packed, which does not support dropout"):
        train(train_spec(models["llama"], engine="packed", lora=dropout), rows)
