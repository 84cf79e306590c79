"""The space of a sweep: values as the recipe has them, ranges with their scale, refusals before anything runs."""

import pytest

from artifacts.errors import RequestError
from flows.recipe import Recipe, all_keys, load_recipe
from flows.sweeps.space import REFUSED, Choices, Range, as_overrides, parse_space, short_names, values_of


def test_values_are_those_that_the_recipe_has_and_every_point_loads_as_itself() -> None:
    """Numbers in any notation, none, lists and texts with commas, through `load_recipe` and back."""
    space = parse_space(
        "quickstart",
        [],
        [
            "train.learning_rate=2e-4,.5e-3",
            "train.max_steps=null,3",
            "train.lora.targets=[q_proj],[q_proj, v_proj]",
            'prompt=brief,"Sum up, please: {dialogue}"',
        ],
        sampled=False,
    )
    corners = list(space.corners())
    assert len(corners) == space.size == 16
    assert corners[0] == {
        "train.learning_rate": 0.0002,
        "train.max_steps": None,
        "train.lora.targets": ["q_proj"],
        "prompt": "brief",
    }
    assert corners[-1]["prompt"] == "Sum up, please: {dialogue}"
    for corner in corners:
        assert values_of(load_recipe("quickstart", as_overrides(corner)), space) == corner


@pytest.mark.parametrize(
    ("text", "low", "high", "logarithmic"),
    [
        ("train.learning_rate=1e-5..1e-3", 1e-5, 1e-3, True),
        ("train.lora.rank=8..64", 8, 64, False),
        ("train.lora.rank=4..64", 4, 64, True),
        ("train.weight_decay=0..0.1", 0.0, 0.1, False),
        ("generate.length_penalty=-1..2", -1.0, 2.0, False),
    ],
)
def test_a_range_is_logarithmic_from_a_factor_of_ten_on(text: str, low: float, high: float, logarithmic: bool) -> None:
    """Never below or at 0; its ends have the type that the recipe gives them."""
    (dimension,) = parse_space("quickstart", [], [text], sampled=True).dimensions
    assert isinstance(dimension, Range)
    assert (dimension.low, dimension.high, dimension.is_logarithmic) == (low, high, logarithmic)
    assert dimension.is_integer == isinstance(low, int)
    assert dimension.contains(high)
    assert not dimension.contains(high + 1)
    assert ("logarithmic" in str(dimension)) == logarithmic


@pytest.mark.parametrize(
    ("over", "message"),
    [
        (["trian.lora.rank=3"], "unknown key 'trian.lora.rank'; did you mean 'train.lora.rank'?"),
        (["train.lora.rank=8,x"], "--over train.lora.rank: got 'x'; input should be a valid integer"),
        (["train.lora.rank=8,0"], "--over train.lora.rank: got 0; input should be greater than or equal to 1"),
        (["train.lora.rank=8,8"], "8 is given twice"),
        (["train.lora.rank=8", "train.lora.rank=4"], "train.lora.rank is given twice"),
        (["train.lora={rank: 3}"], "train.lora is a section"),
        (["train.lora.rank"], "expected KEY=VALUE,VALUE"),
        (["train.lora.rank=[8"], "expected YAML values with commas"),
        (["train.lora.rank=8..4"], "two numbers of which the second is higher"),
        ([], "a sweep needs values to try"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(over: list[str], message: str) -> None:
    with pytest.raises(RequestError) as refusal:
        parse_space("quickstart", [], over, sampled=True)
    assert message in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_a_range_needs_a_sampler() -> None:
    with pytest.raises(RequestError, match=r"add --trials N, or list the values"):
        parse_space("quickstart", [], ["train.lora.rank=4..8"], sampled=False)


def test_keys_that_change_no_model_are_refused_with_the_reason() -> None:
    """Each of them, and each key of a refused section, whatever its value."""
    keys = [key for key in all_keys(Recipe) if any(f"{key}.".startswith(f"{refused}.") for refused in REFUSED)]
    assert {"gate.measure", "data.source", "runtime.gpus", "score.tokenizer", "generate.limit"} <= {*keys}
    for key in keys:
        with pytest.raises(RequestError, match=f"--over {key}: a sweep cannot vary it: "):
            parse_space("quickstart", [], [f"{key}=1,2"], sampled=False)


def test_short_names_tell_the_keys_apart() -> None:
    assert short_names(["train.lora.rank", "train.seed", "generate.seed", "prompt", "evaluation.prompt"]) == {
        "train.lora.rank": "rank",
        "train.seed": "train.seed",
        "generate.seed": "generate.seed",
        "prompt": "prompt",
        "evaluation.prompt": "evaluation.prompt",
    }


def test_a_listed_value_is_contained_by_its_value_not_by_its_type() -> None:
    assert Choices(key="train.max_steps", values=(None, 3)).contains(None)
    assert not Choices(key="train.stop_token", values=(True,)).contains(1)
