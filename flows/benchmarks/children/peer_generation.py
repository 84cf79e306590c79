"""Children of `bench generate`: other systems on the prompts that our stage gets.

transformers   `generate`, bf16, batch 64, longest first; a first pass and a warm one
article        NF4 with an unmerged adapter, one dialogue at a time; some are timed, the total is extrapolated
"""

import json
import time
from pathlib import Path
from statistics import median
from typing import Any

from flows.benchmarks.child_process import child_main
from flows.benchmarks.children.peer_training import LINEARS, load

BATCH = 64


def measure(config: dict[str, Any]) -> dict[str, Any]:
    """Time `system` over the prompts. Each gets exactly `new_tokens` tokens."""
    import torch
    from transformers import AutoTokenizer

    cuda = torch.cuda.is_available()
    prompts: list[list[int]] = json.loads(Path(config["rows"]).read_text())["test"]
    model = load(config["model"], config["system"]).eval()
    pad = AutoTokenizer.from_pretrained(config["model"]).pad_token_id or 0
    new = config["new_tokens"]

    def generate(batch: list[list[int]]) -> float:
        """Generate for one batch; returns seconds."""
        width = max(map(len, batch))
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in batch], device=model.device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in batch], device=model.device)
        started = time.perf_counter()
        with torch.no_grad():
            output = model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=new,
                min_new_tokens=new,
                do_sample=False,
                pad_token_id=pad,
            )
        if output.shape[1] != width + new:
            raise RuntimeError(f"{output.shape[1] - width} new tokens, expected {new}")
        output.tolist()  # waits for the GPU
        return time.perf_counter() - started

    if config["system"] == "article":
        from peft import LoraConfig, get_peft_model

        lora = LoraConfig(r=config["rank"], target_modules=LINEARS, task_type="CAUSAL_LM")
        model = get_peft_model(model, lora).eval()
        count = config["article_rows"]
        sample = prompts[:: max(1, len(prompts) // count)][:count]
        generate([sample[0]])
        times = [generate([row]) for row in sample]
        passes = [median(times) * len(prompts)] * 2
        note = f"{len(sample)} dialogues timed, median {median(times):.2f} s, extrapolated to {len(prompts)}"
    else:
        ordered = sorted(prompts, key=len, reverse=True)
        batches = [ordered[i : i + BATCH] for i in range(0, len(ordered), BATCH)]
        passes = [sum(map(generate, batches)) for _ in range(2)]
        note = f"batch {BATCH}, longest first; first pass {passes[0]:.2f} s, the second is timed"
    return {
        "first_seconds": passes[0],
        "seconds": passes[1],
        "rows": len(prompts),
        "tokens": new * len(prompts),
        "note": note,
        "device": torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads",
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if cuda else None,
    }


if __name__ == "__main__":
    child_main(measure)
