"""export: an adapter -> a GGUF file with the merged model, or a GGUF adapter.

Refusals come first and read configuration and tokenizer only.
"""

from pathlib import Path
from typing import Any

from artifacts.errors import RequestError
from tasks.config import SummarizeSpec
from tasks.models.export import chat_template


def refuse_export(spec: SummarizeSpec) -> None:
    """RequestError if llama.cpp cannot represent the model or its tokenizer."""
    from tasks.models.gguf_architectures import architecture_of
    from tasks.models.gguf_tokenizer import vocabulary_of
    from tasks.models.loading import load_tokenizer

    config = _config(spec)
    architecture_of(config)
    vocabulary_of(load_tokenizer(spec.model), config.vocab_size)


def refuse_reading_back(spec: SummarizeSpec) -> None:
    """RequestError if transformers cannot read a GGUF file of the model's architecture, such as Gemma 1."""
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    from tasks.models.gguf_architectures import architecture_of

    name = architecture_of(_config(spec)).name
    if name not in GGUF_SUPPORTED_ARCHITECTURES:
        raise RequestError(f"--score: transformers reads no GGUF file of the architecture {name}: leave --score out")


def refuse_adapter_export(spec: SummarizeSpec, adapter: Path) -> None:
    """RequestError if llama.cpp cannot represent the adapter beside its base model."""
    from tasks.models.gguf_lora import refuse_lora

    refuse_lora(_config(spec), adapter)


def export_gguf(spec: SummarizeSpec, adapter: Path, file: Path, quantization: str) -> None:
    """Write the merged model with its tokenizer and the chat template that has the prompt."""
    import torch

    from tasks.models.adapter_merging import load_merged_model
    from tasks.models.gguf_file import write_gguf
    from tasks.models.loading import load_tokenizer

    tokenizer = load_tokenizer(spec.model)
    model = load_merged_model(spec.model, adapter, torch.device("cpu"), spec.generate.quantization)
    write_gguf(file, model, tokenizer, _stop_id(spec, tokenizer), chat_template(spec), quantization, file.stem)


def export_gguf_adapter(spec: SummarizeSpec, adapter: Path, file: Path) -> None:
    """Write the LoRA matrices alone, under the names that they have in a GGUF file of the base model."""
    from tasks.models.gguf_lora import write_gguf_lora

    write_gguf_lora(file, _config(spec), adapter, file.stem)


def stop_token(spec: SummarizeSpec) -> str:
    """The token that ends a summary, as text."""
    from tasks.models.loading import load_tokenizer

    tokenizer: Any = load_tokenizer(spec.model)
    return str(tokenizer.convert_ids_to_tokens(_stop_id(spec, tokenizer)))


def _stop_id(spec: SummarizeSpec, tokenizer: Any) -> int:
    from tasks.models.chat_template import TurnEncoder

    return TurnEncoder(tokenizer, spec.turns).stop_id


def _config(spec: SummarizeSpec) -> Any:
    from transformers import AutoConfig

    from tasks.models.loading import model_folder

    return AutoConfig.from_pretrained(model_folder(spec.model), trust_remote_code=False)
