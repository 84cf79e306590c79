"""A GGUF adapter is what llama.cpp adds to the base model's file to get the merged model."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

from artifacts.errors import RequestError
from tasks.models.gguf_file import write_gguf
from tasks.models.gguf_lora import refuse_lora, write_gguf_lora
from tests.support.llama_cpp import LlamaCpp
from tests.support.models import peft_model

IDS = list(range(5, 45))
FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "ranks": {"rank_pattern": {"q_proj": 8}},
}


def written(folder: Path, models: dict[str, Path], lora: dict[str, Any]) -> tuple[Any, Any]:
    """base.gguf, merged.gguf and lora.gguf in the folder; the merged model and the tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(models["llama"])
    base = AutoModelForCausalLM.from_pretrained(models["llama"], dtype=torch.float32)
    write_gguf(folder / "base.gguf", base, tokenizer, 2, "", "f32", "base")
    adapted = peft_model(models["llama"], **lora)
    for name, parameter in adapted.named_parameters():
        if "norm" in name:
            parameter.data = torch.ones_like(parameter)
    adapted.save_pretrained(folder / "adapter")
    write_gguf_lora(folder / "lora.gguf", base.config, folder / "adapter", "lora")
    merged = adapted.merge_and_unload()
    write_gguf(folder / "merged.gguf", merged, tokenizer, 2, "", "f32", "merged")
    return merged, tokenizer


@pytest.mark.parametrize("form", FORMS)
def test_base_and_adapter_are_the_merged_model(form: str, tmp_path: Path, models: dict[str, Path]) -> None:
    """Weight by weight, with llama.cpp's formula: base + alpha / rank x B A."""
    written(tmp_path, models, FORMS[form])
    base, merged = (
        {tensor.name: tensor.data for tensor in gguf.GGUFReader(tmp_path / f"{name}.gguf").tensors}
        for name in ("base", "merged")
    )
    adapter = gguf.GGUFReader(tmp_path / "lora.gguf")
    facts = {key: field.contents() for key, field in adapter.fields.items()}
    assert (facts["general.type"], facts["adapter.type"]) == ("adapter", "lora")
    parts = {tensor.name: np.array(tensor.data) for tensor in adapter.tensors}
    changed = {name.removesuffix(".lora_a") for name in parts if name.endswith(".lora_a")}
    assert len(changed) == 14
    for name in base:
        weight = base[name]
        if name in changed:
            a, b = parts[f"{name}.lora_a"], parts[f"{name}.lora_b"]
            weight = weight + facts["adapter.lora.alpha"] / len(a) * b @ a
        assert np.allclose(weight, merged[name], atol=1e-6), name


@pytest.mark.slow
def test_llama_cpp_with_the_adapter_generates_what_the_merged_model_does(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    """And not what the base model does."""
    merged, _ = written(tmp_path, models, {"use_rslora": True})
    ours = merged.generate(torch.tensor([IDS]), max_new_tokens=12, do_sample=False, eos_token_id=None)
    expected = ours[0, len(IDS) :].tolist()
    assert LlamaCpp(tmp_path / "base.gguf", tmp_path / "lora.gguf").greedy(IDS, 12, ignore_eos=True) == expected
    assert LlamaCpp(tmp_path / "base.gguf").greedy(IDS, 12, ignore_eos=True) != expected


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"use_dora": True}, "the setting use_dora"),
        ({"modules_to_save": ["lm_head"]}, "the setting modules_to_save"),
        ({"bias": "all"}, "the setting bias"),
        ({"alpha_pattern": {"q_proj": 3}}, "one alpha and this one several"),
        ({"use_rslora": True, "rank_pattern": {"q_proj": 8}}, "one alpha and this one several"),
        ({"peft_type": "IA3"}, "peft's IA3"),
    ],
)
def test_adapters_that_need_more_than_two_matrices_are_refused(
    settings: dict[str, Any], sentence: str, tmp_path: Path, models: dict[str, Path]
) -> None:
    """By their settings, before a weight is read."""
    from transformers import AutoConfig

    content = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none"} | settings
    (tmp_path / "adapter_config.json").write_text(json.dumps(content))
    with pytest.raises(RequestError, match=f"{sentence}.*--gguf merges"):
        refuse_lora(AutoConfig.from_pretrained(models["llama"]), tmp_path)


def test_a_matrix_of_tied_embeddings_is_refused(tmp_path: Path, models: dict[str, Path]) -> None:
    """llama.cpp would not use it."""
    from transformers import AutoConfig

    peft_model(models["llama"], target_modules=["lm_head"]).save_pretrained(tmp_path)
    config: Any = AutoConfig.from_pretrained(models["llama"])
    config.tie_word_embeddings = True
    with pytest.raises(RequestError, match=r"no place for the weights .*lm_head.*--gguf merges"):
        write_gguf_lora(tmp_path / "x.gguf", config, tmp_path, "x")
