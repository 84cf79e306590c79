"""One shard of the work of a stage that decodes: its batches, the longest rows first, each saved when it is done."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import torch

from tasks.config import GenerateSpec, SampleSpec
from tasks.decoding.batching import Row, batch_size, make_batches
from tasks.decoding.engine import Engine
from tasks.decoding.part_files import read_parts, save_part
from tasks.decoding.worker_records import Measurements, ShardConfig
from tasks.models.adapter_merging import load_merged_model
from tasks.models.chat_template import TurnEncoder
from tasks.models.loading import device_description, load_tokenizer, pick_device
from tasks.workers.cpus import cpu_threads
from tasks.workers.events import Events


def decode_shard(
    config: ShardConfig,
    spec: GenerateSpec | SampleSpec,
    rows: Sequence[dict[str, Any]],
    schema: pa.Schema,
    decode: Callable[[Engine, list[Row]], list[dict[str, Any]]],
    events: Events,
) -> Measurements:
    """Decode the rows (artifacts.schemas.FORMATTED_EVAL) of the shard's batches that are not finished yet.

    decode: one batch -> a row of `schema` for each of its rows.
    """
    runtime, shard = config.runtime, config.shard
    device = pick_device(runtime.device)
    if device.type == "cpu":
        torch.set_num_threads(cpu_threads(runtime.threads, config.processes))
    started = time.perf_counter()
    config.parts.mkdir(parents=True, exist_ok=True)
    finished_ids = {row["id"] for row in read_parts(config.parts, schema)}
    if finished_ids and shard == 0:
        events.log(f"{len(finished_ids)} of {len(rows)} rows were decoded by an earlier run; resuming")
    tokenizer = load_tokenizer(spec.model)
    encoder = TurnEncoder(tokenizer, spec.turns)
    prompts, truncated = encoder.prompts([row["prompt"] for row in rows], spec.generate.max_prompt_tokens)
    if truncated and shard == 0:
        events.log(f"{truncated} of {len(rows)} prompts are truncated at {spec.generate.max_prompt_tokens} tokens")
    size = batch_size(runtime, device.type, spec.generate.candidates)
    batches = make_batches([(row["id"], ids) for row, ids in zip(rows, prompts, strict=True)], size)
    batches = batches[shard :: config.shards]
    remaining = [[row for row in batch if row[0] not in finished_ids] for batch in batches]
    total = sum(map(len, batches))
    finished = total - sum(map(len, remaining))
    events.progress(finished, total, "loading the model")
    model = load_merged_model(spec.model, config.adapter, device, spec.generate.quantization)
    engine = Engine(model, tokenizer, encoder.stop_id, spec.generate, spec.rouge_tokenizer)
    loaded = time.perf_counter()
    for batch in filter(None, remaining):
        save_part(decode(engine, batch), config.parts, schema)
        finished += len(batch)
        speed = engine.stats.tokens / (time.perf_counter() - loaded)
        events.progress(finished, total, f"{speed:.0f} tokens/s")
    seconds, stats = time.perf_counter() - loaded, engine.stats
    return Measurements(
        device=device_description(device),
        dtype=str(engine.model.dtype).removeprefix("torch."),
        batch=size,
        loading_seconds=round(loaded - started, 2),
        generating_seconds=round(seconds, 2),
        decoding_seconds=round(stats.decoding_seconds, 2),
        recording_seconds=round(stats.capture_seconds, 2),
        choosing_seconds=round(stats.choosing_seconds, 2),
        tokens=stats.tokens,
        tokens_per_second=round(stats.tokens / seconds, 1) if stats.tokens else None,
        halved=stats.splits,
        peak_gib=round(torch.cuda.max_memory_allocated() / 2**30, 2) if device.type == "cuda" else None,
    )
