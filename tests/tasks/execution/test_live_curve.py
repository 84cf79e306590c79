"""The curve of a training on another machine: the parent run gets every point, and the training never waits."""

import threading
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from tasks.execution.job import Job
from tasks.execution.live_curve import LiveCurveReader, LiveCurveWriter
from tasks.execution.sharding import parts_folder
from tests.support.artifacts import JOB


def names(store: Store, job: Job) -> list[str]:
    return store.side_files.names(*parts_folder(job))


def test_a_reader_gets_each_point_once_and_again_when_it_gains_a_column(store: Store) -> None:
    """The validation loss of a step comes after its training loss; nothing is left when the training has ended."""
    reader = LiveCurveReader(store, JOB)
    assert reader.new_points() == {}
    with LiveCurveWriter(store, JOB) as writer:
        writer.metrics(1, {"train_loss": 3.0})
        written(writer)
        assert reader.new_points() == {1: {"train_loss": 3.0}}
        assert reader.new_points() == {}
        writer.metrics(1, {"validation_loss": 2.5})
        written(writer)
        assert reader.new_points() == {1: {"train_loss": 3.0, "validation_loss": 2.5}}
    assert names(store, JOB) == []
    assert reader.new_points() == {}


def test_a_store_that_hangs_or_refuses_does_not_hold_up_the_training(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Points that come while a write is going on are in the next one."""
    release, calls = threading.Event(), list[bytes]()
    really_write = store.side_files.write

    def write(content: bytes, *parts: str) -> None:
        calls.append(content)
        assert release.wait(60)
        really_write(content, *parts)
        raise OSError("the disk is full")

    monkeypatch.setattr(store.side_files, "write", write)
    with LiveCurveWriter(store, JOB) as writer:
        for step in range(1, 101):
            writer.metrics(step, {"validation_loss": 1 / step})
        assert len(calls) == 1  # the thread is still in it
        release.set()
        written(writer)
        writer.metrics(101, {"validation_loss": 0.0})
        written(writer)
        assert set(LiveCurveReader(store, JOB).new_points()) == set(range(1, 102))


def test_a_damaged_file_is_read_as_empty(store: Store) -> None:
    store.side_files.write(b'{"1": {"train_l', *parts_folder(JOB), "curve.json")
    assert LiveCurveReader(store, JOB).new_points() == {}


def written(writer: Any) -> None:
    writer.writing.join(60)
    assert not writer.writing.is_alive()


def test_the_file_is_removed_with_the_parts_if_the_process_was_killed(store: Store) -> None:
    """`gc` removes parts; a curve that a killed process left is one of them."""
    writer = LiveCurveWriter(store, JOB)
    writer.metrics(1, {"train_loss": 1.0})
    written(writer)
    assert [path.parent.name for path in Path(store.root.path).glob("parts/*/curve.json")] == [f"train-{JOB.key}"]
