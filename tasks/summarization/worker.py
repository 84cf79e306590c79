"""The summarizing process: its share of a table's chunks, each saved whole.

python -m tasks.summarization.worker CONFIG.json        (CONFIG.json is written by tasks/summarization/summarize_table.py)
"""

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from artifacts.schemas import write_table
from tasks.config import Runtime
from tasks.decoding.batching import batch_size
from tasks.decoding.engine import Engine
from tasks.decoding.worker import merged
from tasks.models.chat_template import TurnEncoder
from tasks.models.loading import load_tokenizer, pick_device
from tasks.summarization.summarize_table import PART, SummarizeSpec, chunks, part
from tasks.summarization.summarizer import Summarizer
from tasks.summarization.table_files import open_table
from tasks.workers.events import Events
from tasks.workers.launcher import be_worker


def work(config: dict[str, Any], events: Events) -> dict[str, Any]:
    """Summarize chunks `shard`, `shard + shards`, … that are not done yet. Returns measurements."""
    spec, runtime = SummarizeSpec.model_validate(config["spec"]), Runtime.model_validate(config["runtime"])
    device, parts = pick_device(runtime.device), Path(config["parts"])
    if device.type == "cpu":
        torch.set_num_threads(runtime.threads or max(1, (os.cpu_count() or 1) // config["shards"]))
    table = open_table(Path(config["file"]))
    mine = range(config["shard"] * config["chunk"], table.rows, config["shards"] * config["chunk"])
    total = sum(min(config["chunk"], table.rows - start) for start in mine)
    events.progress(0, total, "loading the model")
    tokenizer = load_tokenizer(spec.model)
    encoder = TurnEncoder(tokenizer, spec.turns)
    model = merged(spec.model, Path(config["adapter"]) if config["adapter"] else None, device)
    settings = spec.generate
    longest = getattr(model.config, "max_position_embeddings", None) or settings.max_prompt_tokens
    summarizer = Summarizer(
        Engine(model, tokenizer, encoder.stop_id, settings), encoder, spec.template,
        min(settings.max_prompt_tokens, longest - settings.max_new_tokens), batch_size(runtime, device.type),
    )  # fmt: skip
    started, found, made = time.perf_counter(), 0, 0

    def told(chunk: int, done: int) -> None:
        done = made + min(done, chunk)
        rate = done / (time.perf_counter() - started)
        left = _duration((total - found - done) / rate) if rate else "unknown time"
        events.progress(found + done, total, f"{rate:.3g} dialogues/s, {left} left")

    for number, values in enumerate(chunks(table.values(config["column"]), config["chunk"])):
        if number % config["shards"] != config["shard"]:
            continue
        if part(parts, number).exists():
            found += len(values)
            continue
        answers = summarizer.summarize(values, partial(told, len(values)))
        half = part(parts, number).with_suffix(".half")
        write_table((answer._asdict() for answer in answers), PART, half)
        half.rename(part(parts, number))
        made += len(values)
    return {"seconds": round(time.perf_counter() - started, 2), "made": made}


def _duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    be_worker(work)
