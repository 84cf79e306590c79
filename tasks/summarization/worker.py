"""The summarizing process: summarizes its share of a table's chunks and saves each when it is finished.

python -m tasks.summarization.worker CONFIG.json        (written by tasks/summarization/summarize_table.py)
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
from tasks.summarization.chunk_files import CHUNK_COLUMNS, chunk_file, chunks
from tasks.summarization.message_table import conversations_of
from tasks.summarization.summarizer import Summarizer
from tasks.summarization.table_files import Table, open_table
from tasks.summarization.worker_records import SummarizationResult, SummarizationWorkerConfig
from tasks.workers.cpus import cpu_threads
from tasks.workers.events import Events
from tasks.workers.worker_main import worker_main


def run(config: SummarizationWorkerConfig, events: Events) -> SummarizationResult:
    """Summarize the unfinished ones of chunks `shard`, `shard + shards`, …"""
    device = pick_device(config.runtime.device)
    if device.type == "cpu":
        torch.set_num_threads(cpu_threads(config.runtime.threads, config.shards))
    table: Table = open_table(config.file)
    if config.column not in table.columns and (conversations := conversations_of(table)) is not None:
        table = conversations
    starts = range(config.shard * config.chunk, table.rows, config.shards * config.chunk)
    total = sum(min(config.chunk, table.rows - start) for start in starts)
    events.progress(0, total, "loading the model")
    summarizer = _load_summarizer(config, device)
    started, resumed, summarized = time.perf_counter(), 0, 0

    def report_progress(chunk_rows: int, rows: int) -> None:
        # a dialogue in parts counts once per part, so `rows` may exceed the chunk
        finished = summarized + min(rows, chunk_rows)
        rate = finished / (time.perf_counter() - started)
        left = _duration((total - resumed - finished) / rate) if rate else "unknown time"
        events.progress(resumed + finished, total, f"{rate:.3g} dialogues/s, {left} left")

    for number, values in enumerate(chunks(table.values(config.column), config.chunk)):
        if number % config.shards != config.shard:
            continue
        file, count = chunk_file(config.parts, number), len(values)
        if file.exists():
            resumed += count
            continue
        summaries = summarizer.summarize(values, partial(report_progress, count))
        temporary = file.with_suffix(".half")
        write_table((summary._asdict() for summary in summaries), CHUNK_COLUMNS, temporary)
        temporary.rename(file)
        summarized += count
    return SummarizationResult(seconds=round(time.perf_counter() - started, 2), summarized=summarized)


def _load_summarizer(config: SummarizationWorkerConfig, device: torch.device) -> Summarizer:
    decoding = config.spec.generate
    tokenizer = load_tokenizer(config.spec.model)
    encoder = TurnEncoder(tokenizer, config.spec.turns)
    model = load_merged_model(config.spec.model, config.adapter, device, decoding.quantization)
    context = getattr(model.config, "max_position_embeddings", None) or decoding.max_prompt_tokens
    return Summarizer(
        Engine(model, tokenizer, encoder.stop_id, decoding, config.spec.rouge_tokenizer),
        encoder,
        config.spec.template,
        config.format,
        max_prompt_tokens=min(decoding.max_prompt_tokens, context - decoding.max_new_tokens),
        batch_size=batch_size(config.runtime, device.type, decoding.candidates),
    )


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
