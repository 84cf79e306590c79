"""The world outside, asked once before anything starts: which bytes does a data source or a base model mean today?

A hub name becomes a commit, a folder becomes the sha256 of its files. One attempt each; every refusal says what to do.
"""

import hashlib
import importlib.util
import json
import os
import re
from pathlib import Path
from typing import Literal

from artifacts.errors import RequestError, one_line
from artifacts.identity import sha256
from artifacts.paths import user_path
from artifacts.store import Store
from tasks.config import DataConfig, ModelConfig, ResolvedData, ResolvedModel

SAMPLE = Path(__file__).resolve().parent / "sample"
SPLITS = ("train", "validation", "test")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_WEIGHTS = (".safetensors", ".json", ".model", ".jinja", ".gguf", ".txt")


def resolve_data(config: DataConfig) -> ResolvedData:
    """Pin a data source. RequestError if it is not there, not complete or not reachable."""
    source = config.source
    if source == "sample" or _is_path(source, "data.source"):
        folder = SAMPLE if source == "sample" else user_path(source, "data.source")
        if not folder.is_dir():
            raise RequestError(f"data.source: no folder {folder}; give an existing one, a hub id, or 'sample'")
        if config.revision:
            raise RequestError("data.revision belongs to a hub dataset; a folder is identified by its bytes: remove it")
        files = [folder / f"{split}.csv" for split in SPLITS]
        for file in files:
            if not file.is_file():
                raise RequestError(
                    f"data.source: no file {file}; expected train.csv, validation.csv and test.csv in {folder}"
                )
        revision = sha256({file.stem: _file_digest(file) for file in files})
        kind: Literal["sample", "folder"] = "sample" if source == "sample" else "folder"
        origin = "sample" if kind == "sample" else folder.resolve().name
        return ResolvedData(kind=kind, revision=revision, location=str(folder.resolve()), origin=origin)
    if not _HUB_ID.fullmatch(source):
        raise RequestError(
            f"data.source: {source!r} is neither 'sample', nor a folder, nor a hub id such as owner/name"
        )
    commit = _hub_commit(source, config.revision, "dataset", "data.source")
    return ResolvedData(kind="hub", revision=commit, location=source, origin=f"{source}@{commit[:8]}")


def resolve_model(config: ModelConfig) -> ResolvedModel:
    """Pin a base model. RequestError if it is unknown, gated without licence or token, or not reachable."""
    source = config.source
    if source.startswith("package:"):
        return _packaged(source)
    if _is_path(source, "model.source"):
        folder = user_path(source, "model.source")
        if not (folder / "config.json").is_file():
            raise RequestError(
                f"model.source: no model in {folder} (expected a folder with config.json and *.safetensors)"
            )
        names = sorted(p.name for p in folder.iterdir() if p.suffix in _WEIGHTS)
        if not any(name.endswith(".safetensors") for name in names):
            raise RequestError(
                f"model.source: no *.safetensors in {folder}; other formats can run code and are not loaded"
            )
        digest = sha256({name: _file_digest(folder / name) for name in names})
        return ResolvedModel(revision=digest, location=str(folder.resolve()), origin=folder.resolve().name)
    if not _HUB_ID.fullmatch(source):
        raise RequestError(
            f"model.source: {source!r} is neither a hub id, nor a folder, nor package:<module>/<file>.gguf"
        )
    commit = _hub_commit(source, config.revision, "model", "model.source")
    return ResolvedModel(revision=commit, location=source, origin=source)


def _packaged(source: str) -> ResolvedModel:
    module, _, name = source.removeprefix("package:").partition("/")
    if not re.fullmatch(r"\w+", module) or not re.fullmatch(r"[\w.-]+\.gguf", name):
        raise RequestError(f"model.source: {source!r} is not of the form package:<module>/<file>.gguf")
    found = importlib.util.find_spec(module)
    folders = list(found.submodule_search_locations or []) if found else []
    file = Path(folders[0]) / name if folders else None
    if file is None or not file.is_file():
        raise RequestError(f"model.source: no {name} in an installed package {module}; run `make setup`")
    return ResolvedModel(revision=_file_digest(file), location=str(file.parent), gguf=name, origin=name)


def _is_path(source: str, key: str) -> bool:
    return (
        source.startswith((".", "/", "~"))
        or (os.sep in source and source.count("/") != 1)
        or user_path(source, key).is_dir()
    )


def _hub_commit(repo: str, revision: str | None, kind: str, key: str) -> str:
    """Commit of a hub repository that this account may read."""
    from huggingface_hub import HfApi, constants, errors

    page = f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{repo}"
    if constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes"):
        return _cached_commit(repo, revision, kind, key)
    try:
        info = HfApi().repo_info(repo, revision=revision, repo_type=kind, timeout=10)
        HfApi().auth_check(repo, repo_type=kind)
    except errors.GatedRepoError as error:
        raise RequestError(
            f"{key}: {repo} is gated: accept its licence at {page} and set HF_TOKEN to a token of that account"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise RequestError(f"{key}: {repo} has no revision {revision!r}; see {page}/commits/main") from error
    except errors.RepositoryNotFoundError as error:
        raise RequestError(
            f"{key}: no {kind} {repo} on the hub, or a private one (then set HF_TOKEN); see {page}"
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "?"
        if status in (401, 403):
            raise RequestError(
                f"{key}: the hub refused {repo} ({status}): accept its licence at {page} and set HF_TOKEN to a valid token"
            ) from error
        raise RequestError(f"{key}: the hub answered {status} for {repo}; try again later") from error
    except Exception as error:  # no route, no name, time-out: each HTTP library has its own classes
        if isinstance(error, RequestError):
            raise
        raise RequestError(
            f"{key}: cannot reach {constants.ENDPOINT} for {repo} ({one_line(error, 100)}); "
            f"check the network, or use a folder (or 'sample'), or HF_HUB_OFFLINE=1 with a filled cache"
        ) from error
    if not info.sha:
        raise RequestError(f"{key}: the hub names no commit for {repo}; see {page}")
    return info.sha


def _cached_commit(repo: str, revision: str | None, kind: str, key: str) -> str:
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE) / f"{kind}s--{repo.replace('/', '--')}"
    if revision and _COMMIT.fullmatch(revision) and (cache / "snapshots" / revision).is_dir():
        return revision
    ref = cache / "refs" / (revision or "main")
    if ref.is_file():
        return ref.read_text().strip()
    raise RequestError(
        f"{key}: HF_HUB_OFFLINE is set and {repo} is not in the cache; unset it, or use a folder (or 'sample')"
    )


def _file_digest(file: Path) -> str:
    """sha256 of a file, remembered beside the store for large files that nobody has written to since."""
    stat = file.stat()
    stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    memo = Store.current().scratch / "digests" / f"{sha256(str(file.resolve()))[:32]}.json"
    if stat.st_size > 1 << 24:
        try:
            kept = json.loads(memo.read_text())
            if kept["stamp"] == stamp:
                return str(kept["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
    with file.open("rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
    if stat.st_size > 1 << 24 and Store.current().scratch.exists():
        try:
            memo.parent.mkdir(parents=True, exist_ok=True)
            memo.write_text(json.dumps({"stamp": stamp, "sha256": digest}))
        except OSError:
            pass  # a read-only store: hash again next time
    return digest
