"""The log of a job that grows: each line once, halves never, and an error only of the last start."""

from pathlib import Path

import pytest

from artifacts.errors import RequestError, StageError
from flows.slurm.job_log import JobLog
from tasks.workers.events import EVENT_PREFIX, JsonLinesEvents, NullListener, emit


class Recorder(NullListener):
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.points: list[tuple[int, dict[str, float]]] = []
        self.progressed: list[tuple[int, int, str]] = []

    def log(self, line: str) -> None:
        self.lines.append(line)

    def metrics(self, step: int, values: dict[str, float]) -> None:
        self.points.append((step, values))

    def progress(self, done: int, total: int, note: str = "") -> None:
        self.progressed.append((done, total, note))


@pytest.fixture
def log(tmp_path: Path) -> JobLog:
    return JobLog(tmp_path / "7.log", Recorder())


def append(log: JobLog, text: str) -> None:
    with log.file.open("a") as file:
        file.write(text)
    log.read_new()


def test_what_a_process_reports_arrives_once_and_in_order(log: JobLog, capsys: pytest.CaptureFixture[str]) -> None:
    """Written by the workers' own code; read in pieces that end anywhere."""
    events = JsonLinesEvents()
    events.log("one")
    events.progress(3, 9, "loss 1")
    events.metrics(3, {"train_loss": 1.5})
    emit("result", result={})
    text = "slurmstepd: error: a line of Slurm\n" + capsys.readouterr().out
    for start in range(0, len(text), 7):
        append(log, text[start : start + 7])
    recorder = log.events
    assert isinstance(recorder, Recorder)
    assert recorder.lines == ["slurmstepd: error: a line of Slurm", "one"]
    assert recorder.progressed == [(3, 9, "loss 1")]
    assert recorder.points == [(3, {"train_loss": 1.5})]
    assert (log.completed, log.finished, log.error) == (3, True, None)


@pytest.mark.parametrize(("kind", "expected"), [("request", RequestError), ("stage", StageError)])
def test_an_error_counts_until_the_job_starts_again(log: JobLog, kind: str, expected: type[Exception]) -> None:
    """Slurm appends the log of a requeued job."""
    append(log, f'{EVENT_PREFIX}{{"event": "error", "kind": "{kind}", "message": "why"}}\n')
    assert isinstance(log.error, expected)
    assert str(log.error) == "why"
    append(log, f'{EVENT_PREFIX}{{"event": "start"}}\n')
    assert (log.error, log.ended) == (None, False)


def test_a_missing_file_and_a_torn_event_end_nothing(log: JobLog) -> None:
    """A shared folder shows files late; a killed process leaves half an event."""
    log.read_new()
    append(log, f'{EVENT_PREFIX}{{"event": "prog\n')
    assert log.last_line.startswith(EVENT_PREFIX)
    assert (log.completed, log.ended) == (0, False)
