"""Names for people: prompts by name or first words, overrides in short, and flow runs that keep what a person typed."""

from pathlib import Path

import coolname
import pytest

from flows.labels import Overrides, overrides_of, prompt_label, prompt_labels
from flows.recipe import load_recipe
from flows.run_names import drawn
from tests.support.paths import ROOT

LIBRARY = ROOT / "flows" / "prompts"


@pytest.mark.parametrize("file", sorted(LIBRARY.glob("*.txt")), ids=lambda file: file.stem)
def test_a_prompt_of_the_library_has_its_name(file: Path) -> None:
    """By its text, without the lines between ---."""
    text = file.read_text(encoding="utf-8")
    assert prompt_label(text.split("---\n")[-1].strip("\n")) == file.stem


def test_any_other_prompt_has_its_first_words() -> None:
    """Whole ones, on one line."""
    assert prompt_label("Say in one sentence\nhow the speakers feel.\n\n{dialogue}") == "Say in one sentence how…"


def test_prompts_that_begin_alike_show_where_they_differ() -> None:
    """Else one could not say which of two was better."""
    begin = "Summarize this dialogue for somebody who was not there, "
    labels = prompt_labels(
        {
            "base": f"{begin}kindly. {{dialogue}}",
            "tuned": f"{begin}kindly. {{dialogue}}",
            "before": f"{begin}briefly. {{dialogue}}",
        }
    )
    assert labels == {"base": "…kindly. {dialogue}", "tuned": "…kindly. {dialogue}", "before": "…briefly. {dialogue}"}


def test_effective_overrides_are_those_that_change_a_figure() -> None:
    """Of the variable as of the run, the last of each key; not what equals the recipe, nor how the work is done."""
    station = ["data.source=sample", "generate.limit=8", "runtime.threads=1"]
    own = ["generate.limit=4", "train.lora={rank: 4, alpha: 8}", 'evaluation.prompt="brief"', "report.examples=1"]
    effective = overrides_of(load_recipe("quickstart"), load_recipe("quickstart", [*station, *own]), station, own)
    assert effective.effective == ("generate.limit=4", "train.lora={rank: 4, alpha: 8}")
    assert (effective.station, effective.own) == (tuple(station), tuple(own))


@pytest.mark.parametrize(
    ("overrides", "most", "expected"),
    [
        ((), 20, ""),
        (("a.b=1", "c.d=2"), 20, "a.b=1, c.d=2"),
        (("a.b=1", "c.d=2", "e.f=3", "g.h=4"), 20, "a.b=1 and 3 more"),
        (("a.b=" + "x" * 90,), 20, "a.b=" + "x" * 15 + "…"),
    ],
)
def test_overrides_in_short_count_what_is_left_out(overrides: tuple[str, ...], most: int, expected: str) -> None:
    """A run's name has room for a few."""
    assert Overrides(effective=overrides).in_short(most) == expected


def test_names_that_prefect_draws_are_recognised() -> None:
    """Five hundred of the server's, by its own library, and examples of both of the UI's forms."""
    assert all(drawn("-".join(coolname.generate(2))) for _ in range(500))
    forms = [
        "upsilon368-selye-warp",
        "mu3-piscis-austrini-x",
        "pi6-orion",
        "eta-gondor-void",
        "Tasty-Mici",
        "Small-Ćevapi",
    ]
    assert [name for name in forms if not drawn(name)] == []


@pytest.mark.parametrize(
    "name", ["prompt of Monday", "brief", "prompt-brief", "beta-prompt", "my-test", "retry 2", "B-7"]
)
def test_names_that_a_person_types_are_not(name: str) -> None:
    """One word, several, with a hyphen."""
    assert not drawn(name)
