"""The headline: which system is better than which, by how much, and how certain that is."""

from collections import Counter
from statistics import fmean
from typing import Any

import pytest
from markdown_it import MarkdownIt

from tests.support.languages import GERMAN
from tests.support.reports import (
    Page,
    ReportBuilder,
    html_page,
    markdown_page,
    rouge1,
)


@pytest.mark.parametrize(
    ("base", "tuned", "rivals", "state", "words"),
    [
        ("constant", "references", {}, "better", "The tuned model is better than the base model."),
        ("references", "constant", {}, "worse", "The tuned model is worse than the base model."),
        (
            "references",
            "references",
            {},
            "inconclusive",
            "No significant difference between the tuned model and the base model.",
        ),
        ("constant", "references", {"champion": "constant"}, "better", "The tuned model is better than the champion."),
        ("constant", "constant", {"champion": "references"}, "worse", "The tuned model is worse than the champion."),
        (
            "constant",
            "references",
            {"champion": "references"},
            "inconclusive",
            "No significant difference between the tuned model and the champion.",
        ),
        (
            "constant",
            "references",
            {"before": "constant", "champion": "references"},
            "better",
            "The new prompt is better than the previous prompt.",
        ),
        (
            "constant",
            "constant",
            {"before": "constant"},
            "inconclusive",
            "No significant difference between the new prompt and the previous prompt.",
        ),
    ],
)
def test_verdict_is_what_the_predictions_are(
    report_builder: ReportBuilder, base: str, tuned: str, rivals: dict[str, str], state: str, words: str
) -> None:
    """References beat a constant sentence; the other way round they lose; equal outputs show no difference."""
    texts = {"constant": report_builder.constant(), "references": report_builder.references()}
    inputs = report_builder.inputs(
        texts[base], texts[tuned], gate=None, **{name: texts[key] for name, key in rivals.items()}
    )
    folder, verdict = report_builder.render(inputs, examples=3)
    assert verdict["state"] == state
    page = html_page(folder)
    assert page.texts("h1") == [words]
    assert markdown_page(folder).texts("h1") == [words]
    against = {"before": "the previous prompt", "champion": "the champion", "base": "the base model"}
    named = [against[name] for name in ("before", "champion", "base") if name in {*rivals, "base"}][1:]
    assert [sentence.split(":")[0] for sentence in verdict["others"]] == [f"Compared with {name}" for name in named]
    means = {key: fmean(rouge1(rows, report_builder.rows)) for key, rows in texts.items()}
    rival = next((rivals[name] for name in ("before", "champion") if name in rivals), base)
    assert verdict["much"].startswith(
        f"ROUGE-1 {means[tuned]:.1f} versus {means[rival]:.1f}: {means[tuned] - means[rival]:+.1f} points"
    )
    chance = {"better": "above 99.9 %", "worse": "below 0.1 %", "inconclusive": "50.0 %"}[state]
    assert "Both were measured on the same 24 test dialogues with 3 references each." in verdict["trust"]
    assert f"Probability of being better: {chance}." in verdict["trust"]
    assert "only one seed was trained" in verdict["trust"]
    rounded = [cell for cell in page.texts("td") if cell in ("0.0 %", "100.0 %")]
    assert rounded == []
    assert chance in page.texts("td")  # the table's wording is that of the first screen


@pytest.mark.parametrize(
    ("otherwise", "head", "systems", "chart"),
    [
        (
            {"prompt"},
            'Prompt "brief" is better than the previous prompt "Say <who> wants…".',
            ['tuned, prompt "Say <who> wants…"', "champion", "tuned, prompt brief"],
            "Difference from the previous prompt",
        ),
        (
            {"decoding"},
            "The new decoding (greedy) is better than the previous decoding (best of 8 by agreement).",
            ["tuned, best of 8 by agreement", "champion", "tuned, greedy"],
            "Difference from the previous decoding",
        ),
        (
            {"prompt", "decoding"},
            'Prompt "brief" with the new decoding (greedy) is better than the previous prompt "Say <who> wants…" '
            "and decoding (best of 8 by agreement).",
            ['tuned, prompt "Say <who> wants…", best of 8 by agreement', "champion", "tuned, prompt brief, greedy"],
            "Difference from the previous prompt and decoding",
        ),
    ],
)
def test_two_outputs_of_one_adapter_have_different_names(
    report_builder: ReportBuilder, otherwise: set[str], head: str, systems: list[str], chart: str
) -> None:
    """Headline, tables, examples, chart and choice of dialogues name the prompts or decodings that were compared."""
    report_builder.otherwise, report_builder.prompts = (
        otherwise,
        {"base": "brief", "tuned": "brief", "before": "Say <who> wants…"},
    )
    texts = report_builder.constant()
    folder, verdict = report_builder.render(
        report_builder.inputs(texts, report_builder.references(), before=texts, champion=texts), examples=3
    )
    page, short = html_page(folder), markdown_page(folder)
    assert verdict["head"] == head
    assert page.texts("h1") == short.texts("h1") == [head]
    assert [text for text in page.texts("th") if text in ("base", *systems)][:4] == ["base", *systems]
    assert [text.rsplit(" ", 1)[0] for text in page.texts("dt")][:4] == ["base", *systems]
    assert [row for row in short.texts("td") if row in ("base", *systems)] == ["base", *systems]
    assert chart in page.texts("figcaption")
    assert f"better than {chart.removeprefix('Difference from ')}" in page.texts("option")
    compared = {text.split(": ")[0]: text for text in page.texts("li") if ": no adapter" in text}
    assert list(compared) == ["base", *systems]
    assert compared[systems[-1]] == f"{systems[-1]}: no adapter, prompt brief, greedy"
    assert "before" not in {text for tag in ("th", "dt", "figcaption", "option") for text in page.texts(tag)}
    assert "before" not in " ".join(page.values("aria-label")).replace("Checks before training", "")


def test_two_prompts_of_one_name_are_the_new_and_the_previous_one(report_builder: ReportBuilder) -> None:
    """For example one text in two chat templates: no name occurs twice as if it were two."""
    report_builder.prompts = dict.fromkeys(("base", "tuned", "before"), "brief")
    texts = report_builder.constant()
    folder, verdict = report_builder.render(
        report_builder.inputs(texts, report_builder.references(), before=texts), examples=1
    )
    assert verdict["head"] == "The new prompt is better than the previous prompt."
    assert {"tuned, new prompt", "tuned, previous prompt"} <= set(html_page(folder).texts("th"))


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ({"least_rows": 24}, "The tuned model passes the gate."),
        (
            {"least_rows": 25},
            "The tuned model does not pass the gate. Failed checks: test dialogues: 24 (required: at least 25).",
        ),
        (None, ""),
    ],
)
def test_the_report_has_the_decision_of_the_gate_if_there_is_one(
    report_builder: ReportBuilder, gate: dict[str, Any] | None, words: str
) -> None:
    """Passed, not passed with its reason, or no word of it; and every condition in a table."""
    report_builder.probe(base=[True] * 24, tuned=[True] * 24)
    folder, verdict = report_builder.render(
        report_builder.inputs(report_builder.constant(), report_builder.references(), gate=gate), examples=1
    )
    page = html_page(folder)
    assert verdict["gate"] == words
    assert ("Gate" in page.texts("h2")) is bool(words)
    if words:
        assert page.texts("p").count(words) == 2  # on the first screen and in its section
        assert Counter(page.texts("td"))["at least 95 %"] == 1
        assert words in Page(MarkdownIt().render((folder / "report.md").read_text())).texts("strong")


def test_a_measure_that_the_language_does_not_allow_is_named_with_the_reason(report_builder: ReportBuilder) -> None:
    """On the first screen, in the table of the gate and beside the measures; in English there is no word of it."""
    report_builder.probe(base=[True] * 24, tuned=[True] * 24)
    plain = html_page(
        report_builder.render(
            report_builder.inputs(report_builder.constant(), report_builder.references(), gate={"least_rows": 1}),
            examples=1,
        )[0]
    )
    assert "ot applied" not in " ".join(plain.texts("body"))
    report_builder.rows = [
        {"id": f"test_{i}", "dialogue": dialogue, "references": list(texts), "topics": ["x", "x"]}
        for i, (dialogue, *texts) in enumerate(GERMAN)
    ]
    page = html_page(
        report_builder.render(
            report_builder.inputs(report_builder.constant(), report_builder.references(), gate={"least_rows": 1}),
            examples=1,
        )[0]
    )
    assert page.texts("p").count("The tuned model passes the gate. Not applied: names not in the dialogue.") == 2
    reason = "he language writes nouns with a capital"
    assert [text for text in page.texts("p") if text.startswith(f"Names not in the dialogue: not applied. t{reason}")]
    assert [text for text in page.texts("td") if text.startswith(f"not applied: t{reason}")]


def test_seeds_are_shown_with_mean_and_deviation(report_builder: ReportBuilder) -> None:
    """By hand: 30, 32 and 34 have the mean 32 and the standard deviation 2."""
    inputs = report_builder.inputs(report_builder.constant(), report_builder.references())
    kinds = ("rouge1", "rouge2", "rougeL", "rougeLsum")
    for name, value in (("scores", 30.0), ("seed_10", 34.0), ("seed_9", 32.0)):
        inputs[name] = report_builder.with_provenance(
            inputs["scores"], {}, headline={"tuned": dict.fromkeys(kinds, value)}
        )
    folder, verdict = report_builder.render(inputs, examples=1)
    cells = html_page(folder).texts("td")
    assert cells.count("32.00 ± 2.00") == 4
    start = cells.index("30.00")
    assert cells[start : start + 12 : 4] == ["30.00", "32.00", "34.00"]  # in the order of the seeds, 9 before 10
    assert "ROUGE-1 ranges from 30.0 to 34.0 over 3 training seeds." in verdict["trust"]
