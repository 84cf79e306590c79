"""The hub: which commit a name means, and the files of a commit, each with the bytes that the hub says it has.

What may pass is asked again after a while: too many requests, a fault of the server, no answer in time. What asking again
cannot mend is not: no licence, no such name, no network.
"""

import hashlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from artifacts.errors import RequestError
from artifacts.text import one_line
from tasks.sources.file_digests import file_digest

WAITS = (1.0, 2.0, 4.0)
"""Seconds before asking again."""
LONGEST = 30.0
"""The hub may say how long to wait; no longer than this."""
PASSING = ("Timeout", "ReadError", "ProtocolError")
"""In the names of classes that say that no whole answer came; which library's they are differs."""
Answer = TypeVar("Answer")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"(?!.*\.\.)\w[\w./-]{0,200}")


def is_commit(revision: str) -> bool:
    """Whether a pinned revision is a commit of the hub; that of a folder or file is the 64 digits of its sha256."""
    return _COMMIT.fullmatch(revision) is not None


def hub_commit(repo: str, revision: str | None, kind: str, key: str) -> str:
    """Commit of a hub repository that this account may read."""
    from huggingface_hub import HfApi, constants, errors

    page = f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{repo}"
    if revision is not None and not _REVISION.fullmatch(revision):
        raise RequestError(
            f"{key.split('.')[0]}.revision: {one_line(revision, 80)!r} is no name of a commit, tag or branch; see {page}"
        )
    if constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes"):
        return _cached_commit(repo, revision, kind, key)
    try:
        wait = constants.HF_HUB_ETAG_TIMEOUT
        info = patiently(lambda: HfApi().repo_info(repo, revision=revision, repo_type=kind, timeout=wait))
        patiently(lambda: HfApi().auth_check(repo, repo_type=kind))
    except errors.GatedRepoError:
        raise RequestError(
            f"{key}: {repo} is gated: accept its licence at {page} and set HF_TOKEN to a token of that account"
        ) from None
    except errors.RevisionNotFoundError:
        raise RequestError(f"{key}: {repo} has no revision {revision!r}; see {page}/commits/main") from None
    except errors.RepositoryNotFoundError:
        raise RequestError(
            f"{key}: no {kind} {repo} on the hub, or a private one (then set HF_TOKEN); see {page}"
        ) from None
    except errors.HfHubHTTPError as error:
        status = _status(error)
        if status in (401, 403):
            raise RequestError(
                f"{key}: the hub refused {repo} ({status}): accept its licence at {page} and set HF_TOKEN to a valid token"
            ) from None
        raise RequestError(f"{key}: the hub answered {status} for {repo}; try again later") from None
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


def _status(error: Any) -> Any:
    """All that is repeated of an answer: its words may have the token in them, and Prefect logs causes."""
    return error.response.status_code if error.response is not None else "?"


def _cached_commit(repo: str, revision: str | None, kind: str, key: str) -> str:
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE) / f"{kind}s--{repo.replace('/', '--')}"
    if revision and _COMMIT.fullmatch(revision) and (cache / "snapshots" / revision).is_dir():
        return revision
    ref = cache / "refs" / (revision or "main")
    if ref.is_file() and _COMMIT.fullmatch(commit := ref.read_text().strip()):
        return commit
    instead = "a folder or 'sample'" if kind == "dataset" else "a folder"
    raise RequestError(
        f"{key}: HF_HUB_OFFLINE is set and {repo} is not in the cache; use {instead}, or unset HF_HUB_OFFLINE if this "
        "machine has internet access"
    )


def fetch(repo: str, revision: str, patterns: list[str], kind: str = "model", key: str = "model.source") -> Path:
    """Local folder with the files of a repository at a commit. RequestError if they cannot be had whole."""
    from huggingface_hub import errors, snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    try:
        folder = Path(
            patiently(lambda: snapshot_download(repo, revision=revision, repo_type=kind, allow_patterns=patterns))
        )
    except errors.GatedRepoError:
        raise RequestError(f"{key}: {repo} is gated: accept its licence on its page and set HF_TOKEN") from None
    except errors.HfHubHTTPError as error:
        raise RequestError(f"{key}: cannot fetch {repo}: the hub answered {_status(error)}") from None
    except Exception as error:
        raise RequestError(f"{key}: cannot fetch {repo} ({one_line(error, 160)})") from error
    if kind == "dataset" and not (folder.parents[1] / "trees" / f"{revision}.json").is_file():
        # without the list of the commit's files, offline, a snapshot that lacks some of them looks like a whole one
        raise RequestError(
            f"{key}: {repo}@{revision[:8]} may be incomplete in the cache, which has no list of its files: run once with "
            "access to the hub"
        )
    if wrong := [file for file in sorted(folder.rglob("*")) if file.is_file() and not _as_named(file)]:
        for file in wrong:
            file.resolve().unlink()
            file.unlink(missing_ok=True)
        raise RequestError(
            f"{key}: {wrong[0].name} of {repo} came with other bytes than the hub says it has; it was removed: "
            "give the same command again"
        )
    return folder


def patiently(call: Callable[[], Answer]) -> Answer:
    """What a call to the hub returns, asked again where that may help."""
    for wait in WAITS:
        try:
            return call()
        except Exception as error:
            pause = _pause(error, wait)
            if pause is None:
                raise
            time.sleep(pause)
    return call()


def _pause(error: BaseException | None, wait: float) -> float | None:
    """Seconds until it is worth asking again; None if it is not. The first who knows a status decides, causes included."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            if response.status_code != 429 and response.status_code < 500:
                return None
            said = str(response.headers.get("Retry-After", ""))
            return min(LONGEST, float(said)) if said.isdecimal() else wait
        if any(word in type(error).__name__ for word in PASSING):
            return wait
        error = error.__cause__
    return None


def _as_named(file: Path) -> bool:
    """Whether a file in the hub's cache has the digest that it is stored under there: sha256, or git's of a small one."""
    blob = file.resolve()
    if re.fullmatch(r"[0-9a-f]{64}", blob.name):
        return file_digest(blob) == blob.name
    if re.fullmatch(r"[0-9a-f]{40}", blob.name):
        content = blob.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == blob.name
    return True
