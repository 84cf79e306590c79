"""Sources that are only half there are refused before anything runs, with the command that completes them."""

import json
import shutil
from pathlib import Path

import pytest

from artifacts.errors import RequestError
from tasks.config import DataConfig, ModelConfig
from tasks.sources.resolve import resolve_data, resolve_model

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 538090408\n"


@pytest.fixture
def model(models: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(models["llama"], tmp_path / "model"))


def refusal(config: ModelConfig | DataConfig) -> str:
    with pytest.raises(RequestError) as refused:
        resolve_model(config) if isinstance(config, ModelConfig) else resolve_data(config)
    return str(refused.value)


def test_weights_that_are_a_git_lfs_pointer_are_refused(model: Path) -> None:
    (model / "model.safetensors").write_text(POINTER)
    assert "model.safetensors is a Git LFS pointer" in refusal(ModelConfig(source=str(model)))
    assert "git lfs pull" in refusal(ModelConfig(source=str(model)))


def test_tables_that_are_git_lfs_pointers_are_refused(data: Path) -> None:
    (data / "train.csv").write_text(POINTER)
    assert "train.csv is a Git LFS pointer" in refusal(DataConfig(source=str(data)))


@pytest.mark.parametrize("lost", [1, 2])
def test_shards_that_are_missing_are_counted(model: Path, lost: int) -> None:
    names = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    for name in names[lost:]:
        shutil.copy(model / "model.safetensors", model / name)
    index = {"weight_map": {f"layer{number}": name for number, name in enumerate(names)}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    message = refusal(ModelConfig(source=str(model)))
    assert f"{lost} of 3 files of weights are missing" in message
    assert names[0] in message
