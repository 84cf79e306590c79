"""The report's section on facts: its figures are those of the scores, its texts those of the probes."""

from collections import Counter
from typing import Any

import pytest

from tasks.metrics.probe_kinds import ProbeKind
from tasks.reporting.facts import facts_sentence
from tests.support.probes import likelihoods, probe_artifact
from tests.support.reports import ReportBuilder, html_page, markdown_page

COUNT = 24
SWAP, NUMBER = str(ProbeKind.SPEAKERS), str(ProbeKind.NUMBER)


def render(builder: ReportBuilder, **rivals: list[str]) -> tuple[Any, Any, dict[str, Any]]:
    folder, verdict = builder.render(
        builder.inputs(builder.constant(), builder.references(), gate={"least_rows": 1}, **rivals), examples=1
    )
    return html_page(folder), markdown_page(folder), verdict


@pytest.fixture
def probed(report_builder: ReportBuilder) -> ReportBuilder:
    """Of 24 dialogues with a swap base is right in 12, tuned in 18; of 8 with a number base in all, tuned in 6."""
    chosen: dict[str, dict[str, list[bool | None]]] = {
        "base": {SWAP: [i < 12 for i in range(COUNT)], NUMBER: [True if i < 8 else None for i in range(COUNT)]},
        "tuned": {SWAP: [i < 18 for i in range(COUNT)], NUMBER: [i < 6 if i < 8 else None for i in range(COUNT)]},
    }
    texts = [(f"Ann pays {i} euros.", f"Bob pays {i} euros.") for i in range(COUNT)]
    for system, by_kind in chosen.items():
        artifact = probe_artifact(report_builder.artifact_factory, likelihoods(by_kind, texts))
        facts = {"left_out": {NUMBER: 16}, "not_applied": {"negation": "its rules are those of English"}}
        report_builder.probes[system] = report_builder.with_provenance(artifact, {"turns": "gemma"}, **facts)
    return report_builder


def test_the_table_has_share_interval_difference_and_counts(probed: ReportBuilder) -> None:
    """Counted by hand: 50 and 75 %, and 25 points; 100 and 75 %, 8 dialogues, 16 left out."""
    page, short, _ = render(probed)
    assert "Facts and errors" in page.texts("h2")
    cells = [" ".join(text.split()) for text in page.texts("tr")]
    (swap,) = [text for text in cells if text.startswith("speakers swappedtwo speakers")]
    (number,) = [text for text in cells if text.startswith("number or timea number")]
    assert swap.startswith("speakers swappedtwo speakers are exchanged throughout the text50 (")
    assert ")75 (" in swap
    assert ")+25 (" in swap
    assert swap.endswith(")240")
    assert "changed100 (100 to 100)75 (" in number
    assert ")-25 (" in number
    assert number.endswith(")816")
    assert any("Negation: not applied, its rules are those of English." in text for text in page.texts("p"))
    rows = [text.split() for text in short.texts("tr")]
    assert any(row[:3] == ["speakers", "swapped", "50"] and row[-1] == "24" for row in rows)


def test_examples_mark_what_was_changed_and_say_who_is_right(probed: ReportBuilder) -> None:
    """Of each kind the first that the tuned model gets wrong, and the first that it gets right."""
    page, *_ = render(probed)
    heads = [" ".join(text.split()) for text in page.texts("h4")]
    assert heads[:4] == [f"{SWAP} test_18", f"{SWAP} test_0", f"{NUMBER} test_6", f"{NUMBER} test_0"]
    assert {"Ann", "Bob"} <= set(page.texts("mark"))
    # the filter of dialogues counts the class `example` alone
    assert Counter(page.values("class"))["example"] == 1
    assert Counter(page.values("class"))["fact"] == 4
    verdicts = [" ".join(text.split()) for text in page.texts("p") if "-2.500" in text]
    assert verdicts[0] == "base -5.000 and -2.500: wrongtuned -5.000 and -2.500: wrong"
    assert verdicts[2] == "base -2.500 and -5.000: righttuned -5.000 and -2.500: wrong"


def test_the_first_screen_says_how_often_and_where_it_is_weakest(probed: ReportBuilder) -> None:
    """Each dialogue counts once. Base: 8 + 4 right of 24. Tuned: 6 with both right, 2 with one of two, 10 more."""
    page, short, verdict = render(probed)
    base = 100 * (8 + 4) / 24
    tuned = 100 * (6 + 2 / 2 + 10) / 24
    sentence = (
        "Facts: shown a right summary and one with a wrong fact, the tuned model prefers the right one in "
        f"{tuned:.0f} %, the base model in {base:.0f} %. It is least reliable in “speakers swapped” (75 %)."
    )
    assert verdict["facts"] == sentence
    assert page.texts("p").count(sentence) == 2  # on the first screen and in its section
    assert sentence in short.texts("p")


def test_without_probes_there_is_no_word_of_facts(report_builder: ReportBuilder) -> None:
    page, short, verdict = render(report_builder)
    assert verdict["facts"] == ""
    assert "Facts and errors" not in page.texts("h2") + short.texts("h2")
    assert facts_sentence(None, "the tuned model", {}, None) == ""


def test_the_stages_list_the_probes_with_their_time(probed: ReportBuilder) -> None:
    page, *_ = render(probed)
    names = [text.split("probe-")[0] for text in page.texts("tr") if "probe-" in text and text.startswith("probe ")]
    assert names == ["probe base", "probe tuned"]
