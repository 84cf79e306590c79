"""Compare the weights of another base model with those that an adapter was trained on."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from artifacts.errors import RequestError
from artifacts.record import Record
from artifacts.user_paths import user_path
from tasks.config import ResolvedModel
from tasks.sources.resolve import HUB_ID

MAX_DIFFERENCE = 0.5
"""A weight with a larger relative difference belongs to another model; 4-bit quantization changes it by about 0.1."""
TIED_WEIGHT = "lm_head.weight"
"""Missing in the files of a model that uses its embedding instead."""


class OtherBase(Record):
    """A base model named with --base, compared with the one that the adapter was trained on."""

    name: str
    """Name of a hub repository or of a folder."""
    on_hub: bool
    difference: float | None
    """Largest difference of a weight matrix relative to its norm; None if the weights are not on this machine."""

    @property
    def equal(self) -> bool:
        """Whether its weights were compared and are the same."""
        return self.difference == 0


def compare_base(model: ResolvedModel, base: str) -> OtherBase:
    """Compare `base`, a hub id or a folder, with the model that an adapter was trained on.

    RequestError if `base` is neither, or is another model. Nothing is downloaded.
    """
    folder = user_path(base, "--base")
    if folder.is_dir():
        if not list(folder.glob("*.safetensors")):
            raise RequestError(f"--base: no *.safetensors in {folder}; expected a base model, or a hub id")
        return OtherBase(name=folder.resolve().name, on_hub=False, difference=_difference(model, folder, base))
    if not HUB_ID.fullmatch(base):
        raise RequestError(f"--base: {folder} is neither a folder nor a hub id such as owner/name")
    if base == model.location:
        return OtherBase(name=base, on_hub=True, difference=0)
    cached = _cached(base)
    difference = _difference(model, cached, base) if cached else None
    return OtherBase(name=base, on_hub=True, difference=difference)


def _cached(repository: str) -> Path | None:
    """Folder with its weights, if they are in the cache of the hub."""
    from huggingface_hub import snapshot_download

    patterns = ["*.safetensors", "*.safetensors.index.json"]
    try:
        folder = Path(snapshot_download(repository, allow_patterns=patterns, local_files_only=True))
    except Exception:  # missing or incomplete: each library has its own classes
        return None
    return folder if list(folder.glob("*.safetensors")) else None


def _difference(model: ResolvedModel, folder: Path, base: str) -> float:
    """Largest |ours - theirs| / |ours| of all weights, by the Euclidean norm. RequestError if it is another model."""
    from tasks.models.loading import model_folder

    largest = 0.0
    with ExitStack() as opened:
        ours, theirs = _tensors(model_folder(model), opened), _tensors(folder, opened)
        if missing := sorted((set(ours) ^ set(theirs)) - {TIED_WEIGHT}):
            raise RequestError(
                f"--base: {base} and {model.origin}, on which the adapter was trained, do not have the same weights: "
                f"only one of them has {missing[0]}; use --merged to export a folder with the right weights"
            )
        for name in sorted(set(ours) & set(theirs)):
            one, other = ours[name].get_tensor(name).float(), theirs[name].get_tensor(name).float()
            change = float((one - other).norm() / one.norm().clamp(min=1e-12)) if one.shape == other.shape else 1.0
            if change > MAX_DIFFERENCE:
                raise RequestError(
                    f"--base: the weights of {base} differ from those of {model.origin}, on which the adapter was "
                    f"trained ({name} differs by {100 * change:.0f} %); "
                    "use --merged to export a folder with the right weights"
                )
            largest = max(largest, change)
    return largest


def _tensors(folder: Path, opened: ExitStack) -> dict[str, Any]:
    """Name of each weight -> the open file that contains it."""
    from safetensors import safe_open

    files = {file: opened.enter_context(safe_open(file, framework="pt")) for file in _files(folder)}
    names = [(name, handle) for handle in files.values() for name in handle.keys()]  # noqa: SIM118
    return {name: handle for name, handle in names if not name.endswith("inv_freq")}


def _files(folder: Path) -> Iterator[Path]:
    """The files with weights: those in the index, or the single file, or all there are."""
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if index.is_file():
        yield from (folder / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values())))
    elif single.is_file():
        yield single
    else:
        yield from sorted(folder.glob("*.safetensors"))
