"""Artifacts built from rows, and plain stage functions called on them."""

import json
import shutil
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from artifacts.artifact_store import Store
from artifacts.cache_key import Identity
from artifacts.manifest import InputRef, Manifest, Provenance
from artifacts.schemas import DATASET, PREDICTIONS, write_table
from artifacts.timestamps import timestamp_ago
from tasks.config import Runtime, ScoreSpec
from tasks.execution.job import Job
from tasks.execution.stage import Artifact, Context
from tasks.metrics.score_table import System
from tasks.workers.events import NullListener


class ArtifactFactory:
    """Builds artifacts from rows, and contexts in which stage functions can be called."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store, self.count = folder, store, 0

    def context(self) -> Context:
        self.count += 1
        out, work = self.folder / f"stage{self.count}" / "out", self.folder / f"stage{self.count}" / "work"
        out.mkdir(parents=True)
        work.mkdir()
        return Context(out, work, Runtime(), NullListener())

    def artifact(self, stage: str, table: str, rows: list[dict[str, Any]], schema: Any) -> Artifact:
        """Publish an artifact that holds one table."""
        out = self.context().out
        write_table(rows, schema, out / f"{table}.parquet")
        manifest = self.store.publish(
            out,
            stage=stage,
            variant=None,
            name="made",
            key=f"{self.count:08x}",
            rows=len(rows),
            identity={},
            inputs={},
            facts={},
            provenance=Provenance(at="2026-01-01T00:00:00", seconds=0, run="test"),
        )
        return Artifact(self.store.payload(manifest.path), manifest)

    def dataset(
        self, references: list[list[str]], dialogues: list[str] | None = None, topics: list[list[str]] | None = None
    ) -> Artifact:
        rows = [
            {
                "id": f"test_{i}",
                "dialogue": dialogues[i] if dialogues else f"#Person1#: {i}",
                "references": texts,
                "topics": topics[i] if topics else [""] * len(texts),
            }
            for i, texts in enumerate(references)
        ]
        return self.artifact("download", "test", rows, DATASET)

    def predictions(self, texts: list[str], cut: Collection[int] = ()) -> Artifact:
        """Predictions, one per dialogue; those of the rows in `cut` ended at the token limit."""
        rows = [
            {"id": f"test_{i}", "prediction": text, "tokens": 1, "stop": "limit" if i in cut else "stop_token"}
            for i, text in enumerate(texts)
        ]
        return self.artifact("generate", "predictions", rows, PREDICTIONS)

    def score(self, dataset: Artifact, *systems: Artifact, **settings: int | str) -> tuple[dict[str, Any], Path]:
        """Score base and, if given, tuned, champion and before: the content of scores.json, and its folder."""
        from tasks.score import score

        context = self.context()
        outputs = dict(zip((System.BASE, System.TUNED, System.CHAMPION, System.PREVIOUS), systems, strict=False))
        score(ScoreSpec.model_validate({"bootstrap_resamples": 1000} | settings), context, dataset, **outputs)
        return json.loads((context.out / "scores.json").read_text()), context.out


JOB = Job(
    stage="train",
    variant=None,
    spec=Runtime(),
    inputs={},
    run="test",
    identity=Identity(stage="train", version=1, code={}, packages={}, config={}, inputs={}),
)
"""A job of which only the key matters."""
KEY = "1a2b3c4d" * 8


FILES = {"a.bin": bytes(range(256)) * 4, "b.json": b"{}", "c": b"\n"}


def publish_small_artifact(store: Store, files: dict[str, bytes] = FILES, key: str = KEY) -> Manifest:
    """Publish a small artifact whose manifest has every kind of value that real ones have."""
    with store.lock("train", key) as scratch:
        out = scratch / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        for name, content in files.items():
            (out / name).write_bytes(content)
        return store.publish(
            out,
            stage="train",
            variant=None,
            name="tiny model r4",
            key=key,
            rows=3,
            inputs={},
            facts={"loss": 1.5, "no": None},
            identity={"config": {"rate": 2e-05, "text": "{dialogue}\n“é”"}},
            provenance=Provenance(
                at="2026-01-05T06:00:00.000000+00:00", seconds=12.345, run="r", origin={"model": "tiny"}
            ),
        )


def manifest_with_facts(facts: dict[str, Any], stage: str = "train", **inputs: str) -> Manifest:
    return Manifest(
        id=f"{stage}-1a2b3c4d",
        stage=stage,
        variant="tuned",
        key="1a2b3c4d" * 8,
        digest="",
        path=f"3_{stage}/tiny-model_1a2b3c4d",
        rows=12460,
        identity={},
        inputs={role: InputRef(id=name, digest="") for role, name in inputs.items()},
        files={},
        facts=facts,
        provenance=Provenance(
            at="2026-01-05T06:07:08",
            seconds=1.26,
            run="r",
            origin={"recipe": "quickstart 0abc"},
            measured={"device": "CPU, 2 threads"},
        ),
    )


def publish_aged(store: Store, folder: Path, number: int, days: float) -> str:
    """Publish an adapter of `number` bytes that was made some days ago; returns its id."""
    folder.mkdir()
    (folder / "payload").write_bytes(b"x" * number)
    at = timestamp_ago(datetime.now(UTC), timedelta(days=days))
    return store.publish(
        folder,
        stage="train",
        variant=None,
        name="made",
        key=f"{number:08x}" * 8,
        rows=1,
        identity={},
        inputs={},
        facts={},
        provenance=Provenance(at=at, seconds=0, run="test"),
    ).id
