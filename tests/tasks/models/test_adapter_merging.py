"""An adapter that does not fit its base model is refused by name, in one line; no summary carries its name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from artifacts.errors import RequestError
from tasks.config import ModelConfig
from tasks.models.adapter_merging import load_merged_model
from tasks.sources.resolve import resolve_model
from tests.support.models import nf4_model, random_adapter
from tests.support.processes import run_cli

CPU = torch.device("cpu")
FIRST = "base_model.model.model.layers.0.mlp.down_proj.lora_A"


def change_keys(folder: Path, change: Callable[[str], str | None]) -> None:
    """Rename every key of the adapter's weights; leave out those for which `change` returns None."""
    file = folder / "adapter_model.safetensors"
    weights = {change(key): tensor for key, tensor in load_file(file).items()}
    save_file({key: tensor for key, tensor in weights.items() if key}, file, metadata={"format": "pt"})


def change_config(folder: Path, **settings: Any) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


def of_a_larger_vocabulary(folder: Path, model: Path) -> None:
    base: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    base.resize_token_embeddings(base.config.vocab_size + 2)
    config = LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["embed_tokens"], task_type="CAUSAL_LM")
    get_peft_model(base, config).save_pretrained(folder)


def of_prompt_tuning(folder: Path, model: Path) -> None:
    base: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    get_peft_model(base, PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM")).save_pretrained(folder)


UNFIT: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "without prefix": (
        lambda folder, _: change_keys(folder, lambda key: key.removeprefix("base_model.model.")),
        rf"28 missing \({FIRST}\.default\.weight, .* and 26 more\) and 28 unexpected",
    ),
    "of a compiled model": (
        lambda folder, _: change_keys(folder, lambda key: key.replace("model.model.", "model._orig_mod.model.")),
        "28 missing .* 28 unexpected .*_orig_mod",
    ),
    "half of the layers": (
        lambda folder, _: change_keys(folder, lambda key: None if ".layers.1." in key else key),
        r"keys 14 missing \(base_model\.model\.model\.layers\.1\.[^;]*12 more\); name the base model",
    ),
    "more than its settings name": (
        lambda folder, _: change_config(folder, target_modules=["q_proj", "k_proj"]),
        r"keys 20 unexpected \(base_model\.model\.model\.layers\.0\.mlp\.[^;]*18 more\); name the base model",
    ),
    "a module that is not there": (
        lambda folder, _: change_config(folder, modules_to_save=["lm_head"]),
        "missing base_model.model.lm_head.weight",
    ),
    "targets of another model": (lambda folder, _: change_config(folder, target_modules=["c_attn"]), "c_attn"),
    "another rank": (lambda folder, _: change_config(folder, r=8), "size mismatch for base_model.model"),
    "a larger vocabulary": (of_a_larger_vocabulary, r"size mismatch for .*embed_tokens.*602, 64"),
    "another method": (of_prompt_tuning, "of type PROMPT_TUNING, .*such as LoRA"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_an_adapter_that_does_not_fit_is_refused_with_its_keys(
    tmp_path: Path, models: dict[str, Path], case: str
) -> None:
    """As a wrong request: one line that names folder, base model and the first keys of either kind."""
    spoil, message = UNFIT[case]
    folder = random_adapter(models["llama"], tmp_path / "mine")
    spoil(folder, models["llama"])
    with pytest.raises(RequestError, match=message) as refusal:
        load_merged_model(resolve_model(ModelConfig(source=str(models["llama"]))), folder, CPU)
    assert str(folder) in str(refusal.value)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 600  # what the command line prints of it


@pytest.mark.slow
def test_summarize_refuses_an_adapter_that_does_not_fit(tmp_path: Path, models: dict[str, Path]) -> None:
    """Exit 2 through the command line and its worker; there is no file of the base model's summaries."""
    folder = random_adapter(models["llama"], tmp_path / "mine")
    change_keys(folder, lambda key: key.removeprefix("base_model.model."))
    (tmp_path / "in.csv").write_text("dialogue\n#Person1#: Hi.\n")
    settings = [f"model.source={models['llama']}", "model.turns=chatml", "runtime.device=cpu"]
    words = [word for setting in settings for word in ("--set", setting)]
    process = run_cli("summarize", str(tmp_path / "in.csv"), "--adapter", str(folder), "--recipe", "quickstart", *words)
    assert process.returncode == 2, process.stderr
    assert "does not fit the base model llama: keys 28 missing" in process.stderr.splitlines()[-1]
    assert not (tmp_path / "in.summaries.csv").exists()


LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
METHODS: dict[str, Any] = {
    "LoRA": LoraConfig(r=4, lora_alpha=8, target_modules=LINEARS, task_type="CAUSAL_LM"),
    "DoRA": LoraConfig(r=4, target_modules=LINEARS, use_dora=True, task_type="CAUSAL_LM"),
    "rsLoRA": LoraConfig(r=4, target_modules=LINEARS, use_rslora=True, task_type="CAUSAL_LM"),
    "modules to save": LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["lm_head"], task_type="CAUSAL_LM"),
    "trainable tokens": LoraConfig(
        r=4, target_modules=["q_proj"], trainable_token_indices={"embed_tokens": [5, 7]}, task_type="CAUSAL_LM"
    ),
    "embeddings": LoraConfig(r=4, target_modules=["embed_tokens", "q_proj"], task_type="CAUSAL_LM"),
    "IA3": IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"], task_type="CAUSAL_LM"),
}


@pytest.mark.parametrize("method", METHODS)
def test_adapters_of_other_methods_are_merged_as_peft_applies_them(
    tmp_path: Path, models: dict[str, Path], method: str
) -> None:
    """The merged model has the logits of the model with the adapter beside it."""
    base: Any = AutoModelForCausalLM.from_pretrained(models["llama"], dtype=torch.float32)
    ids = torch.tensor([[5, 7, 11, 13, 5, 2]])
    plain = base(ids).logits.detach()
    torch.manual_seed(0)
    adapted: Any = get_peft_model(base, METHODS[method]).eval()
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad and "magnitude" not in name:
            parameter.data.add_(torch.randn_like(parameter) * 0.1)
    adapted.save_pretrained(tmp_path)
    expected = adapted(ids).logits.detach()
    merged = load_merged_model(resolve_model(ModelConfig(source=str(models["llama"]))), tmp_path, CPU)
    assert not torch.allclose(expected, plain, atol=1e-3)
    torch.testing.assert_close(merged(ids).logits.detach(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["llama", "gemma"])
def test_on_nf4_the_merged_model_is_the_one_that_qlora_trains(
    tmp_path: Path, models: dict[str, Path], name: str
) -> None:
    """The logits of peft's adapter beside base weights that bitsandbytes keeps in NF4, and not those without NF4."""
    adapter = random_adapter(models[name], tmp_path / "mine", scale=0.05)
    ids = torch.tensor([[5, 7, 11, 13, 5, 2]])
    quantized = nf4_model(models[name])
    base = resolve_model(ModelConfig(source=str(models[name])))
    with torch.no_grad():
        base_logits = quantized(ids).logits
        expected = PeftModel.from_pretrained(quantized, adapter).eval()(ids).logits
        merged = load_merged_model(base, adapter, CPU, "nf4")
        torch.testing.assert_close(merged(ids).logits, expected, atol=1e-4, rtol=1e-4)
        alone = load_merged_model(base, None, CPU, "nf4")
        torch.testing.assert_close(alone(ids).logits, base_logits, atol=1e-4, rtol=1e-4)
        unquantized = load_merged_model(base, adapter, CPU)(ids).logits
    assert (unquantized - expected).abs().max() > 1e-2
    assert not any("4bit" in type(module).__name__ for module in merged.modules())
    assert getattr(merged.config, "quantization_config", None) is None
