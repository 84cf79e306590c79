"""The script of a Slurm job, run by a real shell, and the environment that the job gets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from artifacts.artifact_store import Store
from flows.slurm.batch_job import BatchJobConfig
from flows.slurm.batch_script import job_environment, write_script
from flows.slurm.settings import SlurmSettings
from tasks.execution.job import Job

HOSTILE = 'it\'s $(touch broken) a; "folder" `touch broken`'


@pytest.fixture
def config(job: Job) -> BatchJobConfig:
    return BatchJobConfig(job=job)


def fake_python(folder: Path) -> str:
    """A `python` that prints its arguments, TMPDIR, and what the setup script has set."""
    file = folder / "python"
    file.write_text('#!/bin/sh\nprintf "%s\\n" "$@" "$TMPDIR" "$LOADED"\n')
    file.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_the_setup_script_is_sourced_whatever_its_path(tmp_path: Path, config: BatchJobConfig) -> None:
    """Its variables reach `python`; nothing in a path is expanded or executed."""
    folder = tmp_path / HOSTILE
    folder.mkdir()
    setup = folder / "setup.sh"
    setup.write_text(f"export LOADED=yes PATH='{fake_python(tmp_path)}'\n")
    script = write_script(SlurmSettings((), setup, folder), config)
    process = subprocess.run(["bash", str(script)], cwd=tmp_path, capture_output=True, text=True, check=True)
    arguments = process.stdout.splitlines()
    assert arguments[:3] == ["-m", "flows.slurm.batch_job", str(script.parent / "job.json")]
    assert arguments[-1] == "yes"
    assert not (tmp_path / "broken").exists()
    assert script.parent == folder / config.job.artifact
    assert BatchJobConfig.model_validate_json((script.parent / "job.json").read_text()) == config


def test_a_setup_script_that_fails_ends_the_job(tmp_path: Path, config: BatchJobConfig) -> None:
    """With its exit code, before Python is started."""
    (tmp_path / "setup.sh").write_text("exit_code() { return 7; }; exit_code\n")
    script = write_script(SlurmSettings((), tmp_path / "setup.sh", tmp_path), config)
    process = subprocess.run(
        ["bash", str(script)], env={"PATH": fake_python(tmp_path)}, capture_output=True, check=False
    )
    assert (process.returncode, process.stdout) == (7, b"")


def test_shards_of_an_artifact_have_folders_of_their_own(tmp_path: Path, config: BatchJobConfig) -> None:
    """So that their jobs can be told apart."""
    shard = config.model_copy(update={"shard": 1, "shards": 4})
    assert write_script(SlurmSettings((), None, tmp_path), shard).parent.name == f"{config.job.artifact}-2-of-4"


def test_scratch_of_a_remote_store_is_in_the_shared_folder(
    tmp_path: Path, config: BatchJobConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There another node finds the checkpoint; a store in a folder has its scratch there anyway."""
    settings = SlurmSettings((), None, tmp_path)
    assert "TMPDIR" not in write_script(settings, config).read_text()
    monkeypatch.setenv("DIALOGSUM_STORE", "memory://bucket/store")
    assert f"export TMPDIR={tmp_path}\n" in write_script(settings, config).read_text()


def test_a_job_has_the_store_and_the_code_even_without_an_environment(
    tmp_path: Path, config: BatchJobConfig, store: Store
) -> None:
    """Some clusters pass no variables to jobs."""
    script = write_script(SlurmSettings((), None, tmp_path), config)
    look = '-c \'import os, flows.slurm.settings as s; print(s.__file__, os.environ["DIALOGSUM_STORE"], sep="\\n")\''
    script.write_text(script.read_text().replace("-m flows.slurm.batch_job", look))
    process = subprocess.run(["bash", script], env={}, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert process.stdout.splitlines() == [sys.modules["flows.slurm.settings"].__file__, str(store.root)]


def test_a_job_inherits_the_credentials_of_the_store_but_nothing_of_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the credential of the server nor the addresses of announcements leave this machine."""
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "team:secret")
    monkeypatch.setenv("DIALOGSUM_NOTIFY", "mailto://user:secret@example.org")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-store")
    environment = job_environment()
    assert "secret" not in "".join(environment.values())
    assert environment["AWS_SECRET_ACCESS_KEY"] == "of-the-store"
