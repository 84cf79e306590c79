"""The files of a Slurm job: its script and what it makes; and the environment that it inherits.

<folder>/<artifact>/job.sh        sources the setup script, starts flows/slurm/batch_job.py
<folder>/<artifact>/job.json      BatchJobConfig
<folder>/<artifact>/<job id>.log  what the job prints
"""

import os
import shlex
import sys
from pathlib import Path

from artifacts.artifact_store import Store
from artifacts.code_fingerprint import ROOT
from artifacts.errors import translate_disk_errors
from flows.slurm.batch_job import BatchJobConfig
from flows.slurm.settings import SlurmSettings

NOT_FOR_JOBS = ("PREFECT_", "DIALOGSUM_NOTIFY", "DIALOGSUM_JUDGE_KEY")
"""Starts of the names of variables that jobs do not get: they use no Prefect server and ask no endpoint, and
credentials stay here."""


def write_script(settings: SlurmSettings, config: BatchJobConfig) -> Path:
    """Write script and config of a job. Returns the script. RequestError if the folder cannot be written."""
    shard = "" if config.shards == 1 else f"-{config.shard + 1}-of-{config.shards}"
    folder = settings.folder / f"{config.job.artifact}{shard}"
    with translate_disk_errors(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "job.json").write_text(config.model_dump_json(indent=1))
        script = folder / "job.sh"
        script.write_text(_script(settings, folder / "job.json"))
    return script


def _script(settings: SlurmSettings, config: Path) -> str:
    # here and not in the environment, which some clusters do not pass to jobs
    lines = ["#!/bin/bash", f"export DIALOGSUM_STORE={shlex.quote(str(Store.current().root))}"]
    if settings.setup is None:
        lines.append(f"export PYTHONPATH={shlex.quote(str(ROOT))}${{PYTHONPATH:+:$PYTHONPATH}}")
        python = shlex.quote(sys.executable)
    else:  # the Python that it activates has this project installed
        lines.append(f"source {shlex.quote(str(settings.setup))} || exit")
        python = "python"
    if not Store.current().is_local:  # checkpoints have to be there when the job starts again on another node
        lines.append(f"export TMPDIR={shlex.quote(str(settings.folder))}")
    # exec, since Slurm sends SIGTERM to this process alone
    lines.append(f"exec {python} -m flows.slurm.batch_job {shlex.quote(str(config))}")
    return "\n".join(lines) + "\n"


def job_environment() -> dict[str, str]:
    """The environment of sbatch, which the job inherits if the cluster lets it."""
    return {name: value for name, value in os.environ.items() if not name.startswith(NOT_FOR_JOBS)}
