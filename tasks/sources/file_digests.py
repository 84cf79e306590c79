"""sha256 of files outside the store, remembered for large ones that nobody has written to since."""

import hashlib
import json
from pathlib import Path

from artifacts.artifact_store import Store
from artifacts.cache_key import sha256


def file_digest(file: Path) -> str:
    """64 hex digits. What is remembered lies in the store's scratch."""
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
