"""A LoRA adapter of peft -> a GGUF adapter, which llama.cpp adds to the GGUF file of its base model."""

import json
import math
from pathlib import Path
from typing import Any

import gguf
from gguf import GGUFWriter
from safetensors.torch import load_file

from artifacts.errors import RequestError
from tasks.models.gguf_architectures import architecture_of, gguf_name, name_map, permuted

_REFUSED = (
    "use_dora",
    "use_qalora",
    "lora_bias",
    "modules_to_save",
    "trainable_token_indices",
    "target_parameters",
    "layer_replication",
    "fan_in_fan_out",
    "alora_invocation_tokens",
)
"""Settings of peft that a GGUF adapter has no place for."""
_PREFIX = "base_model.model."


def refuse_lora(config: Any, adapter: Path) -> None:
    """RequestError if llama.cpp cannot represent the adapter beside its base model. Reads no weights."""
    architecture_of(config)
    _alpha(json.loads((adapter / "adapter_config.json").read_text()))


def write_gguf_lora(file: Path, config: Any, adapter: Path, name: str) -> None:
    """Write the matrices in float32. `config` is the base model's. RequestError if a matrix is not one of LoRA."""
    known = architecture_of(config)
    names, weights = name_map(config, known), load_file(adapter / "adapter_model.safetensors")
    writer = GGUFWriter(file, known.name)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, _alpha(json.loads((adapter / "adapter_config.json").read_text())))
    for key, tensor in sorted(weights.items()):
        module, _, part = key.removeprefix(_PREFIX).rpartition(".lora_")
        if part not in ("A.weight", "B.weight") or (module == "lm_head" and config.tie_word_embeddings):
            raise RequestError(f"a GGUF adapter has no place for the weights {key}: --gguf merges them into the model")
        rows = permuted(tensor, f"{module}.weight", config, known) if part == "B.weight" else tensor
        target = gguf_name(names, f"{module}.weight")
        writer.add_tensor(f"{target}.lora_{part[0].lower()}", rows.float().contiguous().numpy())
    file.parent.mkdir(parents=True, exist_ok=True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _alpha(settings: dict[str, Any]) -> float:
    """The alpha of all modules, which llama.cpp divides by the rank of each; that of rsLoRA is larger by its root."""
    kind = str(settings.get("peft_type"))
    refused = next((key for key in _REFUSED if settings.get(key)), None)
    if kind != "LORA" or refused or settings.get("bias", "none") != "none":
        what = f"peft's {kind}" if kind != "LORA" else f"the setting {refused or 'bias'}"
        raise RequestError(f"a GGUF adapter has no place for {what}: --gguf merges the adapter into the model")
    rank, alpha = settings["r"], float(settings["lora_alpha"])
    differing = settings.get("alpha_pattern") or (settings.get("rank_pattern") and settings.get("use_rslora"))
    if differing:
        raise RequestError(
            "a GGUF adapter has one alpha and this one several: --gguf merges the adapter into the model"
        )
    return alpha * math.sqrt(rank) if settings.get("use_rslora") else alpha
