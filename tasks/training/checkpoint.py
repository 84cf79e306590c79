"""Checkpoints of a training: written completely or not at all, and read only if every byte is intact.

    <folder>/step-00000012/state.safetensors   adapter, optimizer
    <folder>/step-00000012/state.json          step, curve, token budget
    <folder>/step-00000012/manifest.json       the training's identity, and each file's sha256; written last

A checkpoint appears by a rename, so a killed process leaves a complete one or none. Nothing is pickled.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as read_tensors
from safetensors.torch import save as tensor_bytes

from artifacts.atomic_files import flush
from artifacts.text import one_line

CHECKPOINTS_TO_KEEP = 2
"""The newest, and one to fall back to."""


@dataclass
class Progress:
    """The state of a training apart from its tensors."""

    steps_done: int
    """Optimizer steps."""
    curve: list[dict[str, Any]]
    """Rows of artifacts.schemas.CURVE."""
    token_budget: int
    """Tokens of a micro-batch; stored, so that a resumed run adds up the same sums."""


def save(folder: Path, identity: str, progress: Progress, tensors: dict[str, torch.Tensor]) -> Path:
    """Write a checkpoint and delete all but the newest."""
    name = f"step-{progress.steps_done:08d}"
    temporary = folder / f".{name}.half"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    contents = {
        "state.safetensors": tensor_bytes({key: value.detach().cpu().contiguous() for key, value in tensors.items()}),
        "state.json": json.dumps(asdict(progress)).encode(),
    }
    files = {key: hashlib.sha256(content).hexdigest() for key, content in contents.items()}
    contents["manifest.json"] = json.dumps({"identity": identity, "files": files}).encode()
    for key, content in contents.items():
        (temporary / key).write_bytes(content)
        flush(temporary / key)
    flush(temporary)
    final = folder / name
    shutil.rmtree(final, ignore_errors=True)  # damaged, or this run would have resumed from it
    temporary.rename(final)
    flush(folder)
    usable = [path for path in _checkpoints(folder) if path.name <= name]  # this run could not resume from later ones
    for old in set(_checkpoints(folder)) - set(usable[:CHECKPOINTS_TO_KEEP]):
        shutil.rmtree(old, ignore_errors=True)
    return final


def load_newest(
    folder: Path, identity: str, log: Callable[[str], None]
) -> tuple[Progress, dict[str, torch.Tensor]] | None:
    """The newest intact checkpoint of this training; each one that is skipped is logged with the reason."""
    for path in _checkpoints(folder):
        try:
            return _load(path, identity)
        except Exception as error:  # safetensors has classes of its own
            log(f"checkpoint {path.name} is not used: {one_line(error, 160)}")
    return None


def _load(path: Path, identity: str) -> tuple[Progress, dict[str, torch.Tensor]]:
    manifest = json.loads((path / "manifest.json").read_text())
    if manifest["identity"] != identity:
        raise ValueError("it belongs to another training")
    contents = {}
    for name in ("state.safetensors", "state.json"):
        contents[name] = (path / name).read_bytes()
        if hashlib.sha256(contents[name]).hexdigest() != manifest["files"][name]:
            raise ValueError(f"{name} is damaged")
    progress, tensors = Progress(**json.loads(contents["state.json"])), read_tensors(contents["state.safetensors"])
    if progress.steps_done and not any(name.startswith("optimizer.") for name in tensors):
        raise ValueError("it has no optimizer state")
    return progress, tensors


def _checkpoints(folder: Path) -> list[Path]:
    """Newest first."""
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if re.fullmatch(r"step-\d{8}", p.name)), reverse=True)
