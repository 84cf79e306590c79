"""Recipes and prompts: a right one loads, a wrong one is refused in one line that names what was meant."""

from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifacts.cache_key import identity_of
from artifacts.errors import RequestError
from flows.recipe import PROMPTS, RECIPES, Recipe, all_keys, load_recipe
from tasks.models.prompt_template import load_prompt

BUNDLED = sorted(file.stem for file in RECIPES.glob("*.yaml"))
FIXED = {  # DESIGN.md: "Recipe keys (fixed)"
    "data.source",
    "data.revision",
    "prompt",
    "model.source",
    "model.revision",
    "model.quantization",
    "train.epochs",
    "train.learning_rate",
    "train.max_steps",
    "train.limit",
    "train.lora.rank",
    "train.seed",
    "evaluation.prompt",
    "generate.limit",
    "generate.max_new_tokens",
    "score.bootstrap_seed",
    "runtime.train_batch_size",
    "runtime.generate_batch_size",
    "runtime.gpus",
}


def refused(recipe: str | Path, *overrides: str) -> str:
    """The message with which a recipe is refused, checked to be one line that can be printed."""
    with pytest.raises(RequestError) as refusal:
        load_recipe(str(recipe), overrides)
    assert str(refusal.value).isprintable()
    return str(refusal.value)


@pytest.mark.parametrize("name", BUNDLED)
def test_every_bundled_recipe_and_its_prompt_load(name: str) -> None:
    """By name and as a file, to the same recipe, whose prompt is in the library."""
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe == load_recipe(str(RECIPES / f"{name}.yaml"))
    assert "{dialogue}" in load_prompt(recipe.prompt, PROMPTS)


@pytest.mark.parametrize("trained", ["none", "nf4"])
@pytest.mark.parametrize("wanted", ["", "auto", "none", "nf4"])
def test_generation_has_the_quantization_of_the_training_unless_the_recipe_says_otherwise(
    trained: str, wanted: str
) -> None:
    """Whether the training's comes from the recipe or from an override; the recipe itself keeps `auto`."""
    overrides = [f"model.quantization={trained}", *([f"generate.quantization={wanted}"] if wanted else [])]
    recipe = load_recipe("quickstart", overrides)
    expected = wanted if wanted in ("none", "nf4") else trained
    assert recipe.decoding.quantization == expected
    assert recipe.generate.quantization == (wanted or "auto")
    assert recipe.revision == load_recipe("quickstart", [overrides[0], f"generate.quantization={expected}"]).revision
    assert recipe.decoding.model_dump(exclude={"quantization"}) == recipe.generate.model_dump(exclude={"quantization"})


@pytest.mark.parametrize("name", BUNDLED)
def test_the_keys_of_a_recipe_name_the_quantization_only_where_it_trains_with_one(name: str) -> None:
    """So that the predictions of all others are those of versions without this setting."""
    trained = (yaml.safe_load((RECIPES / f"{name}.yaml").read_text())["model"]).get("quantization")
    assert identity_of(load_recipe(name).decoding).get("quantization") == trained
    assert trained == ("nf4" if name in ("article", "gemma-2b") else None)


def test_the_four_recipes_and_the_fixed_keys_are_there() -> None:
    """Names that others build on."""
    assert set(BUNDLED) >= {"quickstart", "smollm2-135m", "gemma-2b", "article"}
    assert set(all_keys(Recipe)) >= FIXED


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.epochs=3", 3.0),
        ("train.learning_rate=1e-3", 0.001),
        ("train.learning_rate=2.5e-4", 0.00025),
        ("train.max_steps=12", 12),
        ("train.max_steps=null", None),
        ("train.max_steps=", None),
        ("train.seed=7", 7),
        ("train.stop_token=false", False),
        ("train.schedule=linear", "linear"),
        ("train.lora.rank=2", 2),
        ("train.lora.targets=[q_proj, v_proj]", ("q_proj", "v_proj")),
        ("data.source=./a=b", "./a=b"),
        ("data.revision='123'", "123"),
        ("prompt=brief", "brief"),
        (" prompt = brief", "brief"),
        ("evaluation.turns=none", "none"),
        ("runtime.gpus=0", 0),
        ("data.source=ünïcode", "ünïcode"),
    ],
)
def test_an_override_sets_one_key_and_nothing_else(override: str, expected: object) -> None:
    """Values of every type read as YAML does; all other keys stay as the recipe has them."""
    path = override.split("=")[0].strip().split(".")
    default, changed = load_recipe("quickstart").model_dump(), load_recipe("quickstart", [override]).model_dump()
    value: Any = reduce(lambda inner, name: inner[name], path, changed)
    assert value == expected
    assert type(value) is type(expected)
    for content in (default, changed):
        reduce(lambda inner, name: inner[name], path[:-1], content).pop(path[-1])
    assert default == changed


def test_a_wrong_value_in_the_file_is_blamed_on_the_file(tmp_path: Path) -> None:
    """The error names --set only if an override set the wrong key or its complete section."""
    file = tmp_path / "mine.yaml"
    file.write_text("model: {source: x, turns: chatml}\ntrain: {epochs: abc}\n")
    for overrides in ([], ["train.seed=7"]):
        assert refused(file, *overrides).startswith("mine.yaml: train.epochs: got 'abc'")
    assert refused(file, "train={epochs: abc}").startswith("--set train.epochs: got 'abc'")


def test_the_last_override_wins_and_a_complete_section_can_be_set() -> None:
    """In the order given, each over what was there before it."""
    recipe = load_recipe("quickstart", ["train.lora={rank: 2}", "train.lora.rank=3", "train.lora.alpha=5"])
    assert (recipe.train.lora.rank, recipe.train.lora.alpha) == (3, 5)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.lerning_rate=1", "'train.learning_rate'"),
        ("train.lora.rnk=1", "'train.lora.rank'"),
        ("trane.epochs=1", "train"),
        ("learning_rate=1", "'train.learning_rate'"),
        ("promt=brief", "'prompt'"),
        ("runtime.gpu=1", "'runtime.gpus'"),
        ("generate.max_tokens=1", "'generate.max_new_tokens'"),
        ("name=x", "'name'"),
        ("data.source.x=1", "'source' is not a section"),
        (".=1", "unknown key"),
        ("train.epochs", "expected section.key=value"),
        ("=1", "expected section.key=value"),
        ("", "section.key=value"),
        ("train.epochs=many", "--set train.epochs: got 'many'"),
        ("train.epochs=0", "train.epochs: got 0"),
        ("train.max_steps=1.5", "train.max_steps: got 1.5"),
        ("train.lora.rank=-8", "train.lora.rank: got -8"),
        ("train.seed=[1]", "train.seed: got [1]"),
        ("train=5", "train: got 5"),
        ("train.lora=[]", "train.lora: got []"),
        ("train.stop_token=maybe", "train.stop_token: got 'maybe'"),
        ("data.source=1", "data.source: got 1"),
        ("train.schedule=cubic", "'cosine', 'linear' or 'constant'"),
        ("model.quantization=int8", "'none' or 'nf4'"),
        ("model.quantization=auto", "'none' or 'nf4'"),
        ("generate.quantization=int8", "'auto', 'none' or 'nf4'"),
        ("model.turns=chatlm", "'chatml', "),
        ("model.source=null", "model.source: got None"),
        ("train.foo=1", "unknown key 'train.foo'; known in train: engine, learning_rate, "),
        ("runtime.workers=2", "runtime.workers is a key of an earlier version: remove it"),
        ("train.lora.zzz=1", "known in train.lora: rank, alpha, dropout, targets, rslora"),
        ("train.seed=[1", "the value is not valid YAML"),
        ("train.seed=" + "[" * 5000, "the value is not valid YAML"),
        ("train.seed=\x1b[31m", "is not valid YAML"),
        ("prompt={dialogue}", "prompt: got {'dialogue': None}"),
    ],
)
def test_a_wrong_override_is_refused_by_what_is_wrong_with_it(override: str, expected: str) -> None:
    """One line with what was got and the nearest key, or the type that is expected."""
    assert expected in refused("quickstart", override)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"- a\n- b\n", "expected sections"),
        (b"just text", "expected sections"),
        (b"", "expected sections"),
        (b"1: 2\n", "expected sections"),
        (b"train: [1\n", "not a recipe"),
        (b"a: b: c\n", "not a recipe"),
        (b"\xff\xfe\x00", "not a recipe"),
        (b"a: \x00", "not a recipe"),
        (b"{" * 5000, "not a recipe"),
        (b"a: *nowhere\n", "not a recipe"),
        (b"a: !!python/object:os.system x\n", "not a recipe"),
        (b"train: {epochs: 1}\n", "model is missing"),
        (b"model: {turns: gemma}\n", "model.source is missing"),
        (b"model: {source: x}\ntrain: {lora: {rnak: 1}}\n", "'train.lora.rank'"),
        (b"model: {source: x}\ntrain: {1: 2}\n", "unknown key 'train.1'"),
        (b"model: {source: x}\ntrain: &a {lora: *a}\n", "unknown key 'train.lora.lora'"),
        (b"model: &a {source: [*a]}\n", "model.source: got"),
    ],
)
def test_an_unreadable_recipe_is_refused_by_its_name(tmp_path: Path, content: bytes, expected: str) -> None:
    """No YAML, other YAML than sections, sections that lack something."""
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    assert expected in refused(file)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("quikstart", "'quickstart'"), ("gemma", "'gemma-2b'"), ("no/such.yaml", "no recipe"), ("", "known")],
)
def test_an_unknown_recipe_is_answered_with_the_nearest(name: str, expected: str) -> None:
    """By name, or the list of them all."""
    assert expected in refused(name)


KEYS = (
    st.sampled_from([*Recipe.model_fields, *(part for key in all_keys(Recipe) for part in key.split("."))]) | st.text()
)
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.binary(max_size=5)
TREES = st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))
fuzz = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def answer(recipe: str, *overrides: str) -> str:
    """What a recipe is refused with, or nothing; any other exception is the test's failure."""
    try:
        load_recipe(recipe, overrides)
    except RequestError as refusal:
        return str(refusal)
    return ""


@fuzz
@given(content=st.text() | st.binary())
def test_any_file_loads_or_is_refused_in_one_line(tmp_path: Path, content: str | bytes) -> None:
    """No other exception, whatever the bytes."""
    file = tmp_path / "any.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert answer(str(file)).isprintable()


@fuzz
@given(content=st.dictionaries(KEYS, TREES, max_size=6), source=st.text())
def test_any_tree_of_values_loads_or_is_refused_in_one_line(tmp_path: Path, content: Any, source: str) -> None:
    """Known keys with values of any type, unknown keys, nesting of any shape; half of them with a model."""
    file = tmp_path / "any.yaml"
    for tree in (content, content | {"model": {"source": source}}):
        file.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
        assert answer(str(file)).isprintable()


@fuzz
@given(key=st.sampled_from(all_keys(Recipe)) | st.text(), value=st.text(max_size=20))
def test_any_override_is_taken_or_refused_in_one_line(key: str, value: str) -> None:
    """Any text after --set."""
    assert answer("quickstart", f"{key}={value}").isprintable()


@pytest.mark.parametrize(
    "override",
    [
        "train.learning_rate=.inf",
        "train.max_gradient_norm=.inf",
        "generate.length_penalty=.nan",
        "train.seed=!!bool x",
        "train.seed=!!int ''",
        "train.seed=!!timestamp x",
        f"train.stride=-0x{'f' * 5000}",
        f"train.stride=0x{'f' * 5000}",
        "train=&a {lora: *a}",
        "trane={a: 1}",
    ],
)
def test_a_value_that_no_recipe_can_hold_is_refused_in_one_line(override: str) -> None:
    """Infinity, a tag that PyYAML trips over, a number too long to print, a section that holds itself."""
    with pytest.raises(RequestError) as refused:
        load_recipe("quickstart", [override])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["~nosuchuser/x", "x" * 300, "a\0b"])
def test_a_name_that_cannot_be_a_path_is_refused(name: str) -> None:
    """As a recipe and as a prompt."""
    with pytest.raises(RequestError, match="recipe"):
        load_recipe(name)
    with pytest.raises(RequestError, match="prompt"):
        load_prompt(name, PROMPTS)


def test_a_misspelt_section_is_answered_with_the_nearest_key() -> None:
    """The whole dotted name counts."""
    with pytest.raises(RequestError, match=r"'trane\.epochs'; did you mean 'train\.epochs'"):
        load_recipe("quickstart", ["trane.epochs=1"])
