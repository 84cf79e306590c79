"""Every architecture of the table trains and decodes, each by the engine that the table names."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from artifacts.schemas import CURVE, read_table
from flows.architectures import ARCHITECTURES, TINY, engine_rows
from flows.recipe import load_recipe
from tasks.config import GenerateConfig, LoraConfig, ModelConfig, TrainConfig, TrainSpec
from tasks.decoding import hf_generate
from tasks.decoding.engine import Engine
from tasks.models.adapter_merging import load_merged_model
from tasks.models.loading import load_tokenizer
from tasks.sources.resolve import resolve_model
from tests.support.models import tiny_tokenizer
from tests.support.training import adapter_tensors, formatted_rows, train

PARAMETERS = {
    "gemma-2b": 2.51,
    "gemma-2-2b": 2.61,
    "gemma-3-1b": 1.00,
    "llama-3.2-1b": 1.24,
    "qwen3-0.6b": 0.60,
    "smollm2-360m": 0.36,
    "smollm2-1.7b": 1.71,
    "smollm3-3b": 3.08,
}
"""Billions, as their model cards say."""
SETTINGS = {"gemma2": {"sliding_window": 16}, "gemma3_text": {"sliding_window": 16}}
"""Windows shorter than the prompts of the tests."""
KINDS = {architecture.model_type: architecture for architecture in ARCHITECTURES.values()}


def tiny_model(kind: str, folder: Path) -> Path:
    """A folder with a tiny random model of the architecture, with the tied embeddings of the published one."""
    tokenizer = tiny_tokenizer(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    torch.manual_seed(0)
    settings = TINY | SETTINGS.get(kind, {}) | ids | {"vocab_size": len(tokenizer), "initializer_range": 0.1}
    config = KINDS[kind].config(**settings)
    assert config.tie_word_embeddings
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind == "gemma2" else pytest.mark.slow) for kind in KINDS]
)
@pytest.mark.usefixtures("workers_inline")
def test_an_architecture_trains_and_its_merged_adapter_decodes_as_transformers_generates(
    kind: str, data: Path, tmp_path: Path
) -> None:
    """On the same rows, whichever engine does it; both losses fall, and the adapter is complete."""
    rows, model = engine_rows(), resolve_model(ModelConfig(source=str(tiny_model(kind, tmp_path / kind))))
    row = next(row for row in rows if row.architecture == kind)
    settings = TrainConfig(
        max_steps=6, batch_size=4, max_length=256, learning_rate=1e-2, evaluations=1, lora=LoraConfig(rank=4)
    )
    trained = train(TrainSpec(model=model, turns="chatml", quantization="none", train=settings), formatted_rows(data))
    assert trained.manifest.provenance.measured["engine"] == row.trains
    curve = read_table(trained.payload / "curve.parquet", CURVE)
    validation = [point["validation_loss"] for point in curve if point["validation_loss"] is not None]
    assert validation[-1] < validation[0]
    assert len(adapter_tensors(trained)) == 2 * 7 * TINY["num_hidden_layers"]
    merged = load_merged_model(model, trained.payload, torch.device("cpu"))
    tokenizer: Any = load_tokenizer(model)
    torch.manual_seed(1)
    prompts = [torch.randint(3, 600, (length,)).tolist() for length in (40, 7, 23, 31)]
    decoding = GenerateConfig(max_new_tokens=12)
    stop = tokenizer.eos_token_id
    expected = [hf_generate.generate(merged, tokenizer.pad_token_id, stop, [ids], decoding)[0] for ids in prompts]
    engine = Engine(merged, tokenizer, stop, decoding)
    assert engine.native == (row.decodes == "decoder")
    predictions = engine.predict([(str(i), ids) for i, ids in enumerate(prompts)])
    bare = [ids[:-1] if ids[-1] == stop else ids for ids in expected]
    texts = [text.strip() for text in tokenizer.batch_decode(bare, skip_special_tokens=True)]
    assert [one["prediction"] for one in predictions] == texts
    assert [one["tokens"] for one in predictions] == list(map(len, expected))
    assert any(texts)


def test_the_table_has_the_published_sizes_and_names_the_reason_where_another_engine_is_used() -> None:
    rows = {row.recipe: row for row in engine_rows()}
    assert {name: round(row.parameters / 1e9, 2) for name, row in rows.items()} == PARAMETERS
    assert (rows["smollm2-360m"].trains, rows["smollm2-360m"].decodes) == ("packed", "decoder")
    assert rows["gemma-2-2b"].trains == "trl (architecture gemma2)"
    assert rows["gemma-2-2b"].decodes == "generate (architecture gemma2)"
    assert (rows["qwen3-0.6b"].trains, rows["qwen3-0.6b"].decodes) == ("trl (architecture qwen3)", "decoder")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_recipe_of_a_base_model_names_it(name: str) -> None:
    """And the template of its tokenizer, except for google/gemma-2b, which has none."""
    recipe = load_recipe(name)
    assert recipe.model.source == ARCHITECTURES[name].base
    assert recipe.model.turns == ("gemma" if name == "gemma-2b" else "tokenizer")
