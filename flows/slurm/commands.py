"""Slurm's commands: sbatch, scontrol, squeue and scancel."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from artifacts.errors import RequestError, StageError
from artifacts.text import one_line
from flows.slurm.settings import OPTIONS

TIMEOUT = 60.0
"""Seconds that a command may take; scancel gets less, because a cancelled run has 30 s to end."""
UNREACHABLE = "Unable to contact slurm controller"
"""In the error of a command while the controller is away."""
ACTIVE = ("PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "RESIZING", "SIGNALING", "STOPPED", "STAGE_OUT")
"""States of jobs that have not ended."""
REQUEUED = ("REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT")
"""States between an interruption and a new start."""
ENDING = "COMPLETING"
"""State between an end, or an interruption, and what comes after it."""


class SlurmUnavailableError(Exception):
    """Slurm's controller does not answer at the moment."""


@dataclass(frozen=True)
class JobStatus:
    """What Slurm knows of a job."""

    state: str
    """Such as PENDING; UNKNOWN if Slurm has forgotten the job, which it does minutes after its end."""
    reason: str = ""
    """Why it waits or has failed, such as Resources."""
    nodes: str = ""
    exit_code: str = ""
    """Of the script and, after the colon, the signal that ended it."""
    restarts: int = 0
    """How often Slurm has requeued it."""

    @property
    def waits(self) -> bool:
        return self.state in ("PENDING", "CONFIGURING", *REQUEUED)

    @property
    def ended(self) -> bool:
        return self.state not in (*ACTIVE, *REQUEUED, ENDING)


def submit(script: Path, name: str, options: Sequence[str], environment: Mapping[str, str]) -> str:
    """Submit a script, which writes JOB.log in its folder. Returns the job's id. RequestError if sbatch refuses.
    StageError if the controller does not answer.

    options: of sbatch; they may replace the defaults for a requeue and a signal, but not the name and the log.
    """
    ours = [f"--job-name={name}", f"--chdir={script.parent}", "--output=%j.log", "--open-mode=append", "--parsable"]
    # the signal reaches the script alone, two minutes before the time limit: time for a checkpoint
    command = ["sbatch", "--requeue", "--signal=B:TERM@120", *options, *ours, str(script)]
    process = _run(command, environment)
    identifier = process.stdout.strip().split(";")[0]  # a federation adds the name of the cluster
    if process.returncode or not identifier.isdigit():
        problem = _message(process) or one_line(process.stdout, 200)
        if UNREACHABLE in problem:
            raise StageError(f"sbatch: {problem}: start this run again once Slurm's controller answers")
        raise RequestError(
            f"sbatch refused the job: {problem}: correct {OPTIONS}, which is {' '.join(options)!r}; "
            "`sinfo --format='%P %G %l'` lists partitions, their GPUs and time limits"
        )
    return identifier


def status(job: str) -> JobStatus:
    """The status of a job. SlurmUnavailableError if the controller does not answer."""
    process = _run(["scontrol", "--oneliner", "show", "job", job])
    if process.returncode:
        if "Invalid job id" in process.stderr:
            return JobStatus("UNKNOWN")
        raise SlurmUnavailableError(_message(process))
    fields = dict(reversed(re.findall(r"(?<!\S)(\w+)=(\S*)", process.stdout)))  # the first of a name counts
    return JobStatus(
        state=fields["JobState"],
        reason=fields["Reason"].replace("None", "not considered yet"),
        nodes=fields.get("NodeList", "").removeprefix("(null)"),
        exit_code=fields.get("ExitCode", ""),
        restarts=int(fields.get("Restarts", 0)),
    )


def active_job(name: str, script: Path) -> str | None:
    """The id of a job of this script that waits or runs, submitted by a process that has died since."""
    states = ",".join(ACTIVE[:4])
    ours = [f"--user={os.getuid()}", f"--name={name}", f"--states={states}"]
    process = _run(["squeue", "--noheader", *ours, "--format=%i %o"])
    jobs = [line.split(" ", 1) for line in process.stdout.splitlines()]
    return next((job for job, command in jobs if command.strip() == str(script)), None)


def cancel(job: str) -> str:
    """Cancel a job. Returns what scancel prints if that fails, otherwise an empty text."""
    process = _run(["scancel", job], seconds=10)
    return _message(process) if process.returncode else ""


def _run(
    command: Sequence[str], environment: Mapping[str, str] | None = None, seconds: float = TIMEOUT
) -> subprocess.CompletedProcess[str]:
    """RequestError if there is no such command."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=seconds)
    except FileNotFoundError:
        raise RequestError(
            f"{OPTIONS} is set, but there is no `{command[0]}` on this machine: start the run, or the worker of the "
            f"GPU pool, where Slurm's commands are installed, or unset {OPTIONS}"
        ) from None
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"{command[0]} did not answer within {seconds:.0f} s")


def _message(process: subprocess.CompletedProcess[str]) -> str:
    """The last line of what a command has printed as its error, without its name."""
    lines = process.stderr.strip().splitlines()
    return one_line(re.sub(r"^\w+: (error: )?", "", lines[-1]), 200) if lines else ""
