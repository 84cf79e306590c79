"""Cache keys: canonical JSON of an identity, its sha256, and the differences of two identities."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

Identity = dict[str, Any]
UNKNOWN = "to be made"
"""In a plan, the digest of an artifact that does not exist yet starts with this."""


class NotIdentity:
    """Marks a config field that cannot change the result; `why` is the reason."""

    def __init__(self, why: str) -> None:
        self.why = why


class NotIdentityAtDefault:
    """Marks a config field that did not exist in earlier versions, which did what its default does.

    At its default it is left out of the key, so that artifacts of these versions keep theirs.
    """


def identity_of(config: BaseModel) -> Identity:
    """The fields of a config that can change the result, nested models included, as plain JSON values."""
    identity: Identity = {}
    plain = config.model_dump(mode="json")
    for name, field in type(config).model_fields.items():
        if any(isinstance(mark, NotIdentity) for mark in field.metadata):
            continue
        value = getattr(config, name)
        if value == field.default and any(isinstance(mark, NotIdentityAtDefault) for mark in field.metadata):
            continue
        identity[name] = identity_of(value) if isinstance(value, BaseModel) else json.loads(canonical(plain[name]))
    return identity


def canonical(value: object) -> str:
    """One spelling for equal values: sorted keys, no spaces, no NaN. Raises ValueError or TypeError on others."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256(value: object) -> str:
    """sha256 of the canonical JSON, 64 hex digits."""
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key in sorted(value):
            yield from _flat(value[key], f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, value


def difference(old: Identity, new: Identity) -> dict[str, tuple[Any, Any]]:
    """The leaves that differ: dotted name -> (old, new); None stands for absent."""
    old_leaves, new_leaves = dict(_flat(old)), dict(_flat(new))
    return {
        name: (old_leaves.get(name), new_leaves.get(name))
        for name in sorted(old_leaves | new_leaves)
        if old_leaves.get(name) != new_leaves.get(name)
    }
