"""A model and its tokenizer -> one GGUF file, which llama.cpp runs."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType

from artifacts.errors import RequestError
from tasks.models.gguf_architectures import architecture_of, gguf_tensors, write_hyperparameters
from tasks.models.gguf_tokenizer import vocabulary_of

_TYPES = {
    "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "bf16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}


def write_gguf(
    file: Path, model: Any, tokenizer: Any, stop_id: int, chat_template: str, quantization: str, name: str
) -> None:
    """Write the model with the vocabulary, the token that ends a summary and the chat template.

    Matrices get the type `quantization`, vectors and norms stay in float32, as llama.cpp requires. A matrix whose rows
    are no multiple of 32 is written in float16 instead of q8_0. RequestError if a weight is beyond float16.
    """
    architecture = architecture_of(model.config)
    vocabulary = vocabulary_of(tokenizer, model.config.vocab_size, frozenset({stop_id}))
    kind, file_type = _TYPES[quantization]
    writer = GGUFWriter(file, architecture.name)
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(name)
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    write_hyperparameters(writer, model.config, architecture)
    vocabulary.write(writer)
    _write_special_tokens(writer, tokenizer, stop_id)
    writer.add_chat_template(chat_template)
    for tensor_name, tensor in gguf_tensors(model, architecture):
        _add(writer, tensor_name, tensor, kind)
    file.parent.mkdir(parents=True, exist_ok=True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_special_tokens(writer: GGUFWriter, tokenizer: Any, stop_id: int) -> None:
    """Special tokens. The chat template writes the first token itself, so llama.cpp must not add another."""
    writer.add_add_bos_token(False)
    ends = tokenizer.eos_token_id
    ids = {
        writer.add_bos_token_id: tokenizer.bos_token_id,
        writer.add_eos_token_id: stop_id if ends is None else ends,
        writer.add_eot_token_id: stop_id if stop_id != ends else None,
        writer.add_unk_token_id: tokenizer.unk_token_id,
        writer.add_pad_token_id: tokenizer.pad_token_id,
    }
    for add, number in ids.items():
        if number is not None:
            add(number)


def _add(writer: GGUFWriter, name: str, tensor: torch.Tensor, kind: GGMLQuantizationType) -> None:
    """Add one tensor, quantized."""
    values = tensor.detach().float().numpy()
    if values.ndim < 2 or name.endswith("_norm.weight"):
        kind = GGMLQuantizationType.F32
    elif kind == GGMLQuantizationType.Q8_0 and values.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0]:
        kind = GGMLQuantizationType.F16
    if (
        kind in (GGMLQuantizationType.F16, GGMLQuantizationType.Q8_0)
        and np.abs(values).max() > np.finfo(np.float16).max
    ):
        raise RequestError(f"the weights {name} are too large for float16: export with --gguf bf16")
    writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
