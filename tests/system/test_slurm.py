"""A station beside a real Slurm cluster: stages that need a GPU are Slurm jobs on nodes that know no Prefect server."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from flows.slurm import commands
from flows.slurm.batch_job import BatchJobConfig
from flows.slurm.batch_script import job_environment, write_script
from flows.slurm.job_log import JobLog
from flows.slurm.settings import SlurmSettings
from tasks.config import DataConfig, DownloadSpec
from tasks.download import DOWNLOAD
from tasks.execution.decision import identity
from tasks.execution.job import Job
from tasks.sources.resolve import resolve_data
from tasks.workers.events import NullListener
from tests.support.slurm import Slurm
from tests.support.stations import LocalStation, wait_until

pytestmark = pytest.mark.slow
PATIENCE = 600.0
"""Seconds that a test waits at most: the machine may be busy, and Slurm tests its time limits every half minute."""


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    cluster = Slurm()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def station(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path]) -> Iterator[LocalStation]:
    """Its workers submit jobs; two children run at a time."""
    running = LocalStation(tmp_path_factory.mktemp("station"), models["llama"])
    running.environment |= slurm.environment | {"DIALOGSUM_SBATCH": "--partition=gpu --gres=gpu:1"}
    try:
        running.up("--gpu-workers", "2")
        yield running
    finally:
        running.command("down")
        assert running.processes() == []


class Child:
    """The run of a training on the GPU pool, and its Slurm job."""

    def __init__(self, station: LocalStation, slurm: Slurm, parent: str) -> None:
        self.station, self.slurm, self.parent = station, slurm, parent

    @property
    def run(self) -> dict[str, Any]:
        """The newest child of the parent; empty if there is none yet."""
        children = self.station.post(
            "/flow_runs/filter",
            flow_runs={"parent_flow_run_id": {"any_": [self.parent]}},
            sort="EXPECTED_START_TIME_DESC",
        )
        return children[0] if children else {}

    @property
    def state(self) -> str:
        """`NAME: MESSAGE`, as the UI shows it."""
        state = self.run.get("state") or {}
        return f"{state.get('name')}: {state.get('message')}"

    def wait_for_state(self, pattern: str) -> re.Match[str]:
        wait_until(lambda: re.match(pattern, self.state), PATIENCE)
        found = re.match(pattern, self.state)
        assert found is not None
        return found

    def log(self) -> str:
        """The log of the run, as the UI shows it."""
        entries: list[dict[str, Any]] = []
        while page := self.station.post(
            "/logs/filter",
            logs={"flow_run_id": {"any_": [self.run["id"]]}},
            sort="TIMESTAMP_ASC",
            limit=200,
            offset=len(entries),
        ):
            entries += page
        return "\n".join(entry["message"] for entry in entries)

    def wait_for_log(self, pattern: str) -> list[str]:
        """Wait until a pattern is in the log; returns all matches."""
        wait_until(lambda: re.search(pattern, self.log()), PATIENCE)
        return re.findall(pattern, self.log())

    def trains(self, beyond: int = 0) -> None:
        """Wait until the curve that the job writes to the store has more steps."""
        wait_until(lambda: self.steps() > beyond, PATIENCE)

    def steps(self) -> int:
        curves = (self.station.folder / "store" / "parts").glob("train-*/curve.json")
        text = "".join(file.read_text() for file in curves)
        return max(map(int, re.findall(r'"(\d+)": \{', text)), default=0)


@pytest.fixture
def busy(slurm: Slurm) -> Iterator[str]:
    """Two jobs that occupy all GPUs; the id of the second one."""
    jobs = [slurm.command("sbatch", "--parsable", "--gres=gpu:1", "--output=/dev/null", "--wrap=sleep 3600").strip()]
    jobs += [slurm.command("sbatch", "--parsable", "--gres=gpu:1", "--output=/dev/null", "--wrap=sleep 3600").strip()]
    wait_until(lambda: [slurm.states().get(job) for job in jobs] == ["RUNNING"] * 2, PATIENCE)
    yield jobs[1]
    slurm.command("scancel", *jobs)
    wait_until(lambda: {slurm.states().get(job) for job in jobs} <= {"CANCELLED", None}, PATIENCE)


def cancel(station: LocalStation, run: str) -> None:
    """As the button of the UI."""
    station.post(f"/flow_runs/{run}/set_state", state={"type": "CANCELLING", "name": "Cancelling"})


def test_a_training_queues_survives_its_time_limit_and_the_death_of_its_node_and_is_cancelled(
    station: LocalStation, slurm: Slurm, busy: str
) -> None:
    """Each time it goes on at the step of its checkpoint, and state and log of its run say what is the case."""
    parent = station.retrain("train.max_steps=100000", "train.learning_rate=1e-9")
    child = Child(station, slurm, parent)
    first = child.wait_for_state(r"Queued in Slurm: Slurm job (\d+) waits: (Resources|Priority)")[1]
    assert child.run["state_type"] == "PENDING"
    assert slurm.states()[first] == "PENDING"

    slurm.command("scancel", busy)
    child.wait_for_state(rf"Running: Slurm job {first} on n2$")
    child.wait_for_log("step 0: validation loss")
    child.trains()

    slurm.command("scontrol", "update", f"JobId={first}", "TimeLimit=3")
    (second,) = child.wait_for_log(r"goes on as Slurm job (\d+)")
    (stopped,) = re.findall(
        rf"job {first} reached its time limit \(stopped by SIGTERM after step (\d+) of", child.log()
    )
    assert int(second) > int(first)
    assert slurm.states()[first] == "FAILED"  # it has ended itself in time; otherwise it would be TIMEOUT
    child.wait_for_log(f"resuming from the checkpoint after step {stopped} of 100000")
    child.wait_for_state(rf"Running: Slurm job {second} on n2$")
    child.trains(int(stopped))

    slurm.command("scancel", "--name=wrap")  # the other node is free now
    slurm.kill_node("n2")
    child.wait_for_log(f"Slurm job {second} was interrupted, and Slurm has requeued it")
    child.wait_for_state(f"Queued in Slurm: Slurm job {second} waits: BeginTime")
    slurm.command("scontrol", "update", f"JobId={second}", "StartTime=now")
    child.wait_for_state(rf"Running: Slurm job {second} on n1$")
    wait_until(lambda: child.log().count("resuming from the checkpoint after step") == 2, PATIENCE)
    resumed = re.findall(r"resuming from the checkpoint after step (\d+)", child.log())
    assert int(resumed[1]) >= int(stopped)

    cancel(station, child.run["id"])
    wait_until(lambda: slurm.states().get(second) in ("CANCELLED", "COMPLETING"), 60)
    assert station.ended(child.run["id"])["state_type"] == "CANCELLED"
    child.wait_for_log("its Slurm job is cancelled")
    assert station.ended(parent)["state_type"] == "FAILED"
    slurm.start_node("n2")  # Slurm takes it back by itself once it has registered
    wait_until(lambda: slurm.command("sinfo", "-h", "-t", "idle", "-o", "%D").strip() == "2", PATIENCE)


def test_a_queued_job_is_followed_by_the_next_run_if_its_run_dies_and_cancelled_with_the_parent(
    station: LocalStation, slurm: Slurm, busy: str
) -> None:
    """The process that follows a job is killed: the second child has the same job. A cancelled parent leaves no job."""
    parent = station.retrain("train.max_steps=100000", "train.learning_rate=1e-9", "train.seed=1")
    child = Child(station, slurm, parent)
    job = child.wait_for_state(r"Queued in Slurm: Slurm job (\d+) waits")[1]
    killed = child.run
    psutil.Process(int(killed["infrastructure_pid"].split(":")[-1])).kill()
    wait_until(lambda: child.run["id"] != killed["id"], PATIENCE)
    child.wait_for_state(rf"Queued in Slurm: Slurm job {job} waits")
    child.wait_for_log(f"follows the job of an earlier run, Slurm job {job}")
    waiting = [name for name, state in slurm.states().items() if state == "PENDING"]
    assert waiting == [job]

    cancel(station, parent)
    wait_until(lambda: slurm.states().get(job) == "CANCELLED", 60)
    assert station.ended(parent)["state_type"] == "CANCELLED"
    assert station.ended(child.run["id"])["state_type"] == "CANCELLED"


def test_a_partition_that_does_not_exist_is_refused_in_one_line(station: LocalStation, slurm: Slurm) -> None:
    """With options that the form of this run alone has; nothing is submitted."""
    jobs = (station.folder / "store" / "jobs").glob("train-*.json")
    deployment = station.get("/deployments/name/stage-train/stage-train")["id"]
    before = slurm.states()
    run = station.post(
        f"/deployments/{deployment}/create_flow_run",
        parameters={"artifact": next(jobs).stem},
        job_variables={"env": {"DIALOGSUM_SBATCH": "--partition=bad"}},
    )["id"]
    ended = station.ended(run)
    assert ended["state_type"] == "FAILED"
    assert re.fullmatch(
        "sbatch refused the job: .*[Ii]nvalid partition.*: correct DIALOGSUM_SBATCH, which is '--partition=bad'; .*",
        ended["state"]["message"],
    )
    assert slurm.states().keys() <= before.keys()


def test_a_job_needs_nothing_of_the_environment_that_submits_it(
    slurm: Slurm, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a cluster that passes no variables, a stage is made from its JSON alone; the log has its events."""
    for name, value in (slurm.environment | {"SBATCH_EXPORT": "NONE"}).items():
        monkeypatch.setenv(name, value)
    spec = DownloadSpec(data=resolve_data(DataConfig(source="sample")))
    job = Job(stage="download", variant=None, spec=spec, inputs={}, identity=identity(DOWNLOAD, spec, {}), run="test")
    script = write_script(SlurmSettings((), None, tmp_path), BatchJobConfig(job=job))
    submitted = commands.submit(script, "dialogsum-test", ["--gres=gpu:1"], job_environment())
    wait_until(lambda: commands.status(submitted).ended, PATIENCE)
    log = JobLog(tmp_path / job.artifact / f"{submitted}.log", NullListener())
    log.read_new()
    assert (commands.status(submitted).state, log.finished, log.error) == ("COMPLETED", True, None), log.last_line
    assert store.by_id(job.artifact).provenance.run == "test"
    assert commands.status("999999").state == "UNKNOWN"
    refusal = r"sbatch refused the job: .* correct DIALOGSUM_SBATCH, which is '--gres=gpu:9'"
    with pytest.raises(RequestError, match=refusal):
        commands.submit(script, "dialogsum-test", ["--gres=gpu:9"], job_environment())
