"""Prefect's cache over the artifact store: one cache policy, one result storage, JSON only.

Prefect's own policies do not fit: the default key contains the run id, INPUTS would include paths and batch sizes, and
TASK_SOURCE ignores helpers. So the key is that of the artifact (tasks/execution/decision.py). A stored result is a
receipt whose validator checks every byte of the payload. Prefect treats its error as "no result", so a damaged artifact
is made again. A record that is anything but the receipt of its artifact counts as no result, because Prefect would
import, call and unpickle whatever a record names.
"""

import json
from functools import cache
from typing import Any

from prefect.cache_policies import CacheKeyFnPolicy
from prefect.context import TaskRunContext
from prefect.filesystems import WritableFileSystem
from prefect.serializers import JSONSerializer
from prefect.settings import get_current_settings

from artifacts.artifact_store import Store
from artifacts.refs import Ref

BLOCK = "dialogsum-store"
RECEIPT = f"{Ref.__module__}.{Ref.__qualname__}"


def _key(context: TaskRunContext, inputs: dict[str, Any]) -> str:
    job = inputs["job"]
    return f"{job.stage}-{job.key}"


ARTIFACT_KEY = CacheKeyFnPolicy(cache_key_fn=_key)


class StoreResults(WritableFileSystem):
    """Prefect's result records, in the folder `results/` of the store that this process uses.

    The block contains neither address nor credentials: each worker has its own DIALOGSUM_STORE.
    """

    _block_type_name = "DialogSum store"
    _block_type_slug = BLOCK
    _description = "Result records beside the artifacts they speak of."

    def read_path(self, path: str, _sync: bool = True) -> bytes:  # type: ignore[override]  # Prefect calls both forms
        name = _file_name(path)
        content = Store.current().side_files.read("results", name)
        if content is None:
            raise FileNotFoundError(path)
        return _receipt(content, name)

    async def aread_path(self, path: str) -> bytes:
        return self.read_path(path)

    def write_path(self, path: str, content: bytes, _sync: bool = True) -> None:  # type: ignore[override]
        Store.current().side_files.write(content, "results", _file_name(path))

    async def awrite_path(self, path: str, content: bytes) -> None:
        self.write_path(path, content)


def _receipt(content: bytes, name: str) -> bytes:
    """A record, serialized again. ValueError, KeyError or TypeError unless it is the receipt of the artifact `name`."""
    record = json.loads(content)
    result = json.loads(record["result"])
    ref = Ref.model_validate(result["data"])
    serializer = record["metadata"]["serializer"]
    if (
        serializer != JSONSerializer().model_dump()
        or result["__class__"] != RECEIPT
        or f"{ref.stage}-{ref.key}" != name
    ):
        raise ValueError(f"{name} is not the receipt of that artifact")
    result = {"__class__": RECEIPT, "data": ref.model_dump()}
    return json.dumps({"metadata": record["metadata"], "result": json.dumps(result)}).encode()


def _file_name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def saved_block() -> StoreResults:
    """The block, saved on the server, because Prefect refers to result storage by the id of a block."""
    return _saved_on(get_current_settings().api.url)


@cache
def _saved_on(server: str | None) -> StoreResults:
    """Once per process and server: every stage needs it, and it never changes."""
    block = StoreResults()
    block.save(BLOCK, overwrite=True)
    return block
