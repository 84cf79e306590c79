"""The generation process: its share of the batches, the longest rows first, every batch saved.

python -m tasks.decoding.worker CONFIG.json        (CONFIG.json is written by tasks/generate.py)
"""

import os
import time
from pathlib import Path
from typing import Any

import torch

from artifacts.schemas import FORMATTED_EVAL, read_table
from tasks.config import GenerateSpec, ResolvedModel, Runtime
from tasks.decoding.batching import batch_size, deal
from tasks.decoding.engine import Engine
from tasks.generate import read_parts, save_part
from tasks.models.adapter_merging import merge_adapter
from tasks.models.chat_template import TurnEncoder
from tasks.models.loading import half_precision, load_model, load_tokenizer, pick_device
from tasks.workers.events import Events
from tasks.workers.launcher import be_worker


def work(config: dict[str, Any], events: Events) -> dict[str, Any]:
    """Predict the rows of batches `shard`, `shard + shards`, … that are not done yet. Returns measurements."""
    spec, runtime = GenerateSpec.model_validate(config["spec"]), Runtime.model_validate(config["runtime"])
    shard, shards = config["shard"], config["shards"]
    device = pick_device(runtime.device)
    if device.type == "cpu":
        torch.set_num_threads(runtime.threads or max(1, (os.cpu_count() or 1) // config["processes"]))
    started = time.perf_counter()
    rows = read_table(Path(config["rows"]) / "test.parquet", FORMATTED_EVAL)[: spec.generate.limit]
    parts = Path(config["parts"])
    parts.mkdir(parents=True, exist_ok=True)
    done = {row["id"] for row in read_parts(parts)}
    if done and shard == 0:
        events.log(f"{len(done)} of {len(rows)} rows were predicted before the last run ended; going on")
    tokenizer = load_tokenizer(spec.model)
    encoder = TurnEncoder(tokenizer, spec.turns)
    prompts, cut = encoder.prompts([row["prompt"] for row in rows], spec.generate.max_prompt_tokens)
    if cut and shard == 0:
        events.log(f"{cut} of {len(rows)} prompts lose their end at {spec.generate.max_prompt_tokens} tokens")
    size = batch_size(runtime, device.type)
    mine = deal([(row["id"], ids) for row, ids in zip(rows, prompts, strict=True)], size)[shard::shards]
    todo = [[row for row in batch if row[0] not in done] for batch in mine]
    total, finished = sum(map(len, mine)), sum(map(len, mine)) - sum(map(len, todo))
    events.progress(finished, total, "loading the model")
    engine = Engine(
        merged(spec.model, Path(config["adapter"]) if config["adapter"] else None, device),
        tokenizer, encoder.stop_id, spec.generate,
    )  # fmt: skip
    loaded = time.perf_counter()
    for batch in filter(None, todo):
        save_part(engine.predict(batch), parts)
        finished += len(batch)
        rate = engine.spent["tokens"] / (time.perf_counter() - loaded)
        events.progress(finished, total, f"{rate:.0f} tokens/s")
    seconds, spent = time.perf_counter() - loaded, engine.spent
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads",
        "dtype": str(engine.model.dtype).removeprefix("torch."),
        "batch": size,
        "loading_seconds": round(loaded - started, 2),
        "generating_seconds": round(seconds, 2),
        "decoding_seconds": round(spent["decoding_seconds"], 2),
        "recording_seconds": round(spent["recording_seconds"], 2),
        "choosing_seconds": round(spent["choosing_seconds"], 2),
        "tokens": int(spent["tokens"]),
        "tokens_per_second": round(spent["tokens"] / seconds, 1) if spent["tokens"] else None,
        "halved": int(spent["halved"]),
        "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if device.type == "cuda" else None,
    }


def merged(base: ResolvedModel, adapter: Path | None, device: torch.device) -> Any:
    """The base model with the adapter's weights added in: fp32 on the CPU, half precision on a GPU."""
    dtype = torch.float32 if device.type == "cpu" else half_precision(device)
    placed: dict[str, Any] = {"device_map": {"": device}} if device.type == "cuda" else {}
    model: Any = load_model(base, dtype, **placed)
    if adapter is not None:
        model = merge_adapter(model, adapter, base.origin)
    return model.eval()


if __name__ == "__main__":
    be_worker(work)
