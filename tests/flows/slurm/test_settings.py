"""The environment variables of Slurm: words of sbatch, never of a shell, and refusals that name the variable."""

from pathlib import Path

import pytest

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from flows.slurm.settings import slurm_settings


@pytest.mark.parametrize("text", [None, "", "  "])
def test_without_options_there_are_no_slurm_jobs(text: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIALOGSUM_SBATCH", raising=False)
    if text is not None:
        monkeypatch.setenv("DIALOGSUM_SBATCH", text)
    assert slurm_settings() is None


def test_options_are_words_that_no_shell_expands(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    """A quoted value stays one word; `$(…)`, `;` and `*` are letters."""
    monkeypatch.setenv("DIALOGSUM_SBATCH", "--partition gpu --comment='a b' --gres=gpu:a100:1 --mail-user=$(id);*")
    settings = slurm_settings()
    assert settings is not None
    assert settings.options == (
        "--partition",
        "gpu",
        "--comment=a b",
        "--gres=gpu:a100:1",
        "--mail-user=$(id);*",
    )
    assert settings.setup is None
    assert settings.folder == store.scratch / "slurm"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"DIALOGSUM_SBATCH": "--comment='a"}, "DIALOGSUM_SBATCH .* quote is not closed"),
        ({"DIALOGSUM_SBATCH": "gpu --time=1"}, "DIALOGSUM_SBATCH starts with 'gpu'; expected options"),
        ({"DIALOGSUM_SLURM_SETUP": "/no/such.sh"}, "DIALOGSUM_SLURM_SETUP: there is no file /no/such.sh"),
        (
            {"DIALOGSUM_STORE": "memory://bucket/store"},
            "set DIALOGSUM_SLURM_FOLDER to a folder that this",
        ),
    ],
)
def test_a_wrong_variable_is_refused_by_its_name(
    environment: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, before anything is submitted."""
    for name, value in ({"DIALOGSUM_SBATCH": "--time=1"} | environment).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RequestError, match=message):
        slurm_settings()


def test_with_a_remote_store_logs_and_checkpoints_are_in_the_shared_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DIALOGSUM_SBATCH", "--time=1")
    monkeypatch.setenv("DIALOGSUM_STORE", "memory://bucket/store")
    monkeypatch.setenv("DIALOGSUM_SLURM_FOLDER", str(tmp_path))
    settings = slurm_settings()
    assert settings is not None
    assert settings.folder == tmp_path
