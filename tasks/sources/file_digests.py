"""sha256 of files outside of the store; for large files it is cached until the file changes."""

import hashlib
import json
from pathlib import Path

from artifacts.artifact_store import Store
from artifacts.cache_key import sha256

MIN_CACHED_BYTES = 1 << 24


def file_digest(file: Path) -> str:
    """The sha256 of a file, 64 hex digits, cached in the store's scratch folder."""
    stat = file.stat()
    is_large = stat.st_size > MIN_CACHED_BYTES
    stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    cache_file = Store.current().scratch / "digests" / f"{sha256(str(file.resolve()))[:32]}.json"
    if is_large:
        try:
            cached = json.loads(cache_file.read_text())
            if cached["stamp"] == stamp:
                return str(cached["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
    with file.open("rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
    if is_large and Store.current().scratch.exists():
        try:
            cache_file.parent.mkdir(parents=True, exist_ok=True)
            cache_file.write_text(json.dumps({"stamp": stamp, "sha256": digest}))
        except OSError:
            pass  # the store is read-only: the file is hashed again next time
    return digest
