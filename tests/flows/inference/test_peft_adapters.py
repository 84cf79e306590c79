"""Adapters from elsewhere: what they name as their base model is compared with the one that is used."""

import json
from pathlib import Path

import pytest

from artifacts.errors import RequestError
from flows.inference.peft_adapters import base_differs, fetch_adapter
from tasks.config import ResolvedModel

COMMIT, OTHER = "1" * 40, "2" * 40
HUB = ResolvedModel(revision=COMMIT, location="owner/model", origin="owner/model")
FOLDER = ResolvedModel(revision="3" * 64, location="/models/model", origin="model")


def adapter(folder: Path, **config: str) -> Path:
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(b"x")
    return folder


@pytest.mark.parametrize(
    ("model", "config", "expected"),
    [
        (HUB, {"base_model_name_or_path": "owner/model"}, ""),
        (FOLDER, {"base_model_name_or_path": "/elsewhere/model"}, ""),
        (HUB, {"base_model_name_or_path": "owner/model", "revision": COMMIT}, ""),
        (HUB, {"base_model_name_or_path": "someone/other"}, "names the base model someone/other, but owner/model is"),
        (FOLDER, {"base_model_name_or_path": "someone/other"}, "names the base model someone/other, but model is used"),
        (HUB, {"base_model_name_or_path": "owner/model", "revision": OTHER}, "names commit 22222222 of its base model"),
        (FOLDER, {"base_model_name_or_path": "x/model", "revision": COMMIT}, "which a folder does not have"),
    ],
)
def test_another_base_model_or_commit_is_said(
    tmp_path: Path, model: ResolvedModel, config: dict[str, str], expected: str
) -> None:
    sentence = base_differs(adapter(tmp_path, **config), model)
    assert expected in sentence
    assert bool(sentence) == bool(expected)


def test_an_adapter_that_is_a_git_lfs_pointer_is_refused(tmp_path: Path) -> None:
    folder = adapter(tmp_path, base_model_name_or_path="owner/model")
    (folder / "adapter_model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    with pytest.raises(RequestError, match="Git LFS pointer"):
        fetch_adapter(str(folder))
