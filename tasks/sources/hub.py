"""The Hugging Face hub: the commit that a branch or tag points to, and the verified files of a commit.

Rate limits, server errors and timeouts are retried after a pause. Refusals are not: a missing licence or token, an
unknown name, no network.
"""

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from artifacts.atomic_files import atomic_path
from artifacts.errors import RequestError
from artifacts.text import one_line
from tasks.sources.file_digests import file_digest

RETRY_DELAYS = (1.0, 2.0, 4.0)
"""Seconds before each retry."""
MAX_RETRY_AFTER = 30.0
"""Most seconds to wait when the hub names a time."""
TRANSIENT_ERRORS = ("Timeout", "ReadError", "ProtocolError")
"""Parts of the names of error classes for incomplete responses; the HTTP libraries have different classes."""
Response = TypeVar("Response")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"(?!.*\.\.)\w[\w./-]{0,200}")


def is_commit(revision: str) -> bool:
    """Whether a pinned revision is a commit of the hub; the revision of a folder or file is a sha256 of 64 digits."""
    return _COMMIT.fullmatch(revision) is not None


def hub_commit(repo: str, revision: str | None, kind: str, key: str) -> str:
    """The commit of `revision` in a hub repository. RequestError if this account cannot read it."""
    from huggingface_hub import HfApi, constants, errors, get_token

    page = f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{repo}"
    if revision is not None and not _REVISION.fullmatch(revision):
        raise RequestError(
            f"{key.split('.')[0]}.revision: {one_line(revision, 80)!r} is not the name of a commit, tag or branch; "
            f"see {page}"
        )
    if constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes"):
        return _cached_commit(repo, revision, kind, key)
    try:
        wait = constants.HF_HUB_ETAG_TIMEOUT
        info = with_retries(lambda: HfApi().repo_info(repo, revision=revision, repo_type=kind, timeout=wait))
        with_retries(lambda: HfApi().auth_check(repo, repo_type=kind))
    except errors.GatedRepoError:
        raise RequestError(
            f"{key}: {repo} is gated: accept its licence at {page} and set HF_TOKEN to a token of that account"
        ) from None
    except errors.RevisionNotFoundError:
        raise RequestError(f"{key}: {repo} has no revision {revision!r}; see {page}/commits/main") from None
    except errors.RepositoryNotFoundError as error:
        token = "your token has expired (renew HF_TOKEN, or unset it)" if _status(error) == 401 and get_token() else ""
        reason = token or "a private one (then set HF_TOKEN)"
        raise RequestError(f"{key}: no {kind} {repo} on the hub, or {reason}; see {page}") from None
    except errors.HfHubHTTPError as error:
        status = _status(error)
        if status == 401 and get_token():
            raise RequestError(_refused_token(key)) from None
        if status in (401, 403):
            raise RequestError(
                f"{key}: the hub refused {repo} ({status}): accept its licence at {page} and set HF_TOKEN to a valid "
                "token"
            ) from None
        raise RequestError(f"{key}: the hub responded with {status} for {repo}; try again later") from None
    except Exception as error:  # no route, no such host, timeout: each HTTP library has its own classes
        if isinstance(error, RequestError):
            raise
        raise RequestError(
            f"{key}: cannot reach {constants.ENDPOINT} for {repo} ({one_line(error, 100)}); "
            f"check the network, or use a folder (or 'sample'), or HF_HUB_OFFLINE=1 with a filled cache"
        ) from error
    if not info.sha:
        raise RequestError(f"{key}: the hub returned no commit for {repo}; see {page}")
    if revision is None or not is_commit(revision):
        _remember_commit(repo, revision, kind, info.sha)
    return info.sha


def _refused_token(key: str) -> str:
    return (
        f"{key}: the hub refuses the token (HF_TOKEN, or the one of `hf auth login`), mistyped or expired: "
        "renew it, or unset it, since a public repository needs none"
    )


def _cache(repo: str, kind: str) -> Path:
    """The folder of a repository in the hub's cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"{kind}s--{repo.replace('/', '--')}"


def _remember_commit(repo: str, revision: str | None, kind: str, commit: str) -> None:
    """Note the commit of a branch or tag in the hub's cache, so that the same command works offline.

    The hub's library does this only for downloads by branch or tag, and files are fetched by commit here.
    """
    with contextlib.suppress(OSError), atomic_path(_cache(repo, kind) / "refs" / (revision or "main")) as file:
        file.write_text(commit)


def _status(error: Any) -> Any:
    """The status code only: the response's text may contain the token, and Prefect logs causes."""
    return error.response.status_code if error.response is not None else "?"


def _cached_commit(repo: str, revision: str | None, kind: str, key: str) -> str:
    cache = _cache(repo, kind)
    if revision and _COMMIT.fullmatch(revision) and (cache / "snapshots" / revision).is_dir():
        return revision
    ref = cache / "refs" / (revision or "main")
    if ref.is_file() and is_commit(commit := ref.read_text().strip()) and (cache / "snapshots" / commit).is_dir():
        return commit
    instead = "a folder or 'sample'" if kind == "dataset" else "a folder"
    raise RequestError(
        f"{key}: HF_HUB_OFFLINE is set and {repo} is not in the cache; use {instead}, or unset HF_HUB_OFFLINE if this "
        "machine has internet access"
    )


def fetch(repo: str, revision: str, patterns: list[str], kind: str = "model", key: str = "model.source") -> Path:
    """Local folder with the files of a repository at a commit. RequestError if one of them is missing or damaged."""
    from huggingface_hub import errors, snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    try:
        folder = Path(
            with_retries(lambda: snapshot_download(repo, revision=revision, repo_type=kind, allow_patterns=patterns))
        )
    except errors.GatedRepoError:
        raise RequestError(f"{key}: {repo} is gated: accept its licence on its page and set HF_TOKEN") from None
    except errors.HfHubHTTPError as error:
        raise RequestError(f"{key}: cannot fetch {repo}: the hub responded with {_status(error)}") from None
    except Exception as error:
        raise RequestError(f"{key}: cannot fetch {repo} ({one_line(error, 160)})") from error
    if kind == "dataset" and not (folder.parents[1] / "trees" / f"{revision}.json").is_file():
        # offline, without the list of the commit's files, an incomplete snapshot looks complete
        raise RequestError(
            f"{key}: {repo}@{revision[:8]} may be incomplete in the cache, which has no list of its files: run once "
            "with access to the hub"
        )
    if corrupt := [file for file in sorted(folder.rglob("*")) if file.is_file() and not _matches_blob_digest(file)]:
        for file in corrupt:
            file.resolve().unlink()
            file.unlink(missing_ok=True)
        raise RequestError(
            f"{key}: {corrupt[0].name} of {repo} does not match its digest on the hub and was removed from the cache: "
            "run the same command again"
        )
    return folder


def with_retries(call: Callable[[], Response]) -> Response:
    """The result of a call to the hub, which is repeated after transient errors."""
    for delay in RETRY_DELAYS:
        try:
            return call()
        except Exception as error:
            seconds = _retry_seconds(error, delay)
            if seconds is None:
                raise
            time.sleep(seconds)
    return call()


def _retry_seconds(error: BaseException | None, delay: float) -> float | None:
    """Seconds until a retry; None if the error is not transient. The first status among error and causes decides."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            if response.status_code != 429 and response.status_code < 500:
                return None
            retry_after = str(response.headers.get("Retry-After", ""))
            return min(MAX_RETRY_AFTER, float(retry_after)) if retry_after.isdecimal() else delay
        if any(word in type(error).__name__ for word in TRANSIENT_ERRORS):
            return delay
        error = error.__cause__
    return None


def _matches_blob_digest(file: Path) -> bool:
    """Whether a file in the hub's cache has the digest in its name: sha256, or git's sha1 for small files."""
    blob = file.resolve()
    if re.fullmatch(r"[0-9a-f]{64}", blob.name):
        return file_digest(blob) == blob.name
    if re.fullmatch(r"[0-9a-f]{40}", blob.name):
        content = blob.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == blob.name
    return True
