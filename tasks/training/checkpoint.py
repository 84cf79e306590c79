"""The state of a training that was interrupted: written whole or not at all, read back only if every byte is there.

    <folder>/step-00000012/state.safetensors   adapter, optimizer
    <folder>/step-00000012/state.json          step, curve, token budget
    <folder>/step-00000012/manifest.json       whose training it is, and each file's sha256; written last

A checkpoint appears by a rename, so a killed process leaves none or a whole one. Nothing is pickled.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as read_tensors
from safetensors.torch import save as tensor_bytes

from artifacts.text import one_line

KEPT = 2
"""Checkpoints that stay: the newest, and one to fall back to."""


@dataclass
class Progress:
    """What a training knows beside its tensors."""

    done: int
    """Optimizer steps."""
    curve: list[dict[str, Any]]
    """Rows of artifacts.schemas.CURVE."""
    budget: int
    """Tokens at once: kept, so that a resumed run adds up the same sums."""


def save(folder: Path, identity: str, progress: Progress, tensors: dict[str, torch.Tensor]) -> Path:
    """Write a checkpoint beside the others, and drop all but the newest."""
    name = f"step-{progress.done:08d}"
    half = folder / f".{name}.half"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    contents = {
        "state.safetensors": tensor_bytes({key: value.detach().cpu().contiguous() for key, value in tensors.items()}),
        "state.json": json.dumps(asdict(progress)).encode(),
    }
    files = {key: hashlib.sha256(content).hexdigest() for key, content in contents.items()}
    contents["manifest.json"] = json.dumps({"identity": identity, "files": files}).encode()
    for key, content in contents.items():
        with (half / key).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    _settle(half)
    final = folder / name
    shutil.rmtree(final, ignore_errors=True)  # of this step, but damaged: it would have been resumed from
    half.rename(final)
    _settle(folder)
    ours = [place for place in _found(folder) if place.name <= name]  # later ones could not be resumed from
    for old in set(_found(folder)) - set(ours[:KEPT]):
        shutil.rmtree(old, ignore_errors=True)
    return final


def newest(folder: Path, identity: str, log: Callable[[str], None]) -> tuple[Progress, dict[str, torch.Tensor]] | None:
    """The newest whole checkpoint of this very training; each one that is passed over is logged with the reason."""
    for place in _found(folder):
        try:
            return _read(place, identity)
        except Exception as error:  # safetensors has classes of its own
            log(f"checkpoint {place.name} is not used: {one_line(error, 160)}")
    return None


def _read(place: Path, identity: str) -> tuple[Progress, dict[str, torch.Tensor]]:
    manifest = json.loads((place / "manifest.json").read_text())
    if manifest["identity"] != identity:
        raise ValueError("it is of another training")
    contents = {}
    for name in ("state.safetensors", "state.json"):
        contents[name] = (place / name).read_bytes()
        if hashlib.sha256(contents[name]).hexdigest() != manifest["files"][name]:
            raise ValueError(f"{name} is damaged")
    progress, tensors = Progress(**json.loads(contents["state.json"])), read_tensors(contents["state.safetensors"])
    if progress.done and not any(name.startswith("optimizer.") for name in tensors):
        raise ValueError("it has no state of the optimizer")
    return progress, tensors


def _found(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if re.fullmatch(r"step-\d{8}", p.name)), reverse=True)


def _settle(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
