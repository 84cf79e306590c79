"""The adapter from which a preference training starts."""

from pathlib import Path
from typing import Any

from peft import set_peft_model_state_dict
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import load_file

from artifacts.errors import StageError


def load_start_adapter(model: Any, folder: Path) -> None:
    """Give the adapter of a peft model the weights in `folder`. StageError if they are not exactly its weights."""
    loaded: Any = set_peft_model_state_dict(model, load_file(folder / SAFETENSORS_WEIGHTS_NAME))
    missing = [key for key in loaded.missing_keys if "lora_" in key]
    if missing or loaded.unexpected_keys:
        raise StageError(
            f"the adapter in {folder} has {len(missing)} missing and {len(loaded.unexpected_keys)} unexpected weights "
            f"(such as {[*missing, *loaded.unexpected_keys][0]!r}): train it again with --refresh train"
        )
