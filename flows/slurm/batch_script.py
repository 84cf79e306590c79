"""The files of a Slurm job: its script, what it makes, and the environment that it gets.

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

NOT_FOR_JOBS = ("PREFECT_", "DIALOGSUM_NOTIFY")
"""Starts of the names of variables that jobs do not get: they use no Prefect server, and credentials stay here."""


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
    lines = ["#!/bin/bash"]
    if settings.setup is not None:
        lines.append(f"source {shlex.quote(str(settings.setup))} || exit")
    if not Store.current().is_local:  # checkpoints have to be there when the job starts again on another node
        lines.append(f"export TMPDIR={shlex.quote(str(settings.folder))}")
    python = "python" if settings.setup is not None else shlex.quote(sys.executable)
    # exec, since Slurm sends SIGTERM to this process alone
    lines.append(f"exec {python} -m flows.slurm.batch_job {shlex.quote(str(config))}")
    return "\n".join(lines) + "\n"


def job_environment(settings: SlurmSettings) -> dict[str, str]:
    """The environment of sbatch, which the job inherits: this process's, with the store's full address."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(NOT_FOR_JOBS)}
    ours |= {"DIALOGSUM_STORE": str(Store.current().root), "PYTHONUNBUFFERED": "1"}
    if settings.setup is None:  # otherwise the Python that the script activates has a package of its own
        ours["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return ours
