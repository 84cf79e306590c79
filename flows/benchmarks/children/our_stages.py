"""Our side: the stages as `dialogsum run` calls them, on a recipe with overrides. A child of the benchmarks.

Time is taken from outside, from what a stage tells of its progress: whatever does the work inside, it is timed alike.
"""

import json
import time
from pathlib import Path
from typing import Any

from artifacts.artifact_store import Store
from artifacts.manifest import Manifest, Record
from artifacts.refs import Ref
from artifacts.schemas import CURVE, DATASET, FORMATTED_EVAL, FORMATTED_TRAIN, read_table
from flows import dag
from flows.benchmarks.child_process import be_child
from flows.dag import Setup
from flows.recipe import load_recipe
from tasks.config import DownloadSpec, FormatSpec, GenerateSpec, TrainSpec
from tasks.download import DOWNLOAD
from tasks.execution.stage import Job, Stage, identity, perform
from tasks.format import FORMAT
from tasks.generate import GENERATE
from tasks.models.chat_template import TurnEncoder
from tasks.models.loading import load_tokenizer, model_folder
from tasks.train import TRAIN
from tasks.workers.events import NullListener


class Stamps(NullListener):
    """When how much was done."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, int, int]] = []

    def progress(self, done: int, total: int, note: str = "") -> None:
        self.seen.append((time.perf_counter(), done, total))

    def log(self, line: str) -> None:
        print(line, flush=True)

    def steady(self, warm: int) -> tuple[float, int]:
        """(seconds, units) from the first word after `warm` units to the last."""
        counted = [(at, done) for at, done, total in self.seen if total and done >= warm]
        if len(counted) < 2 or counted[0][1] == counted[-1][1]:
            return 0.0, 0
        return counted[-1][0] - counted[0][0], counted[-1][1] - counted[0][1]


def work(config: dict[str, Any]) -> dict[str, Any]:
    """`do`: prepare, train, generate or decode."""
    Store.current().check_writable()
    setup = dag.set_up(load_recipe(config["recipe"], config["overrides"]))
    return {"prepare": prepare, "train": train, "generate": generate, "decode": decode}[config["do"]](setup, config)


def made(
    setup: Setup, stage: Stage, spec: Record, listener: Stamps | None = None, refresh: bool = False, **inputs: Manifest
) -> Manifest:
    """Run one stage, or find what it made before."""
    refs = {role: Ref.of_manifest(manifest) for role, manifest in inputs.items()}
    job = Job(
        stage=stage.name, of=None, spec=spec.model_dump(mode="json"), inputs=refs, run="bench",
        identity=identity(stage, None, spec, refs), runtime=setup.recipe.runtime, refresh=refresh,
    )  # fmt: skip
    return perform(stage, job, listener or NullListener())[0]


def _downloaded(setup: Setup) -> Manifest:
    return made(setup, DOWNLOAD, DownloadSpec(data=setup.data))


def _formatted(setup: Setup, rows: str) -> Manifest:
    dataset = _downloaded(setup)
    spec = FormatSpec(rows=rows, template=setup.prompt, allow_overlap=setup.recipe.data.allow_overlap)  # type: ignore[arg-type]
    return made(setup, FORMAT, spec, dataset=dataset)


def prepare(setup: Setup, config: dict[str, Any]) -> dict[str, Any]:
    """The rows as our stages see them, for everybody: ids and texts to train on; prompts and references of the test rows."""
    encoder, settings = TurnEncoder(load_tokenizer(setup.model), setup.recipe.model.turns), setup.recipe.train
    folder = Store.current().payload(_formatted(setup, "train").path)
    rows = read_table(folder / "train.parquet", FORMATTED_TRAIN)[: settings.limit]
    prompts, completions = [row["prompt"] for row in rows], [row["completion"] for row in rows]
    encoded, _, _ = encoder.rows(prompts, completions, settings.max_length)
    stop = encoder.turns.stop or encoder.tokenizer.eos_token
    train: list[dict[str, Any]] = [
        {"ids": ids, "prompt_tokens": length, "prompt": f"{encoder.turns.opening}{prompt}{encoder.turns.closing}", "completion": f"{said}{stop}"}
        for (ids, length), prompt, said in zip(encoded, prompts, completions, strict=True)
    ]  # fmt: skip
    folder = Store.current().payload(_formatted(setup, "eval").path)
    asked = read_table(folder / "test.parquet", FORMATTED_EVAL)[: setup.recipe.generate.limit]
    test, _ = encoder.prompts([row["prompt"] for row in asked], setup.recipe.generate.max_prompt_tokens)
    dataset = read_table(Store.current().payload(_downloaded(setup).path) / "test.parquet", DATASET)
    summaries = {row["id"]: row["references"] for row in dataset}
    references = [summaries[row["id"]] for row in asked]
    Path(config["rows"]).write_text(
        json.dumps({"train": train, "test": test, "references": references, "stop_id": encoder.stop_id})
    )
    lengths = [len(row["ids"]) for row in train]
    tokens = sum(lengths)
    return {
        "model": str(model_folder(setup.model)),
        "tokens": tokens / len(lengths),
        "labelled": sum(len(row["ids"]) - row["prompt_tokens"] for row in train) / tokens,
        "context": sum(length * length for length in lengths) / tokens,
        "rows": len(lengths),
        "prompts": len(test),
        "prompt_tokens": sum(map(len, test)) / max(1, len(test)),
    }


def train(setup: Setup, config: dict[str, Any]) -> dict[str, Any]:
    """The train stage."""
    model, stamps = setup.recipe.model, Stamps()
    spec = TrainSpec(model=setup.model, turns=model.turns, quantization=model.quantization, train=setup.recipe.train)
    manifest = made(setup, TRAIN, spec, stamps, refresh=True, rows=_formatted(setup, "train"))
    seconds, steps = stamps.steady(config["warm"])
    curve = read_table(Store.current().payload(manifest.path) / "curve.parquet", CURVE)
    return {
        "seconds": seconds,
        "samples": steps * setup.recipe.train.batch_size,
        "measured": manifest.made.measured,
        "stage_seconds": manifest.made.seconds,
        "losses": [row["train_loss"] for row in curve if row["train_loss"] is not None],
    }


def generate(setup: Setup, config: dict[str, Any]) -> dict[str, Any]:
    """The generate stage, base model."""
    spec = GenerateSpec(model=setup.model, turns=setup.recipe.model.turns, generate=setup.recipe.generate)
    manifest = made(setup, GENERATE, spec, refresh=config["refresh"], rows=_formatted(setup, "eval"))
    measured = manifest.made.measured
    return {
        "seconds": measured["generating_seconds"],
        "tokens": measured["tokens"],
        "rows": manifest.rows,
        "device": measured["device"],
        "peak_gib": measured["peak_gib"],
        "stage": measured | {"stage_seconds": manifest.made.seconds},
        "digest": manifest.digest,
    }


def decode(setup: Setup, config: dict[str, Any]) -> dict[str, Any]:
    """The generation worker's decoder over the test prompts, twice: the second pass has nothing to record any more."""
    import torch

    from tasks.decoding.batching import batch_size, deal
    from tasks.decoding.engine import Engine
    from tasks.models.adapter_merging import load_merged_model
    from tasks.models.loading import device_description, pick_device

    wanted, device = setup.recipe.generate, pick_device(setup.recipe.runtime.device)
    tokenizer = load_tokenizer(setup.model)
    encoder = TurnEncoder(tokenizer, setup.recipe.model.turns)
    folder = Store.current().payload(_formatted(setup, "eval").path)
    rows = read_table(folder / "test.parquet", FORMATTED_EVAL)[: wanted.limit]
    prompts, _ = encoder.prompts([row["prompt"] for row in rows], wanted.max_prompt_tokens)
    batches = deal(list(zip([row["id"] for row in rows], prompts, strict=True)), batch_size(setup.recipe.runtime, device.type))  # fmt: skip
    engine = Engine(load_merged_model(setup.model, None, device), tokenizer, encoder.stop_id, wanted)
    passes = []
    for _ in range(2):
        engine.spent["tokens"], started = 0.0, time.perf_counter()
        for batch in batches:
            engine.predict(batch)
        passes.append(time.perf_counter() - started)
    cuda = device.type == "cuda"
    return {
        "seconds": passes[1], "first_seconds": passes[0], "tokens": engine.spent["tokens"], "rows": len(rows),
        "device": device_description(device),
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if cuda else None,
        "note": f"{len(batches)} batches; first pass {passes[0]:.2f} s, second counts",
    }  # fmt: skip


if __name__ == "__main__":
    be_child(work)
