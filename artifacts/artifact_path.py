"""Names in the store: folders and ids of artifacts, and the patterns that every path has to match."""

import re

from artifacts.errors import RequestError

STAGE_NUMBERS = {
    "download": 1,
    "format": 2,
    "train": 3,
    "generate": 4,
    "score": 5,
    "report": 6,
    "promote": 7,
    "review": 8,
    "sample": 9,
    "probe": 10,
    "judge": 11,
}
_ID = re.compile(rf"({'|'.join(STAGE_NUMBERS)})-([0-9a-f]{{8}})")
_FOLDER = re.compile(rf"[1-9]\d?_({'|'.join(STAGE_NUMBERS)})/[A-Za-z0-9.-]{{1,80}}_[0-9a-f]{{8}}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")


def stage_folder(stage: str) -> str:
    """`train` -> `3_train`."""
    return f"{STAGE_NUMBERS[stage]}_{stage}"


def artifact_folder(stage: str, name: str, key: str) -> str:
    """Folder of an artifact, relative to the store: `3_train/<name>_<key8>`."""
    safe = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.")[:60] or stage
    return f"{stage_folder(stage)}/{safe}_{key[:8]}"


def artifact_id(folder: str) -> str:
    """`3_train/<name>_<key8>` -> `train-<key8>`."""
    return f"{folder.split('/')[0].partition('_')[2]}-{folder[-8:]}"


def split_id(artifact: str) -> tuple[str, str]:
    """`train-1a2b3c4d` -> stage and first 8 digits of the key. RequestError for any other text."""
    match = _ID.fullmatch(artifact)
    if not match:
        raise RequestError(
            f"{artifact!r} is not an artifact id (expected <stage>-<8 hex digits>; see `dialogsum show`)"
        )
    return match[1], match[2]


def is_artifact_folder(folder: str) -> bool:
    """Whether this is the folder of an artifact, relative to the store."""
    return _FOLDER.fullmatch(folder) is not None


def checked_folder(folder: str) -> str:
    """`folder`. RequestError unless it is the folder of an artifact."""
    if not is_artifact_folder(folder):
        raise RequestError(f"{folder!r} is not the folder of an artifact (expected <n>_<stage>/<name>_<key8>)")
    return folder


def is_file_name(name: str) -> bool:
    """Whether a payload file or a side file may have this name: no slash, no leading dot."""
    return _FILE_NAME.fullmatch(name) is not None
