"""Identity: equal work has equal keys, other work has other keys, and edited code is other work."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from artifacts.cache_key import NotIdentity, canonical, difference, identity_of, sha256
from tasks.config import (
    DistillConfig,
    Fold,
    GateConfig,
    GenerateConfig,
    ReportConfig,
    ResolvedData,
    ResolvedModel,
    Runtime,
    ScoreConfig,
    TrainConfig,
    TrainSpec,
)

DATA = ResolvedData(kind="folder", revision="a" * 64, location="/data/a", origin="a")
MODEL = ResolvedModel(revision="b" * 64, location="/models/b", origin="b")
TRAIN = TrainSpec(model=MODEL, turns="gemma", quantization="nf4", train=TrainConfig())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


def turned(value: Any) -> Any:
    """The same JSON with the keys of every object in reverse order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(item) for item in value] if isinstance(value, list) else value


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(JSON)
def test_equal_json_has_one_spelling_whatever_the_order_of_its_keys(value: Any) -> None:
    """The canonical text reads back as the value, and its digest is the sha256 of that text."""
    assert canonical(turned(value)) == canonical(value)
    assert json.loads(canonical(value)) == value
    assert sha256(turned(value)) == hashlib.sha256(canonical(value).encode()).hexdigest()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"x", {1, 2}, Path("x"), {"a": [float("-inf")]}])
def test_what_json_cannot_say_has_no_identity(value: object) -> None:
    """No two spellings, no `repr`: refused instead."""
    with pytest.raises((ValueError, TypeError)):
        sha256(value)


def leaves(config: BaseModel, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    paths = []
    for name in type(config).model_fields:
        value = getattr(config, name)
        paths += leaves(value, (*prefix, name)) if isinstance(value, BaseModel) else [(*prefix, name)]
    return paths


def another(value: Any, annotation: Any) -> Any:
    """Some other valid value of a field."""
    for kind in (annotation, *get_args(annotation)):
        if get_origin(kind) is Literal:
            return next(word for word in get_args(kind) if word != value)
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value * 0.9 or 0.25
        case str():
            return f"{value}x"
        case tuple():
            return value[::-1]
    return 1 if "int" in str(annotation) or "float" in str(annotation) else "x"


def changed(config: BaseModel, path: tuple[str, ...]) -> BaseModel:
    """The config with another value at one leaf, validated."""
    name, *rest = path
    value = getattr(config, name)
    new = changed(value, tuple(rest)) if rest else another(value, type(config).model_fields[name].annotation)
    return type(config).model_validate(dict(config) | {name: new})


DISTILL = DistillConfig(samples=8)
OF_CANDIDATES = {("samples",), ("folds",), ("rounds",), ("temperature",), ("epsilon",)}
"""Settings of a distillation that are in the keys of the candidates, from which it trains."""
OF_DISTILLATION = {("distill", *path) for path in leaves(DISTILL)}
"""A supervised training uses none; the other trainings have them as their `preference`."""
NO_IDENTITY = {GateConfig: {("automatic",)}, TrainConfig: OF_DISTILLATION, DistillConfig: OF_CANDIDATES}
SCIENCE = [
    pytest.param(config, path, id=f"{type(config).__name__}.{'.'.join(path)}")
    for config in (TrainConfig(), DISTILL, GenerateConfig(), ScoreConfig(), GateConfig(), ReportConfig())
    for path in leaves(config)
    if path not in NO_IDENTITY.get(type(config), set())
]


@pytest.mark.parametrize(("config", "path"), SCIENCE)
def test_every_setting_of_a_stage_is_identity(config: BaseModel, path: tuple[str, ...]) -> None:
    """A change of any one of them is another key, and the difference names it alone."""
    other = changed(config, path)
    assert sha256(identity_of(other)) != sha256(identity_of(config))
    assert list(difference(identity_of(config), identity_of(other))) == [".".join(path)]


def test_a_later_setting_is_identity_only_where_it_is_not_at_its_default() -> None:
    """Artifacts of earlier versions, which had no such setting, keep their keys."""
    assert "quantization" not in identity_of(GenerateConfig())
    assert identity_of(GenerateConfig(quantization="nf4")) == {**identity_of(GenerateConfig()), "quantization": "nf4"}
    assert difference(identity_of(GenerateConfig(quantization="nf4")), identity_of(GenerateConfig())) == {
        "quantization": ("nf4", None)
    }


@pytest.mark.parametrize("name", Runtime.model_fields)
def test_every_runtime_setting_says_why_it_is_not_identity(name: str) -> None:
    """How the work is done here is in no key, each field for a reason given in a sentence."""
    reasons = [mark.why for mark in Runtime.model_fields[name].metadata if isinstance(mark, NotIdentity)]
    assert [len(why.split()) > 4 for why in reasons] == [True]
    assert identity_of(changed(Runtime(), (name,))) == identity_of(Runtime()) == {}


@pytest.mark.parametrize(
    ("config", "identity"),
    [
        (DATA, {("revision",)}),
        (MODEL, {("revision",)}),
        (
            TRAIN,
            {("model", "revision"), ("turns",), ("quantization",)}
            | {("train", *path) for path in leaves(TRAIN.train) if path not in OF_DISTILLATION},
        ),
    ],
    ids=["data", "model", "train"],
)
def test_where_the_bytes_lie_is_not_identity(config: BaseModel, identity: set[tuple[str, ...]]) -> None:
    """Of pinned data and models only the revision counts, also inside a stage's section."""
    varied = [path for path in leaves(config) if path not in (("preference",), ("without",))]
    varied = [path for path in varied if path[1:] not in OF_DISTILLATION]
    moved = {path for path in varied if identity_of(changed(config, path)) != identity_of(config)}
    assert moved == identity


def test_a_distillation_is_identity_of_the_trainings_that_use_it() -> None:
    """Not of the supervised one, which the same recipe without distillation shares."""
    distilled = TRAIN.model_copy(update={"train": TrainConfig(distill=DISTILL)})
    assert identity_of(distilled) == identity_of(TRAIN)
    others = [
        distilled.model_copy(update={"preference": DISTILL}),
        distilled.model_copy(update={"preference": DistillConfig(samples=8, beta=0.2)}),
        distilled.model_copy(update={"without": Fold(index=0, count=2)}),
        distilled.model_copy(update={"without": Fold(index=1, count=2)}),
    ]
    assert len({sha256(identity_of(spec)) for spec in (TRAIN, *others)}) == 5


def test_a_difference_has_every_leaf_with_old_and_new() -> None:
    """Dotted name -> (old, new), and none where nothing differs."""
    old = {"config": {"train": {"lora": {"rank": 8}, "limit": None}}, "code": {"tasks.metrics.rouge": "a"}}
    new = {"config": {"train": {"lora": {"rank": 16}, "limit": None}}, "code": {"tasks.metrics.rouge": "b"}}
    assert difference(old, old) == {}
    assert difference(old, new) == {"code.tasks.metrics.rouge": ("a", "b"), "config.train.lora.rank": (8, 16)}
