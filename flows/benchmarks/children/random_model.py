"""A model folder with random weights in the shape of a real model.

Benchmarks use it in place of weights that need a licence. Speed and memory are those of the real model. Its output is
noise without a stop token, so that every generation runs to its limit. The weights are drawn on the GPU if there is
one. Gemma-2B takes 5 GB, so an existing folder is reused.
"""

import shutil
import uuid
from pathlib import Path
from typing import Any

from artifacts.errors import RequestError
from flows.benchmarks.child_process import ChildFailedError, child_main, run_child

SHAPES: dict[str, dict[str, Any]] = {
    "gemma-2b": {
        "vocab_size": 256000,
        "hidden_size": 2048,
        "intermediate_size": 16384,
        "num_hidden_layers": 18,
        "num_attention_heads": 8,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "max_position_embeddings": 8192,
    },
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "max_position_embeddings": 2048,
    },
}
"""Name -> settings of GemmaConfig. `tiny` has the tokenizer's own vocabulary: for tests."""


def random_model(shape: str, tokenizer: Path, folder: Path, timeout: float = 300) -> Path:
    """The model folder `folder/SHAPE-random`. Unless it exists, a process makes it; RequestError if that fails."""
    model = folder / f"{shape}-random"
    if not (model / "config.json").is_file():
        if not (tokenizer / "tokenizer.json").is_file():
            raise RequestError(
                f"--tokenizer: no tokenizer.json in {tokenizer}; give a folder with the model's tokenizer"
            )
        folder.mkdir(parents=True, exist_ok=True)
        try:
            config = {"shape": shape, "tokenizer": str(tokenizer), "to": str(model)}
            run_child("children.random_model", config, folder / "log", timeout)
        except ChildFailedError as failure:
            raise RequestError(f"the model with random weights could not be made: {failure}") from failure
    return model


def measure(config: dict[str, Any]) -> dict[str, Any]:
    """Draw the weights and save the model; the folder appears when it is complete."""
    import torch
    from transformers import AutoTokenizer, GemmaConfig, GemmaForCausalLM

    tokenizer: Any = AutoTokenizer.from_pretrained(config["tokenizer"])
    names = ("pad_token_id", "bos_token_id", "eos_token_id")
    shape = {"vocab_size": len(tokenizer)} | SHAPES[config["shape"]]
    if shape["vocab_size"] < len(tokenizer):
        raise ValueError(f"the tokenizer has {len(tokenizer)} tokens, {config['shape']} has {shape['vocab_size']}")
    settings: Any = shape | {name: getattr(tokenizer, name) for name in names}
    torch.manual_seed(0)
    default_dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            model = GemmaForCausalLM(GemmaConfig(**settings))
    finally:
        torch.set_default_dtype(default_dtype)
    folder = Path(config["to"])
    temporary = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}")
    try:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return {"parameters": model.num_parameters()}


if __name__ == "__main__":
    child_main(measure)
