"""The stages download and format, run on a folder with data."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from artifacts.artifact_store import Store
from artifacts.manifest import Manifest
from artifacts.record import Record
from artifacts.refs import Ref
from tasks.config import DataConfig, DownloadSpec, FormatSpec
from tasks.download import DOWNLOAD
from tasks.execution.decision import decide
from tasks.execution.executor import execute
from tasks.execution.job import Job
from tasks.execution.stage import Stage
from tasks.format import FORMAT
from tasks.sources.resolve import resolve_data
from tasks.workers.events import NullListener

Row = dict[str, str]


def dialogue_row(name: str, dialogue: str = "", summary: str = "", topic: str = "talk") -> Row:
    dialogue = dialogue or f"#Person1#: This is {name}.\n#Person2#: I see."
    return {"id": name, "dialogue": dialogue, "summary": summary or f"Summary of {name}.", "topic": topic}


def run_and_publish(stage: Stage, spec: Record, **inputs: Manifest) -> Manifest:
    refs = {role: Ref.of_manifest(manifest) for role, manifest in inputs.items()}
    identity = decide(Store.current(), stage, None, spec, refs).identity
    job = Job(stage=stage.name, variant=None, spec=spec, inputs=refs, identity=identity, run="test")
    return execute(Store.current(), stage, job, NullListener())[0]


def downloaded_dataset(folder: Path) -> Manifest:
    return run_and_publish(DOWNLOAD, DownloadSpec(data=resolve_data(DataConfig(source=str(folder)))))


def formatted_split(folder: Path, rows: str, template: str = "Sum up:\n{dialogue}\nNow.", **more: Any) -> Manifest:
    spec = FormatSpec(rows=rows, template=template, **more)  # type: ignore[arg-type]
    return run_and_publish(FORMAT, spec, dataset=downloaded_dataset(folder))


def read_split(manifest: Manifest, split: str) -> list[dict[str, Any]]:
    """Read the Parquet file of a split with pyarrow alone."""
    file = Store.current().payload(manifest.path) / f"{split}.parquet"
    rows: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    return rows
