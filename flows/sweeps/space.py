"""The space of a sweep, from `--over`: the keys of a recipe that it varies, each over listed values or over a range."""

import itertools
import json
import math
import re
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any, Literal

import yaml

from artifacts.cache_key import canonical
from artifacts.errors import RequestError
from artifacts.record import Record
from artifacts.text import one_line
from flows.recipe import Recipe, all_keys, load_recipe
from flows.secrets_in_text import refuse_secrets

Parameters = dict[str, Any]
"""Dotted key of a recipe -> value, as in the JSON of the recipe."""
SAME_DIALOGUES = "all trials are compared on the same validation dialogues"
SAME_LOSS = "it changes where the validation loss is measured, not the model"
REFUSED = {
    "gate": "the gate judges scores and changes none",
    "probe": "the probe measures a model and changes none",
    "judge": "the judge measures summaries and changes none",
    "report": "the report shows scores and changes none",
    "runtime": "it changes the speed, not the result",
    "seeds": "a trial trains with one seed",
    "score": "it changes how summaries are measured, not the summaries",
    "data": SAME_DIALOGUES,
    "generate.limit": SAME_DIALOGUES,
    "train.evaluations": SAME_LOSS,
    "train.validation_limit": SAME_LOSS,
}
"""Key or section that no sweep may vary -> why."""
LOG_RATIO = 10
"""From this ratio of its ends on, a range is sampled on a logarithmic scale."""
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"\s*({_NUMBER})\.\.({_NUMBER})\s*")


class Choices(Record):
    """Listed values of a key."""

    kind: Literal["choices"] = "choices"
    key: str
    values: tuple[Any, ...]

    def contains(self, value: Any) -> bool:
        return canonical(value) in map(canonical, self.values)

    def __str__(self) -> str:
        return f"{self.key}: {', '.join(map(as_yaml, self.values))}"


class Range(Record):
    """A range of a numeric key, ends included."""

    kind: Literal["range"] = "range"
    key: str
    low: int | float
    high: int | float

    @property
    def is_integer(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def is_logarithmic(self) -> bool:
        return self.low > 0 and self.high / self.low >= LOG_RATIO

    @property
    def values(self) -> tuple[Any, ...]:
        """Both ends."""
        return self.low, self.high

    def contains(self, value: Any) -> bool:
        return isinstance(value, int if self.is_integer else int | float) and self.low <= value <= self.high

    def __str__(self) -> str:
        scale = "logarithmic scale" if self.is_logarithmic else "linear scale"
        return f"{self.key}: {as_yaml(self.low)} to {as_yaml(self.high)}, {scale}"


class Space(Record):
    """What a sweep varies, in the order of the request."""

    dimensions: tuple[Choices | Range, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(dimension.key for dimension in self.dimensions)

    @property
    def size(self) -> int | None:
        """Number of points; None if a range has as many as one likes."""
        if any(isinstance(dimension, Range) for dimension in self.dimensions):
            return None
        return math.prod(len(dimension.values) for dimension in self.dimensions)

    def corners(self) -> Iterator[Parameters]:
        """All combinations of listed values and ends of ranges; the last key varies fastest."""
        for values in itertools.product(*(dimension.values for dimension in self.dimensions)):
            yield dict(zip(self.keys, values, strict=True))

    def contains(self, parameters: Parameters) -> bool:
        return all(dimension.contains(parameters[dimension.key]) for dimension in self.dimensions)


def parse_space(recipe: str, overrides: Sequence[str], over: Sequence[str], sampled: bool) -> Space:
    """The space of `--over KEY=VALUE,VALUE` and, if it is `sampled`, of `--over KEY=LOW..HIGH`.

    RequestError if a key is unknown, refused or given twice, or if the recipe does not accept one of the values.
    """
    refuse_secrets(over, "--over")
    if not over:
        raise RequestError("a sweep needs values to try: --over train.lora.rank=32,64,128")
    dimensions = [_dimension(recipe, overrides, text, sampled) for text in over]
    keys = [dimension.key for dimension in dimensions]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise RequestError(f"--over {twice[0]} is given twice: list all of its values in one")
    return Space(dimensions=tuple(dimensions))


def values_of(recipe: Recipe, space: Space) -> Parameters:
    """What the recipe itself has for the keys of a space."""
    content = recipe.model_dump(mode="json")
    return {key: reduce(lambda section, name: section[name], key.split("."), content) for key in space.keys}


def as_overrides(parameters: Parameters) -> list[str]:
    """`["train.lora.rank=64", "prompt=brief"]`, which `load_recipe` accepts."""
    return [f"{key}={as_yaml(value)}" for key, value in parameters.items()]


def as_yaml(value: Any) -> str:
    """A value on one line, so that it reads as the same value."""
    if isinstance(value, str) and value.isprintable() and yaml.safe_load(f"[{value}]") == [value]:
        return value
    text = canonical(value)
    return text if text.isprintable() else json.dumps(value)


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Key -> its last part, or as many as tell it from the others: `train.lora.rank` -> `rank`."""

    def ending(key: str, count: int) -> str:
        return ".".join(key.split(".")[-count:])

    return {
        key: next(ending(key, n) for n in range(1, 9) if sum(ending(other, n) == ending(key, n) for other in keys) == 1)
        for key in keys
    }


def _dimension(recipe: str, overrides: Sequence[str], text: str, sampled: bool) -> Choices | Range:
    key, sign, values = (part.strip() for part in text.partition("="))
    if not sign or not key or not values:
        raise RequestError(f"--over {one_line(text, 80)}: expected KEY=VALUE,VALUE,… or KEY=LOW..HIGH")
    for refused, reason in REFUSED.items():
        if f"{key}.".startswith(f"{refused}."):
            raise RequestError(f"--over {key}: a sweep cannot vary it: {reason}")
    if ends := _RANGE.fullmatch(values):
        low, high = (_accepted(recipe, overrides, key, end) for end in ends.groups())
        if not all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high)) or low >= high:
            raise RequestError(f"--over {key}: expected LOW..HIGH, two numbers of which the second is higher")
        if not sampled:
            raise RequestError(f"--over {key}: a range has no grid: add --trials N, or list the values")
        return Range(key=key, low=low, high=high)
    try:
        listed = yaml.safe_load(f"[{values}]")
    except yaml.YAMLError as error:
        raise RequestError(f"--over {key}: expected YAML values with commas ({one_line(error, 80)})") from error
    accepted = [_accepted(recipe, overrides, key, as_yaml(value)) for value in listed]
    names = [canonical(value) for value in accepted]
    if twice := [value for value, name in zip(accepted, names, strict=True) if names.count(name) > 1]:
        raise RequestError(f"--over {key}: {as_yaml(twice[0])} is given twice")
    return Choices(key=key, values=tuple(accepted))


def _accepted(recipe: str, overrides: Sequence[str], key: str, text: str) -> Any:
    """A value as the recipe has it once it is read: `2e-4` -> 0.0002. RequestError if it is refused."""
    try:
        loaded = load_recipe(recipe, [*overrides, f"{key}={text}"])
    except RequestError as error:
        raise RequestError(f"--over {str(error).removeprefix('--set ')}") from error
    if key not in all_keys(Recipe):
        raise RequestError(f"--over {key} is a section: name one of its keys")
    return values_of(loaded, Space(dimensions=(Choices(key=key, values=()),)))[key]
