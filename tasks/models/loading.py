"""Load a pinned base model and its tokenizer, from safetensors or from a GGUF file that is unpacked once.

Remote code is disabled explicitly; otherwise transformers prompts on the terminal.
"""

import shutil
import uuid
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from tasks.config import ResolvedModel
from tasks.sources.hub import fetch

DOWNLOADED_FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "tokenizer.model", "*.jinja"]


def pick_device(setting: str) -> torch.device:
    """The device of this process for runtime.device. RequestError if that is cuda and there is no GPU."""
    if setting == "cuda" and not torch.cuda.is_available():
        raise RequestError("runtime.device is cuda, but torch sees no GPU: use auto or cpu")
    return torch.device("cuda" if setting != "cpu" and torch.cuda.is_available() else "cpu")


def device_description(device: torch.device) -> str:
    """`NVIDIA H200`, or `CPU, 8 threads`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"


def half_precision(device: torch.device) -> torch.dtype:
    """bf16 if the device supports it, else fp16."""
    return torch.bfloat16 if device.type == "cpu" or torch.cuda.is_bf16_supported() else torch.float16


def load_tokenizer(model: ResolvedModel) -> PreTrainedTokenizerBase:
    """A left-padding tokenizer with a pad token."""
    tokenizer: Any = AutoTokenizer.from_pretrained(model_folder(model), trust_remote_code=False)
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer  # type: ignore[no-any-return]


def load_model(model: ResolvedModel, dtype: torch.dtype, **options: Any) -> PreTrainedModel:
    """The model in `dtype`, on the CPU unless `options` of transformers place it elsewhere."""
    loaded: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        model_folder(model), dtype=dtype, use_safetensors=True, trust_remote_code=False, **options
    )
    return loaded


def nf4_config(dtype: torch.dtype) -> BitsAndBytesConfig:
    """The quantization of QLoRA: all linears but the head as NF4, with products in `dtype`."""
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def model_folder(model: ResolvedModel) -> Path:
    """Local folder with safetensors and tokenizer files, downloaded or unpacked if necessary."""
    if model.gguf:
        return _unpacked(model)
    if Path(model.location).is_dir():
        return Path(model.location)
    return fetch(model.location, model.revision, DOWNLOADED_FILES)


def _unpacked(model: ResolvedModel) -> Path:
    """GGUF -> safetensors, once per file: reading the packed weights takes 20 s, the unpacked ones 1 s."""
    from transformers import GgufConfig

    assert model.gguf is not None
    folder = Store.current().scratch / "models" / model.revision
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            temporary = folder.with_name(f"{folder.name[:16]}.{uuid.uuid4().hex[:8]}")
            try:
                AutoTokenizer.from_pretrained(model.location, gguf_file=model.gguf).save_pretrained(temporary)
                AutoModelForCausalLM.from_pretrained(
                    model.location,
                    gguf_file=model.gguf,
                    dtype=torch.float32,
                    quantization_config=GgufConfig(dequantize=True),
                ).save_pretrained(temporary)
                temporary.rename(folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    return folder


def head_size(config: Any) -> int:
    """Numbers in the key of one attention head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def flash_attention(config: Any, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether torch has flash attention for it: half precision, compute capability 8 or more, heads up to 256."""
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return False
    size = head_size(config)
    return size <= 256 and size % 8 == 0 and torch.cuda.get_device_capability(device) >= (8, 0)
