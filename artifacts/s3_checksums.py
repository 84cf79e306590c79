"""S3's newer checksums, which Cloudflare R2, Backblaze B2, Google Cloud Storage and older MinIO refuse in various ways.

botocore sends them by default. A store does without, since it compares every payload byte with a sha256 of its own.
Whoever sets one of the VARIABLES gets what it says; if the store then refuses a request, `refused_checksums` finds out
whether it is because of them.
"""

import os
import uuid
from contextlib import suppress
from typing import Any, cast

from upath import UPath

VARIABLES = {
    "AWS_REQUEST_CHECKSUM_CALCULATION": "request_checksum_calculation",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "response_checksum_validation",
}
"""Environment variable -> the setting of botocore's Config."""


def open_without_checksums(root: str, variables: list[str] | None = None) -> UPath:
    """The root of a store on S3. The settings of these variables, by default of those that are not set, are off."""
    unset = [name for name in VARIABLES if name not in os.environ] if variables is None else variables
    settings = {VARIABLES[name]: "when_required" for name in unset}
    options: dict[str, Any] = {"config_kwargs": settings} if settings else {}
    return cast(UPath, UPath(root, use_listings_cache=False, **options))


def refused_checksums(root: str) -> str:
    """The settings that make a store usable which has refused a request; empty if checksums are not the reason.

    Writes, reads and deletes an object, without checksums. Sends nothing if none were sent before.
    """
    switched_on = [name for name in VARIABLES if os.environ.get(name, "when_required").lower() != "when_required"]
    if not switched_on:
        return ""
    folder = open_without_checksums(root, [*VARIABLES])
    probe = f"{folder.path.rstrip('/')}/.probe-{uuid.uuid4().hex}"
    try:
        folder.fs.pipe_file(probe, b"dialogsum")
        readable = folder.fs.cat_file(probe) == b"dialogsum"
    except Exception:  # it refuses more than checksums, or does not answer
        return ""
    finally:
        with suppress(Exception):
            folder.fs.rm_file(probe)  # deleting several objects at once always needs a checksum
    return " and ".join(f"{name}=when_required" for name in switched_on) if readable else ""
