"""How stages are sent to Slurm: environment variables of the process that submits their jobs."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from artifacts.user_paths import user_path

OPTIONS = "DIALOGSUM_SBATCH"
"""Environment variable with options of sbatch; if it is set, stages that need a GPU run as Slurm jobs."""
SETUP = "DIALOGSUM_SLURM_SETUP"
"""Environment variable with a shell script that each job sources first."""
FOLDER = "DIALOGSUM_SLURM_FOLDER"
"""Environment variable with a folder that this machine and the nodes share."""


@dataclass(frozen=True)
class SlurmSettings:
    """What all jobs of this process have in common."""

    options: tuple[str, ...]
    """Options of sbatch, one word each."""
    setup: Path | None
    """Script that a job sources before it starts `python`; None: the job uses this process's Python."""
    folder: Path
    """For scripts and logs of jobs and, if the store is remote, their scratch files. Shared with the nodes."""


def slurm_settings() -> SlurmSettings | None:
    """The settings of the environment, None if it asks for no Slurm jobs. RequestError if they are invalid."""
    text = os.environ.get(OPTIONS, "").strip()
    if not text:
        return None
    try:
        options = tuple(shlex.split(text))
    except ValueError as error:
        raise RequestError(f"{OPTIONS} is {text!r}, in which a quote is not closed: correct it") from error
    if not options[0].startswith("-"):
        raise RequestError(
            f"{OPTIONS} starts with {options[0]!r}; expected options such as --partition=gpu --gres=gpu:1"
        )
    return SlurmSettings(options, _setup(), _folder())


def _setup() -> Path | None:
    name = os.environ.get(SETUP)
    if not name:
        return None
    file = user_path(name, SETUP).resolve()
    if not file.is_file():
        raise RequestError(f"{SETUP}: there is no file {file}: name a shell script, or unset the variable")
    return file


def _folder() -> Path:
    store, name = Store.current(), os.environ.get(FOLDER)
    if name:
        return user_path(name, FOLDER).resolve()
    if not store.is_local:
        raise RequestError(
            f"the store {store.root} is no folder: set {FOLDER} to a folder that this machine shares with the nodes of "
            "the cluster, for logs and checkpoints"
        )
    return store.scratch / "slurm"
