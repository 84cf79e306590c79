"""A tokenizer with few tokens and the turn markers of chatml, trained on texts."""

from typing import Any

from flows.benchmarks.child_process import child_main

TOKENS = 600


def measure(config: dict[str, Any]) -> dict[str, Any]:
    """Train the tokenizer on `texts` and save it in the folder `to`. Returns its number of tokens."""
    from transformers import GPT2Tokenizer

    untrained: Any = GPT2Tokenizer()
    markers = ["<|im_start|>", "<|im_end|>"]
    tokenizer = untrained.train_new_from_iterator(
        config["texts"], TOKENS, new_special_tokens=markers, show_progress=False
    )
    tokenizer.bos_token, tokenizer.eos_token = markers
    tokenizer.pad_token = "<|endoftext|>"  # noqa: S105  # a token of the vocabulary
    tokenizer.save_pretrained(config["to"])
    return {"tokens": len(tokenizer)}


if __name__ == "__main__":
    child_main(measure)
