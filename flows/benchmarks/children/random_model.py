"""A stand-in for weights that are gated: a model folder of a real shape with random weights (Gemma-2B's by default).

Speed and memory are those of the real one. What it says is noise, and it never says its stop token, so that every
generation runs to its limit. Drawn on the GPU where there is one; 5 GB for Gemma-2B, so it is reused where it lies.
"""

import shutil
import uuid
from pathlib import Path
from typing import Any

from artifacts.errors import RequestError
from flows.benchmarks.child_process import FailedError, be_child, run_child

SHAPES: dict[str, dict[str, Any]] = {
    "gemma-2b": {
        "vocab_size": 256000, "hidden_size": 2048, "intermediate_size": 16384, "num_hidden_layers": 18,
        "num_attention_heads": 8, "num_key_value_heads": 1, "head_dim": 256, "max_position_embeddings": 8192,
    },
    "tiny": {
        "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 32, "max_position_embeddings": 2048,
    },
}  # fmt: skip
"""`tiny` has the tokenizer's own vocabulary: for tests."""


def stand_in(shape: str, tokenizer: Path, folder: Path, timeout: float = 300) -> Path:
    """The model folder `folder/SHAPE-random`, made in a process of its own unless it is there."""
    made = folder / f"{shape}-random"
    if not (made / "config.json").is_file():
        if not (tokenizer / "tokenizer.json").is_file():
            raise RequestError(
                f"--tokenizer: no tokenizer.json in {tokenizer}; give a folder with the model's tokenizer"
            )
        folder.mkdir(parents=True, exist_ok=True)
        try:
            run_child(
                "children.random_model",
                {"shape": shape, "tokenizer": str(tokenizer), "to": str(made)},
                folder / "log",
                timeout,
            )
        except FailedError as failure:
            raise RequestError(f"the stand-in model could not be made: {failure}") from failure
    return made


def write(config: dict[str, Any]) -> dict[str, Any]:
    """Draw and save; the folder appears when it is whole."""
    import torch
    from transformers import AutoTokenizer, GemmaConfig, GemmaForCausalLM

    tokenizer: Any = AutoTokenizer.from_pretrained(config["tokenizer"])
    names = ("pad_token_id", "bos_token_id", "eos_token_id")
    shape = {"vocab_size": len(tokenizer)} | SHAPES[config["shape"]]
    if shape["vocab_size"] < len(tokenizer):
        raise ValueError(f"the tokenizer has {len(tokenizer)} tokens, {config['shape']} has {shape['vocab_size']}")
    settings: Any = shape | {name: getattr(tokenizer, name) for name in names}
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            model = GemmaForCausalLM(GemmaConfig(**settings))
    finally:
        torch.set_default_dtype(before)
    to = Path(config["to"])
    half = to.with_name(f"{to.name}.{uuid.uuid4().hex[:8]}")
    try:
        model.save_pretrained(half)
        tokenizer.save_pretrained(half)
        half.rename(to)
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return {"parameters": model.num_parameters()}


if __name__ == "__main__":
    be_child(write)
