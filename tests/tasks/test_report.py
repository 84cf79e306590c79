"""The report agrees with the scores, and no text in it is interpreted as markup."""

import re
from collections import Counter
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest

from tasks.config import ChampionData
from tests.support.datasets import dataset_row
from tests.support.reports import (
    HISTORY,
    TEMPLATE,
    ReportBuilder,
    html_page,
    markdown_page,
    rouge1,
)


@pytest.mark.slow
@pytest.mark.parametrize("text", ["word ", "<&\"'", "\u200b\u2066", "日本"])
def test_report_of_five_hundred_long_dialogues_stays_small(report_builder: ReportBuilder, text: str) -> None:
    """A page that is sent on by mail is under 3 MB, however much longer its texts become by being escaped or shown."""
    report_builder.rows = [
        {
            "id": f"test_{i}",
            "dialogue": text * (9000 // len(text)),
            "references": [f"ref {i} {text * 9}"],
            "topics": [text],
        }
        for i in range(500)
    ]
    folder, _ = report_builder.render(report_builder.inputs([f"a {text * 5}"] * 500, [f"ref {text * 20}"] * 500))
    size = (folder / "report.html").stat().st_size
    assert 1_500_000 < size < 3_000_000
    assert html_page(folder).unbalanced == []
    assert (folder / "report.md").stat().st_size < 500_000


def test_recipe_and_overrides_are_on_the_first_screen(report_builder: ReportBuilder) -> None:
    """As the scores note them; without overrides the recipe alone."""
    inputs = report_builder.inputs(report_builder.constant(), report_builder.references())
    scores = inputs["scores"]
    for overrides in ("generate.limit=8, train.epochs=2", ""):
        origin = {"recipe": "quickstart 1a2b3c4d"} | ({"overrides": overrides} if overrides else {})
        provenance = scores.manifest.provenance.model_copy(update={"origin": origin})
        inputs["scores"] = replace(scores, manifest=scores.manifest.model_copy(update={"provenance": provenance}))
        folder, _ = report_builder.render(inputs, examples=1)
        words = f"ecipe quickstart 1a2b3c4d{', with ' if overrides else ''}{overrides}"
        assert f"R{words}" in html_page(folder).texts("p")
        assert f"r{words}" in markdown_page(folder).texts("li")


@pytest.mark.parametrize(("trained_on", "noted"), [(TEMPLATE, False), ("Other words: {dialogue}", True)])
def test_another_prompt_than_trained_on_is_noted(report_builder: ReportBuilder, trained_on: str, noted: bool) -> None:
    """A reader learns when the adapter was evaluated with another prompt than it was trained on, and only then."""
    report_builder.trained_on = trained_on
    folder, _ = report_builder.render(
        report_builder.inputs(report_builder.constant(), report_builder.references()), examples=1
    )
    assert (
        "This prompt differs from the one the adapter was trained with." in html_page(folder).texts("header")[0]
    ) is noted


FACTS, DATA = "Facts and errors", "What changed in the data"
FULL = [
    "Scores",
    "Gate",
    FACTS,
    DATA,
    "Diagnostics",
    "Slices",
    "Dialogues",
    "Training",
    "History",
    "Time and lineage",
    "Settings",
]


@pytest.mark.parametrize(
    ("tuned", "gate", "history", "added", "missing"),
    [
        (False, None, 0, 0, {"Gate", FACTS, DATA, "Slices", "Training", "History"}),
        (True, None, 0, 0, {"Gate", FACTS, DATA, "History"}),
        (True, {}, 1, 1, set()),
        (True, {}, 3, 2, set()),
    ],
)
def test_sections_are_there_for_what_there_is_and_named_once(
    report_builder: ReportBuilder, tuned: bool, gate: Any, history: int, added: int, missing: set[str]
) -> None:
    """Each section is labelled by its own heading, each anchor leads to one element, each id is there once."""
    report_builder.history = HISTORY[:history]
    if FACTS not in missing:
        report_builder.probe(base=[True] * 24, tuned=[False] * 24)
    inputs = report_builder.inputs(report_builder.constant(), report_builder.references() if tuned else None, gate=gate)
    if added:
        rows = report_builder.rows
        inputs = report_builder.with_training_rows(inputs, rows, rows[added:])
    folder, verdict = report_builder.render(inputs, examples=3)
    page = html_page(folder)
    sections = [title for title in FULL if title not in missing]
    assert page.unbalanced == []
    assert page.texts("h2") == page.texts("a")[1:] == sections
    ids = Counter(page.values("id"))
    assert set(ids.values()) == {1}
    headings = [attributes["id"] for tag, attributes in page.tags if tag == "h2"]
    assert page.values("aria-labelledby") == headings
    links = [a["href"].removeprefix("#") for tag, a in page.tags if tag == "a"]
    assert links[1:] == headings
    assert {value.removeprefix("#") for name in ("href", "xlink:href") for value in page.values(name)} <= set(ids)
    if not tuned:
        assert verdict["state"] == "base_only"
        base = fmean(rouge1(report_builder.constant(), report_builder.rows))
        assert page.texts("h1") == [f"The base model scores {base:.1f} ROUGE-1."]
        assert not re.search("tuned|prompt than|probability", "".join(page.texts("main") + page.texts("header")))
        assert "tuned" not in (folder / "report.md").read_text(encoding="utf-8")


def test_what_changed_in_the_data_is_counted_on_the_first_screen_and_in_a_table(report_builder: ReportBuilder) -> None:
    """Of 24 dialogues two were added, one removed, three edited: by hand, in both files; lengths before and now."""
    rows, plain = report_builder.rows, dataset_row("gone", "A: one two\nB: three", "Four five.")
    edited = [row | {"references": ["Other words."]} for row in rows[2:5]]
    inputs = report_builder.inputs(
        report_builder.constant(), report_builder.references(), champion=["Champions talk."] * 24
    )
    folder, _ = report_builder.render(
        report_builder.with_training_rows(inputs, rows, [plain, *edited, *rows[5:]]), examples=1
    )
    sentence = "Since train-0000000a was trained: 2 training dialogues added, 1 removed, 3 edited."
    page, short = html_page(folder), markdown_page(folder)
    assert page.texts("p").count(sentence) == 2  # on the first screen and in its section
    assert sentence in short.texts("p")
    ids = "added test_0, test_1; removed gone; edited test_2, test_3, test_4"
    for cells in (page.texts("tr"), short.texts("tr")):
        assert ["".join(text.split()) for text in cells if text.strip().startswith("train")] == [
            "".join(f"train23242130{ids}".split())
        ]
    words = [fmean(len(row["dialogue"].split()) for row in each) for each in ([plain, *rows[2:]], rows)]
    assert f"{words[0]:.1f} → {words[1]:.1f}" in page.texts("td")


def test_data_that_did_not_change_or_is_lost_is_one_sentence(report_builder: ReportBuilder) -> None:
    """On the first screen of both files, without a section."""
    inputs = report_builder.inputs(report_builder.constant(), report_builder.references())
    for reason, sentence in (
        (None, "The data is the same as when train-0000000a was trained."),
        ("it is lost", "The data was not compared with that of train-0000000a: it is lost."),
    ):
        report_builder.champion_data = ChampionData(champion="train-0000000a", not_compared=reason)
        folder, _ = report_builder.render(inputs, examples=1)
        assert html_page(folder).texts("p").count(sentence) == 1
        assert markdown_page(folder).texts("p").count(sentence) == 1
        assert DATA not in html_page(folder).texts("h2") + markdown_page(folder).texts("h2")


def test_rendering_twice_gives_the_same_bytes(report_builder: ReportBuilder) -> None:
    """The report is a function of its inputs: drawings, ids and order included."""
    report_builder.history = HISTORY
    inputs = report_builder.inputs(report_builder.constant(), report_builder.references(), gate={})
    one, two = report_builder.render(inputs)[0], report_builder.render(inputs)[0]
    assert sorted(file.name for file in one.iterdir()) == ["report.html", "report.md"]
    for file in one.iterdir():
        assert file.read_bytes() == (two / file.name).read_bytes()
