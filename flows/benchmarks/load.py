"""bench load: what many artifacts and many rows cost: seconds of each command and stage, and the most memory so far.

The store and the dataset are made for it in a temporary folder. Manifests are as large as real ones; payloads are not.
"""

import csv
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from artifacts.artifact_store import Store, now
from artifacts.cache_key import sha256
from artifacts.code_fingerprint import ROOT
from artifacts.manifest import Made, Manifest
from artifacts.refs import Ref
from artifacts.schemas import DATASET, PREDICTIONS, read_table, write_table
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
    ScoreConfig,
)
from tasks.download import COLUMNS
from tasks.execution.stage import Job, identity, perform
from tasks.registry import STAGES
from tasks.sources.resolve import SAMPLE, resolve_data
from tasks.workers.events import NullListener

COMMANDS = (("plan", "quickstart"), ("show",), ("store",), ("history", "quickstart"), ("gc",))
Row = dict[str, Any]


def bench_load(artifacts: int, rows: int) -> tuple[list[Row], str]:
    """The table, and a remark."""
    with TemporaryDirectory() as folder, _store(Path(folder) / "store"):
        table = _over_a_store(artifacts) + _over_rows(Path(folder), rows)
    return (
        table,
        f"{artifacts:,} artifacts, {rows:,} rows, {os.cpu_count()} cores; memory is this process's, the most so far",
    )


@contextmanager
def _store(place: Path) -> Iterator[None]:
    before = os.environ.get("DIALOGSUM_STORE")
    os.environ["DIALOGSUM_STORE"] = str(place)
    try:
        yield
    finally:
        os.environ.pop("DIALOGSUM_STORE")
        if before is not None:
            os.environ["DIALOGSUM_STORE"] = before


def _publish(stage: str, made: dict[str, Any], write: Any, rows: int = 1, of: str | None = None) -> Manifest:
    """An artifact of which only the manifest matters."""
    store, key = Store.current(), sha256(made)
    with store.alone(stage, key) as scratch:
        out = scratch / "out"
        out.mkdir()
        write(out)
        manifest = store.publish(
            out, stage=stage, of=of, name="load", key=key, rows=rows, identity=made, inputs={}, facts={},
            made=Made(at=now(), seconds=1.0, run="load"),
        )  # fmt: skip
        shutil.rmtree(scratch, ignore_errors=True)
    return manifest


def _over_a_store(artifacts: int) -> list[Row]:
    """Commands over an empty store and over a full one: start-up is in both."""
    empty = {command: _seconds(*command) for command in COMMANDS}
    names = ["download", "format", "train", "generate"]  # what evaluations point to would have to be there
    codes = {name: STAGES[name].code() for name in names}
    started = time.perf_counter()
    for i in range(artifacts):
        stage = names[i % len(names)]
        of = {"format": ("train", "eval"), "generate": ("base", "tuned")}.get(stage, (None, None))[i // len(names) % 2]
        made = {
            "stage": stage,
            "version": 1,
            "code": codes[stage],
            "packages": {},
            "config": {"variant": i},
            "inputs": {},
        }
        _publish(stage, made, lambda out, i=i: (out / "file.json").write_text(f'{{"variant": {i}}}'), of=of)
    found: list[Row] = [
        {
            "what": f"publish {artifacts:,} artifacts",
            "seconds": round(time.perf_counter() - started, 2),
            "peak_mib": _peak(),
        }
    ]
    for command in COMMANDS:
        full = _seconds(*command)
        said = f"{' '.join(command)}, beyond the {empty[command]:.2f} s over an empty store"
        found.append({"what": said, "seconds": round(full - empty[command], 2), "peak_mib": None})
    return found


def _seconds(*command: str) -> float:
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "flows.cli", *command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return time.perf_counter() - started


def _over_rows(folder: Path, rows: int) -> list[Row]:
    """The sample's dialogues again and again, each a little different, through every stage that needs no GPU."""
    data, found = folder / "data", list[Row]()
    for split, count in (("train", rows - 2 * (rows // 20)), ("validation", rows // 20), ("test", rows // 20)):
        _write(data / f"{split}.csv", split, count)

    def step(name: str, of: str | None, spec: Any, **inputs: Manifest) -> Manifest:
        refs = {role: Ref.of_manifest(manifest) for role, manifest in inputs.items()}
        job = Job(
            stage=name, of=of, spec=spec.model_dump(mode="json"), inputs=refs, identity=identity(STAGES[name], of, spec, refs),
            run="load", runtime=Runtime(device="cpu"),
        )  # fmt: skip
        started = time.perf_counter()
        manifest, _ = perform(STAGES[name], job, NullListener())
        what = " ".join(filter(None, [name, of]))
        found.append(
            {
                "what": f"{what}, {manifest.rows:,} rows",
                "seconds": round(time.perf_counter() - started, 2),
                "peak_mib": _peak(),
            }
        )
        return manifest

    dataset = step("download", None, DownloadSpec(data=resolve_data(DataConfig(source=str(data)))))
    template = "Summarize.\n\n{dialogue}"
    step("format", "train", FormatSpec(rows="train", template=template), dataset=dataset)
    prompts = step("format", "eval", FormatSpec(rows="eval", template=template), dataset=dataset)
    test = read_table(Store.current().payload(dataset.path) / "test.parquet", DATASET)
    base, tuned = (_predictions(test, words) for words in (20, 12))
    scores = step("score", None, ScoreConfig(), dataset=dataset, base=base, tuned=tuned)
    step("promote", None, PromoteSpec(gate=GateConfig()), scores=scores)
    alone = step("score", "base", ScoreConfig(), dataset=dataset, base=base)
    step("report", None, ReportSpec(report=ReportConfig()), dataset=dataset, prompts=prompts, scores=alone, base=base)
    return found


def _predictions(test: list[dict[str, Any]], words: int) -> Manifest:
    """The first words of each dialogue."""
    said = [
        {
            "id": row["id"],
            "prediction": " ".join(row["dialogue"].split()[:words]),
            "tokens": words,
            "stop": "stop_token",
        }
        for row in test
    ]
    return _publish(
        "generate",
        {"config": {"generate": GenerateConfig().model_dump(mode="json"), "turns": "none", "words": words}},
        lambda out: write_table(said, PREDICTIONS, out / "predictions.parquet"),
        len(said),
    )


def _write(file: Path, split: str, count: int) -> None:
    with (SAMPLE / f"{split}.csv").open(newline="", encoding="utf-8") as source:
        sample = list(csv.DictReader(source))
    file.parent.mkdir(exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as target:
        writer = csv.writer(target)
        writer.writerow(COLUMNS)
        for i in range(count):
            row = sample[i % len(sample)]
            writer.writerow(
                [
                    f"{split}_{i}",
                    f"{row['dialogue']}\n#Person1#: That was number {i} of {split}.",
                    row["summary"],
                    row["topic"],
                ]
            )


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
