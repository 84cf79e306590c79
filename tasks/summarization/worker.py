"""The summarizing process: its share of a table's chunks, each saved whole.

python -m tasks.summarization.worker CONFIG.json        (CONFIG.json is written by tasks/summarization/summarize_table.py)
"""

import time
from functools import partial

import torch

from artifacts.schemas import write_table
from tasks.decoding.batching import batch_size
from tasks.decoding.engine import Engine
from tasks.models.adapter_merging import load_merged_model
from tasks.models.chat_template import TurnEncoder
from tasks.models.loading import load_tokenizer, pick_device
from tasks.summarization.summarize_table import PART, chunks, part
from tasks.summarization.summarizer import Summarizer
from tasks.summarization.table_files import open_table
from tasks.summarization.worker_records import SummarizationResult, SummarizationWorkerConfig
from tasks.workers.cpus import cpu_threads
from tasks.workers.events import Events
from tasks.workers.worker_main import worker_main


def run(config: SummarizationWorkerConfig, events: Events) -> SummarizationResult:
    """Summarize chunks `shard`, `shard + shards`, … that are not done yet. Returns measurements."""
    spec, runtime, parts = config.spec, config.runtime, config.parts
    device = pick_device(runtime.device)
    if device.type == "cpu":
        torch.set_num_threads(cpu_threads(runtime.threads, config.shards))
    table = open_table(config.file)
    mine = range(config.shard * config.chunk, table.rows, config.shards * config.chunk)
    total = sum(min(config.chunk, table.rows - start) for start in mine)
    events.progress(0, total, "loading the model")
    tokenizer = load_tokenizer(spec.model)
    encoder = TurnEncoder(tokenizer, spec.turns)
    model = load_merged_model(spec.model, config.adapter, device)
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

    for number, values in enumerate(chunks(table.values(config.column), config.chunk)):
        if number % config.shards != config.shard:
            continue
        if part(parts, number).exists():
            found += len(values)
            continue
        answers = summarizer.summarize(values, partial(told, len(values)))
        half = part(parts, number).with_suffix(".half")
        write_table((answer._asdict() for answer in answers), PART, half)
        half.rename(part(parts, number))
        made += len(values)
    return SummarizationResult(seconds=round(time.perf_counter() - started, 2), summarized=made)


def _duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def main() -> None:
    """Run as a worker process."""
    worker_main(run, SummarizationWorkerConfig)


if __name__ == "__main__":
    main()
