"""Merge an adapter into its base model, or refuse an adapter that does not fit.

peft only warns about keys that it cannot load, so an adapter with other keys would leave the base model unchanged.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from peft.utils import SAFETENSORS_WEIGHTS_NAME

from artifacts.errors import RequestError, StageError
from artifacts.text import one_line
from tasks.config import Quantization, ResolvedModel
from tasks.models.loading import half_precision, load_model, nf4_config

_KEYS_SHOWN = 2
"""Keys that a message names."""


def load_merged_model(
    base: ResolvedModel, adapter: Path | None, device: torch.device, quantization: Quantization = "none"
) -> Any:
    """The base model with the adapter's weights added: fp32 on the CPU, half precision on a GPU.

    With `nf4` the base weights are quantized as in training, then dequantized, and the adapter is added to those. This
    is the model that QLoRA trains: there each product with a quantized weight first dequantizes it to the same dtype,
    so x W' + s (x A') B' = x (W + s B A)' with the W of here. Merged, the sum W + s B A is rounded once to that dtype.
    """
    dtype = torch.float32 if device.type == "cpu" else half_precision(device)
    options: dict[str, Any] = {"device_map": {"": device}} if device.type == "cuda" else {}
    if quantization == "nf4":
        model: Any = load_model(base, dtype, quantization_config=nf4_config(dtype), **options).dequantize(dtype)
    else:
        model = load_model(base, dtype, **options)
    if adapter is not None:
        model = merge_adapter(model, adapter, base.origin)
    return model.eval()


def merge_adapter(model: Any, adapter: Path, base: str) -> Any:
    """The base model with the weights of the adapter in the folder `adapter` added; `base` is its name in messages.

    StageError if the folder has no safetensors. RequestError if peft cannot merge this kind of adapter, or if the keys
    and shapes in the folder are not exactly those that the adapter has on this base model.
    """
    if not (adapter / SAFETENSORS_WEIGHTS_NAME).is_file():  # peft would load a pickle instead
        raise StageError(f"{adapter} has no {SAFETENSORS_WEIGHTS_NAME}: other formats can run code and are not loaded")
    misfit = f"the adapter in {adapter} does not fit the base model {base}"
    try:
        config = PeftConfig.from_pretrained(str(adapter))
        if config.is_prompt_learning:
            raise RequestError(
                f"the adapter in {adapter} is of type {config.peft_type.value}, which adds no weights to the "
                "model; expected one that peft can merge, such as LoRA"
            )
        config.inference_mode = True
        # PeftModel.from_pretrained does the same, but does not return the result of loading
        adapted = PeftModel(model, config)
        loaded = adapted.load_adapter(adapter, "default")
    except KeyError as error:  # a complete module that the adapter replaces is missing
        raise RequestError(
            f"{misfit}: missing {one_line(error.args[0], 200)}; name the base model it was trained on"
        ) from error
    except ValueError as error:  # no module has the names of the adapter's targets
        raise RequestError(f"{misfit}: {one_line(error, 250)}; name the base model it was trained on") from error
    except RuntimeError as error:
        if "size mismatch" not in str(error):
            raise
        first = str(error).split("size mismatch", 1)[1]
        raise RequestError(
            f"{misfit}: size mismatch {one_line(first, 250)}; name the base model it was trained on"
        ) from error
    problems = [
        f"{len(keys)} {word} ({_some(keys)})"
        for word, keys in (("missing", loaded.missing_keys), ("unexpected", loaded.unexpected_keys))
        if keys
    ]
    if problems:
        raise RequestError(f"{misfit}: keys {' and '.join(problems)}; name the base model it was trained on")
    return adapted.merge_and_unload()


def _some(keys: Sequence[str]) -> str:
    """The first keys by name, and how many more there are."""
    rest = f" and {len(keys) - _KEYS_SHOWN} more" if len(keys) > _KEYS_SHOWN else ""
    return ", ".join(sorted(keys)[:_KEYS_SHOWN]) + rest
