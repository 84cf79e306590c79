"""bench load: seconds and peak memory of commands over many artifacts, and of stages over many rows.

The store and the dataset are generated in a temporary folder. Manifests are as large as real ones; payloads are not.
"""

import csv
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from artifacts.artifact_store import Store
from artifacts.cache_key import sha256
from artifacts.code_fingerprint import ROOT
from artifacts.manifest import Manifest, Provenance
from artifacts.refs import Ref
from artifacts.schemas import DATASET, PREDICTIONS, read_table, write_table
from artifacts.timestamps import timestamp_now
from tasks.config import (
    DataConfig,
    DownloadSpec,
    FormatSpec,
    GateConfig,
    GenerateConfig,
    PromoteSpec,
    ReportConfig,
    ReportSpec,
    Runtime,
    ScoreSpec,
)
from tasks.download import COLUMNS
from tasks.execution.decision import identity
from tasks.execution.executor import execute
from tasks.execution.job import Job
from tasks.registry import STAGES
from tasks.sources.resolve import SAMPLE, resolve_data
from tasks.workers.events import NullListener

COMMANDS = (("plan", "quickstart"), ("show",), ("store",), ("history", "quickstart"), ("gc",))
Row = dict[str, Any]


def bench_load(artifacts: int, rows: int) -> tuple[list[Row], str]:
    """Returns a row for each command and stage, and a remark."""
    with TemporaryDirectory() as folder, _store(Path(folder) / "store"):
        table = _time_commands(artifacts) + _time_stages(Path(folder), rows)
    size = f"{artifacts:,} artifacts, {rows:,} rows, {os.cpu_count()} cores"
    return table, f"{size}; peak_mib is the peak memory of this process so far"


@contextmanager
def _store(folder: Path) -> Iterator[None]:
    previous = os.environ.get("DIALOGSUM_STORE")
    os.environ["DIALOGSUM_STORE"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("DIALOGSUM_STORE")
        if previous is not None:
            os.environ["DIALOGSUM_STORE"] = previous


def _publish(
    stage: str, contents: dict[str, Any], write: Callable[[Path], object], rows: int = 1, variant: str | None = None
) -> Manifest:
    """Publish an artifact with this identity. write: called with the folder for its payload."""
    store, key = Store.current(), sha256(contents)
    with store.lock(stage, key) as scratch:
        out = scratch / "out"
        out.mkdir()
        write(out)
        provenance = Provenance(at=timestamp_now(), seconds=1.0, run="load")
        manifest = store.publish(
            out,
            stage=stage,
            variant=variant,
            name="load",
            key=key,
            rows=rows,
            identity=contents,
            inputs={},
            facts={},
            provenance=provenance,
        )
        shutil.rmtree(scratch, ignore_errors=True)
    return manifest


def _time_commands(artifacts: int) -> list[Row]:
    """Time commands over a full store, less the time that they take over an empty one."""
    empty = {command: _seconds(*command) for command in COMMANDS}
    variants: dict[str, tuple[str | None, ...]] = {"format": ("train", "eval"), "generate": ("base", "tuned")}
    names = ["download", "format", "train", "generate"]  # the inputs of an evaluation would have to exist
    codes = {name: STAGES[name].code() for name in names}
    started = time.perf_counter()
    for i in range(artifacts):
        stage = names[i % len(names)]
        variant = variants.get(stage, (None, None))[i // len(names) % 2]
        contents = {"stage": stage, "version": 1, "code": codes[stage], "packages": {}, "inputs": {}}
        _publish(stage, contents | {"config": {"variant": i}}, partial(_write_number, i), variant=variant)
    rows = [_timed(f"publish {artifacts:,} artifacts", time.perf_counter() - started)]
    for command in COMMANDS:
        seconds = _seconds(*command) - empty[command]
        name = f"{' '.join(command)}, beyond the {empty[command]:.2f} s over an empty store"
        rows.append({"what": name, "seconds": round(seconds, 2), "peak_mib": None})
    return rows


def _write_number(number: int, out: Path) -> None:
    (out / "file.json").write_text(f'{{"variant": {number}}}')


def _timed(what: str, seconds: float) -> Row:
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"what": what, "seconds": round(seconds, 2), "peak_mib": peak_kib // 1024}


def _seconds(*command: str) -> float:
    started = time.perf_counter()
    arguments = [sys.executable, "-m", "flows.cli", *command]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(arguments, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - started


def _time_stages(folder: Path, rows: int) -> list[Row]:
    """Time every stage that needs no GPU. The rows are the sample's dialogues, repeated with a different last turn."""
    data, table = folder / "data", list[Row]()
    for split, count in (("train", rows - 2 * (rows // 20)), ("validation", rows // 20), ("test", rows // 20)):
        _write_split(data / f"{split}.csv", split, count)

    def step(name: str, variant: str | None, spec: Any, **inputs: Manifest) -> Manifest:
        refs, stage = {role: Ref.of_manifest(manifest) for role, manifest in inputs.items()}, STAGES[name]
        job = Job(
            stage=name,
            variant=variant,
            spec=spec,
            inputs=refs,
            identity=identity(stage, spec, refs),
            run="load",
            runtime=Runtime(device="cpu"),
        )
        started = time.perf_counter()
        manifest, _ = execute(Store.current(), stage, job, NullListener())
        label = " ".join(filter(None, [name, variant]))
        table.append(_timed(f"{label}, {manifest.rows:,} rows", time.perf_counter() - started))
        return manifest

    dataset = step("download", None, DownloadSpec(data=resolve_data(DataConfig(source=str(data)))))
    template = "Summarize.\n\n{dialogue}"
    step("format", "train", FormatSpec(rows="train", template=template), dataset=dataset)
    prompts = step("format", "eval", FormatSpec(rows="eval", template=template), dataset=dataset)
    test = read_table(Store.current().payload(dataset.path) / "test.parquet", DATASET)
    base, tuned = (_predictions(test, words) for words in (20, 12))
    scores = step("score", None, ScoreSpec(), dataset=dataset, base=base, tuned=tuned)
    step("promote", None, PromoteSpec(gate=GateConfig()), scores=scores)
    base_scores = step("score", "base", ScoreSpec(), dataset=dataset, base=base)
    spec = ReportSpec(report=ReportConfig())
    step("report", None, spec, dataset=dataset, prompts=prompts, scores=base_scores, base=base)
    return table


def _predictions(test: list[dict[str, Any]], words: int) -> Manifest:
    """Predictions that are the first words of each dialogue."""
    rows = [
        {
            "id": row["id"],
            "prediction": " ".join(row["dialogue"].split()[:words]),
            "tokens": words,
            "stop": "stop_token",
        }
        for row in test
    ]
    config = {"generate": GenerateConfig().model_dump(mode="json"), "turns": "none", "words": words}
    write = partial(write_table, rows, PREDICTIONS)
    return _publish("generate", {"config": config}, lambda out: write(out / "predictions.parquet"), len(rows))


def _write_split(file: Path, split: str, count: int) -> None:
    with (SAMPLE / f"{split}.csv").open(newline="", encoding="utf-8") as source:
        sample = list(csv.DictReader(source))
    file.parent.mkdir(exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as target:
        writer = csv.writer(target)
        writer.writerow(COLUMNS)
        for i in range(count):
            row = sample[i % len(sample)]
            dialogue = f"{row['dialogue']}\n#Person1#: That was number {i} of {split}."
            writer.writerow([f"{split}_{i}", dialogue, row["summary"], row["topic"]])
