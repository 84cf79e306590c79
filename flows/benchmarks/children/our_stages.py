"""Child of the benchmarks: our stages as `dialogsum run` calls them, on a recipe with overrides.

Training is timed by its progress events, from outside, so that the timing does not depend on the engine.
"""

import json
import time
from pathlib import Path
from typing import Any

from artifacts.artifact_store import Store
from artifacts.manifest import Manifest
from artifacts.record import Record
from artifacts.refs import Ref
from artifacts.schemas import CURVE, DATASET, FORMATTED_EVAL, FORMATTED_TRAIN, read_table
from flows import dag
from flows.benchmarks.child_process import child_main
from flows.dag import ResolvedRecipe
from flows.recipe import load_recipe
from tasks.config import DownloadSpec, FormatSpec, GenerateSpec, TrainSpec
from tasks.download import DOWNLOAD
from tasks.execution.decision import identity
from tasks.execution.executor import execute
from tasks.execution.job import Job
from tasks.execution.stage import Stage
from tasks.format import FORMAT
from tasks.generate import GENERATE
from tasks.models.chat_template import TurnEncoder
from tasks.models.loading import load_tokenizer, model_folder
from tasks.train import TRAIN
from tasks.workers.events import Events, NullListener


class ProgressTimes(NullListener):
    """Listener that records the time of every progress event."""

    def __init__(self) -> None:
        self.events: list[tuple[float, int, int]] = []

    def progress(self, done: int, total: int, note: str = "") -> None:
        self.events.append((time.perf_counter(), done, total))

    def log(self, line: str) -> None:
        print(line, flush=True)

    def after_warm_up(self, warm: int) -> tuple[float, int]:
        """(seconds, steps) from the first event after `warm` steps to the last event; (0, 0) if there is only one."""
        timed = [(at, steps) for at, steps, total in self.events if total and steps >= warm]
        if len(timed) < 2 or timed[0][1] == timed[-1][1]:
            return 0.0, 0
        return timed[-1][0] - timed[0][0], timed[-1][1] - timed[0][1]


def measure(config: dict[str, Any]) -> dict[str, Any]:
    """Do what `do` names: prepare, train, generate or decode."""
    Store.current().check_writable()
    resolved = dag.resolve_recipe(load_recipe(config["recipe"], config["overrides"]))
    return {"prepare": prepare, "train": train, "generate": generate, "decode": decode}[config["do"]](resolved, config)


def run_stage(
    resolved: ResolvedRecipe,
    stage: Stage,
    spec: Record,
    listener: Events | None = None,
    refresh: bool = False,
    **inputs: Manifest,
) -> Manifest:
    """Run one stage, or reuse its artifact."""
    refs = {role: Ref.of_manifest(manifest) for role, manifest in inputs.items()}
    job = Job(
        stage=stage.name,
        variant=None,
        spec=spec,
        inputs=refs,
        run="bench",
        identity=identity(stage, spec, refs),
        runtime=resolved.recipe.runtime,
        refresh=refresh,
    )
    return execute(Store.current(), stage, job, listener or NullListener())[0]


def _downloaded(resolved: ResolvedRecipe) -> Manifest:
    return run_stage(resolved, DOWNLOAD, DownloadSpec(data=resolved.data))


def _formatted(resolved: ResolvedRecipe, rows: str) -> Manifest:
    dataset = _downloaded(resolved)
    overlap = resolved.recipe.data.allow_overlap
    spec = FormatSpec(rows=rows, template=resolved.prompt, allow_overlap=overlap)  # type: ignore[arg-type]
    return run_stage(resolved, FORMAT, spec, dataset=dataset)


def prepare(resolved: ResolvedRecipe, config: dict[str, Any]) -> dict[str, Any]:
    """Write the rows that every system gets: token ids and texts to train on, prompts and references to test with."""
    encoder, settings = TurnEncoder(load_tokenizer(resolved.model), resolved.recipe.model.turns), resolved.recipe.train
    folder = Store.current().payload(_formatted(resolved, "train").path)
    rows = read_table(folder / "train.parquet", FORMATTED_TRAIN)[: settings.limit]
    prompts, completions = [row["prompt"] for row in rows], [row["completion"] for row in rows]
    encoded, _, _ = encoder.rows(prompts, completions, settings.max_length)
    stop = encoder.turns.stop or encoder.tokenizer.eos_token
    train: list[dict[str, Any]] = [
        {
            "ids": ids,
            "prompt_tokens": length,
            "prompt": f"{encoder.turns.opening}{prompt}{encoder.turns.closing}",
            "completion": f"{completion}{stop}",
        }
        for (ids, length), prompt, completion in zip(encoded, prompts, completions, strict=True)
    ]
    folder = Store.current().payload(_formatted(resolved, "eval").path)
    test_rows = read_table(folder / "prompts.parquet", FORMATTED_EVAL)[: resolved.recipe.generate.limit]
    test, _ = encoder.prompts([row["prompt"] for row in test_rows], resolved.recipe.generate.max_prompt_tokens)
    dataset = read_table(Store.current().payload(_downloaded(resolved).path) / "test.parquet", DATASET)
    summaries = {row["id"]: row["references"] for row in dataset}
    references = [summaries[row["id"]] for row in test_rows]
    Path(config["rows"]).write_text(
        json.dumps({"train": train, "test": test, "references": references, "stop_id": encoder.stop_id})
    )
    lengths = [len(row["ids"]) for row in train]
    tokens = sum(lengths)
    return {
        "model": str(model_folder(resolved.model)),
        "tokens": tokens / len(lengths),
        "labelled": sum(len(row["ids"]) - row["prompt_tokens"] for row in train) / tokens,
        "context": sum(length * length for length in lengths) / tokens,
        "rows": len(lengths),
        "prompts": len(test),
        "prompt_tokens": sum(map(len, test)) / max(1, len(test)),
    }


def train(resolved: ResolvedRecipe, config: dict[str, Any]) -> dict[str, Any]:
    """Run the train stage."""
    model, times = resolved.recipe.model, ProgressTimes()
    spec = TrainSpec(
        model=resolved.model, turns=model.turns, quantization=model.quantization, train=resolved.recipe.train
    )
    manifest = run_stage(resolved, TRAIN, spec, times, refresh=True, rows=_formatted(resolved, "train"))
    seconds, steps = times.after_warm_up(config["warm"])
    curve = read_table(Store.current().payload(manifest.path) / "curve.parquet", CURVE)
    return {
        "seconds": seconds,
        "samples": steps * resolved.recipe.train.batch_size,
        "measured": manifest.provenance.measured,
        "stage_seconds": manifest.provenance.seconds,
        "adapter": manifest.id,
        "losses": [row["train_loss"] for row in curve if row["train_loss"] is not None],
    }


def generate(resolved: ResolvedRecipe, config: dict[str, Any]) -> dict[str, Any]:
    """Run the generate stage with the base model."""
    spec = GenerateSpec(model=resolved.model, turns=resolved.recipe.model.turns, generate=resolved.recipe.decoding)
    manifest = run_stage(resolved, GENERATE, spec, refresh=config["refresh"], rows=_formatted(resolved, "eval"))
    measured = manifest.provenance.measured
    return {
        "seconds": measured["generating_seconds"],
        "tokens": measured["tokens"],
        "rows": manifest.rows,
        "device": measured["device"],
        "peak_gib": measured["peak_gib"],
        "stage": measured | {"stage_seconds": manifest.provenance.seconds},
        "digest": manifest.digest,
    }


def decode(resolved: ResolvedRecipe, config: dict[str, Any]) -> dict[str, Any]:
    """Run the generation worker's engine over the test prompts twice: in the second pass, all graphs are captured."""
    import torch

    from tasks.decoding.batching import batch_size, make_batches
    from tasks.decoding.engine import Engine
    from tasks.models.adapter_merging import load_merged_model
    from tasks.models.loading import device_description, pick_device

    settings, device = resolved.recipe.decoding, pick_device(resolved.recipe.runtime.device)
    tokenizer = load_tokenizer(resolved.model)
    encoder = TurnEncoder(tokenizer, resolved.recipe.model.turns)
    folder = Store.current().payload(_formatted(resolved, "eval").path)
    rows = read_table(folder / "prompts.parquet", FORMATTED_EVAL)[: settings.limit]
    prompts, _ = encoder.prompts([row["prompt"] for row in rows], settings.max_prompt_tokens)
    numbered = list(zip([row["id"] for row in rows], prompts, strict=True))
    batches = make_batches(numbered, batch_size(resolved.recipe.runtime, device.type, settings.candidates))
    model = load_merged_model(resolved.model, None, device, settings.quantization)
    engine = Engine(model, tokenizer, encoder.stop_id, settings)
    passes = []
    for _ in range(2):
        engine.stats.tokens, started = 0, time.perf_counter()
        for batch in batches:
            engine.predict(batch)
        passes.append(time.perf_counter() - started)
    cuda = device.type == "cuda"
    return {
        "seconds": passes[1],
        "first_seconds": passes[0],
        "tokens": engine.stats.tokens,
        "rows": len(rows),
        "device": device_description(device),
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if cuda else None,
        "note": f"{len(batches)} batches; first pass {passes[0]:.2f} s, the second is timed",
    }


if __name__ == "__main__":
    child_main(measure)
