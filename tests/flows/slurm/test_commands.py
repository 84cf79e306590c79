"""Slurm's commands: their output as Slurm 22.05 has printed it, and their absence."""

from pathlib import Path

import pytest

from artifacts.errors import RequestError, StageError
from flows.slurm import commands
from flows.slurm.commands import JobStatus, SlurmUnavailableError

PENDING = (
    "JobId=3 JobName=c UserId=ann(1000) GroupId=ann(1000) MCS_label=N/A Priority=4294901757 Nice=0 Account=(null) "
    "QOS=(null) JobState=PENDING Reason=Resources Dependency=(null) Requeue=1 Restarts=0 BatchFlag=1 Reboot=0 "
    "ExitCode=0:0 RunTime=00:00:00 TimeLimit=00:05:00 TimeMin=N/A ReqNodeList=(null) ExcNodeList=(null) NodeList= "
    "SchedNodeList=n1 NumNodes=1 Command=/x/JobState=RUNNING/job.sh WorkDir=/x StdOut=/x/3.log Power="
)
STOPPED = (
    "JobId=1 JobName=a UserId=ann(1000) JobState=FAILED Reason=NonZeroExitCode Dependency=(null) Requeue=1 Restarts=2 "
    "BatchFlag=1 Reboot=0 ExitCode=143:0 RunTime=00:00:06 NodeList=n1 BatchHost=n1 Command=/x/job.sh"
)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder with programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, out: str = "", error: str = "", code: int = 0) -> None:
    """A command that prints its arguments to a file, and this."""
    (folder / "out").write_text(out)
    (folder / "error").write_text(error)
    file = folder / name
    lines = [f'printf "%s\\n" "$@" > {folder}/arguments', f'while read -r line; do echo "$line"; done < {folder}/out']
    lines += [f'while read -r line; do echo "$line" >&2; done < {folder}/error', f"exit {code}"]
    file.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    file.chmod(0o755)


def test_the_status_of_a_job_is_read_field_by_field(programs: Path) -> None:
    """The first field of a name counts: paths that users choose follow later."""
    program(programs, "scontrol", PENDING + "\n")
    waiting = commands.status("3")
    assert waiting == JobStatus("PENDING", "Resources", "", "0:0", 0)
    assert (waiting.waits, waiting.ended) == (True, False)
    program(programs, "scontrol", PENDING.replace("Reason=Resources", "Reason=None") + "\n")
    assert commands.status("3").reason == "not considered yet"
    program(programs, "scontrol", STOPPED + "\n")
    stopped = commands.status("1")
    assert stopped == JobStatus("FAILED", "NonZeroExitCode", "n1", "143:0", 2)
    assert (stopped.waits, stopped.ended) == (False, True)


def test_a_forgotten_job_is_unknown_and_a_controller_that_is_away_is_not(programs: Path) -> None:
    """The texts are Slurm's own."""
    program(programs, "scontrol", error="slurm_load_jobs error: Invalid job id specified\n", code=1)
    assert commands.status("77") == JobStatus("UNKNOWN")
    program(programs, "scontrol", error="slurm_load_jobs error: Unable to contact slurm controller\n", code=1)
    with pytest.raises(SlurmUnavailableError, match="Unable to contact slurm controller"):
        commands.status("77")


def test_a_refusal_of_sbatch_is_one_line_with_the_options_and_what_to_do(programs: Path, tmp_path: Path) -> None:
    text = "sbatch: error: invalid partition specified: bad\n"
    text += "sbatch: error: Batch job submission failed: Invalid partition name specified\n"
    program(programs, "sbatch", error=text, code=1)
    with pytest.raises(RequestError) as refusal:
        commands.submit(tmp_path / "job.sh", "dialogsum-train-1a2b3c4d", ["--partition=bad"], {"PATH": str(programs)})
    message = str(refusal.value)
    assert message.startswith("sbatch refused the job: Batch job submission failed: Invalid partition name specified:")
    assert "correct DIALOGSUM_SBATCH, which is '--partition=bad'; `sinfo " in message
    assert "\n" not in message


def test_a_controller_that_is_away_is_not_blamed_on_the_options(programs: Path, tmp_path: Path) -> None:
    text = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n"
    program(programs, "sbatch", error=text, code=1)
    with pytest.raises(StageError, match="start this run again once Slurm's controller answers") as failure:
        commands.submit(tmp_path / "job.sh", "dialogsum-train-1a2b3c4d", ["--time=9"], {"PATH": str(programs)})
    assert "DIALOGSUM_SBATCH" not in str(failure.value)


def test_options_replace_the_signal_but_not_the_log(programs: Path, tmp_path: Path) -> None:
    """Of an option that is there twice, sbatch takes the last."""
    program(programs, "sbatch", "12;cluster\n")
    options = ["--signal=B:TERM@600", "--output=elsewhere", "--comment=a; b"]
    assert commands.submit(tmp_path / "job.sh", "name", options, {"PATH": str(programs)}) == "12"
    words = (programs / "arguments").read_text().splitlines()
    signals = [word for word in words if word.startswith("--signal")]
    assert (signals[-1], words[-1]) == ("--signal=B:TERM@600", str(tmp_path / "job.sh"))
    assert [word for word in words if word.startswith("--output")] == ["--output=elsewhere", "--output=%j.log"]
    assert "--comment=a; b" in words


def test_a_job_of_another_folder_is_not_followed(programs: Path, tmp_path: Path) -> None:
    """Two stores may make the same artifact: the script decides."""
    program(programs, "squeue", f"7 /elsewhere/job.sh\n8 {tmp_path}/job.sh\n")
    assert commands.active_job("dialogsum-train-1a2b3c4d", tmp_path / "job.sh") == "8"
    assert commands.active_job("dialogsum-train-1a2b3c4d", tmp_path / "other" / "job.sh") is None


def test_without_slurm_on_this_machine_the_variable_is_named(programs: Path, tmp_path: Path) -> None:
    """One line that says what to do."""
    with pytest.raises(RequestError, match=r"DIALOGSUM_SBATCH is set, but there is no `squeue` on this machine.*unset"):
        commands.active_job("name", tmp_path / "job.sh")
