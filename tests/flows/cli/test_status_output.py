"""`dialogsum status` in a terminal of 80 columns: what is wrong comes first, and commands can be copied."""

import pytest

from flows.cli.status_output import status_text
from flows.station.status_records import ChampionInForce, Disk, Failure, GpuSlot, Pool, Process, Run, Schedule, Server
from flows.station.status_records import Status as Record

LAST = Run(
    id="1",
    name="retrain smollm2-135m",
    deployment="retrain/retrain",
    state="Completed",
    at="2026-11-23T02:12:40+00:00",
    message="nothing changed: all 9 stages reused",
    url="http://127.0.0.1:4200/runs/flow-run/1",
)
FAILURE = Failure(
    **LAST.model_copy(
        update={"state": "Failed", "name": "a failed one", "message": "no memory: " + "x " * 80}
    ).model_dump(),
    remedy="mend what the message names, then start it again with `prefect deployment run retrain/retrain`",
    succeeded_since=False,
)


def record(*problems: str, **server: object) -> Record:
    known = {
        "url": "http://127.0.0.1:4200/api",
        "answers": True,
        "schedules": (
            Schedule(
                deployment="retrain/retrain",
                rule="'0 3 * * 1' Europe/Berlin",
                timezone="Europe/Berlin",
                active=True,
                next_run="2026-11-30T02:00:00+00:00",
                last_run=LAST,
            ),
        ),
        "pools": (
            Pool(name="cpu-pool", paused=False, workers=("cpu-worker",), waiting=2, running=1),
            Pool(name="gpu-pool", paused=True, workers=(), waiting=0, running=0),
        ),
        "gpu": (GpuSlot(name="gpu", slots=1, taken=1, held_by=("train llama",)),),
        "last_failure": FAILURE,
    }
    return Record(
        ok=not problems,
        at="2026-11-28T10:35:00+00:00",
        problems=problems,
        notes=(),
        store="/data/store",
        champions=(
            ChampionInForce(base_model="0603de604550", adapter="train-47b1d8e3", since="2026-11-23T02:12:00+00:00"),
        ),
        disks=(Disk(holds="store", folder="/data/store", free_bytes=46 * 10**9, total_bytes=271 * 10**9),),
        station="/home/me/.station",
        processes=(Process(name="server", pid=1, log="/home/me/.station/server.log"),),
        server=Server.model_validate(known | server),
    )


def row(text: str, label: str) -> str:
    """A row with its continuation lines, as one line."""
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if line.strip().startswith(label))
    rest = lines[start + 1 :]
    end = next((n for n, line in enumerate(rest) if not line.startswith(" " * 11)), len(rest))
    return " ".join(" ".join(lines[start : start + 1 + end]).split())


def test_the_verdict_comes_first_then_the_problems_then_the_facts() -> None:
    wrong = "gpu-worker is dead (/home/me/.station/gpu-worker.log): `dialogsum station up` starts it again"
    text = status_text(record(wrong), width=80)
    lines = text.splitlines()
    assert lines[0] == "1 problem, 2026-11-28 10:35 UTC"
    assert " ".join(" ".join(lines[1:3]).split()) == f"- {wrong}"
    assert lines[3] == ""
    assert status_text(record(), width=80).splitlines()[0] == "OK: no problems, 2026-11-28 10:35 UTC"


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    text = status_text(record("x " * 200, "y " * 50), width=width)
    assert max(map(len, text.splitlines())) <= width


def test_each_question_of_an_operator_has_its_row() -> None:
    """Last and next run in the schedule's time zone, queue, workers, GPU, failure with its remedy, champion, disk."""
    text = status_text(record(), width=80)
    assert row(text, "last run") == "last run Completed 2026-11-23 02:12 UTC: nothing changed: all 9 stages reused"
    assert row(text, "next run") == "next run Mon 2026-11-30 03:00 Europe/Berlin"
    assert row(text, "queue") == "queue cpu-pool: 2 waiting, 1 running; gpu-pool: 0 waiting, 0 running, PAUSED"
    assert row(text, "workers") == "workers cpu-pool: cpu-worker; gpu-pool: none"
    assert row(text, "GPU") == "GPU gpu: taken by train llama"
    assert "no memory" in row(text, "failure")
    assert "`prefect deployment run retrain/retrain`" in row(text, "remedy")
    assert row(text, "champion") == "champion train-47b1d8e3 since 2026-11-23 02:12 UTC (base model 0603de604550)"
    assert row(text, "disk") == "disk 46 of 271 GB free for store (/data/store)"


def test_a_failure_that_is_a_problem_or_is_over_is_not_told_twice() -> None:
    over = FAILURE.model_copy(update={"succeeded_since": True})
    for text in (
        status_text(record("the last run of retrain/retrain, a failed one, failed: no memory"), width=80),
        status_text(record(last_failure=over), width=80),
    ):
        assert text.count("no memory") <= 1
        assert "remedy" not in text
        assert FAILURE.url in text


def test_without_a_server_the_store_is_shown_and_the_reason_given() -> None:
    text = status_text(record().model_copy(update={"server": None}), width=80)
    assert "no station runs on this machine" in row(text, "server")
    assert "champion" in text
    silent = status_text(record(answers=False), width=80)
    assert "DOES NOT ANSWER" in row(silent, "server")
    assert "queue" not in silent
