"""The dialogues that a report shows: which, in what order, and what is marked in them."""

from itertools import pairwise

import pytest

from tests.support.reports import (
    ReportBuilder,
    html_page,
    rouge1,
)


def test_movers_are_the_dialogues_that_moved_most_and_the_rest_follows(report_builder: ReportBuilder) -> None:
    """Seven improved and six regressed by construction: the five strongest of each, in rouge_score's order."""
    good, poor = report_builder.references(), report_builder.constant()
    better, worse = {1, 4, 7, 10, 13, 16, 19}, {2, 5, 8, 11, 14, 17}
    base = [good[i] if i in worse else poor[i] for i in range(24)]
    tuned = [good[i] if i in better else poor[i] for i in range(24)]
    page = html_page(report_builder.render(report_builder.inputs(base, tuned))[0])
    change = {
        i: b - a
        for i, (a, b) in enumerate(
            zip(rouge1(base, report_builder.rows), rouge1(tuned, report_builder.rows), strict=True)
        )
    }
    up, down = sorted(better, key=lambda i: -change[i]), sorted(worse, key=lambda i: change[i])
    rest = sorted({*range(24)} - {*up[:5], *down[:5]})
    groups = {"Improved most": up[:5], "Regressed most": down[:5], "Others": rest}
    assert page.shown() == {title: [f"test_{i}" for i in numbers] for title, numbers in groups.items()}
    flags = {
        text.split()[0]: a["data-flags"].split()
        for text, a in zip(page.texts("article"), [a for t, a in page.tags if t == "article"], strict=True)
    }
    assert {name for name, names in flags.items() if "improved" in names} == {f"test_{i}" for i in better}
    assert {name for name, names in flags.items() if "regressed" in names} == {f"test_{i}" for i in worse}


@pytest.mark.parametrize("count", [0, 1, 5, 7, 24, 100])
def test_the_requested_number_of_dialogues_is_shown_each_once(report_builder: ReportBuilder, count: int) -> None:
    """`report.examples` of them: movers first, then others evenly spread; none beyond those there are."""
    tuned = [report_builder.references()[i] if i < 2 else "People talk." for i in range(24)]
    shown = html_page(
        report_builder.render(report_builder.inputs(report_builder.constant(), tuned), examples=count)[0]
    ).shown()
    assert len(shown.get("Improved most", [])) == min(count, 2)
    others = [int(name.split("_")[1]) for name in shown.get("Others", [])]
    assert len(others) == min(max(count - 2, 0), 22)
    assert others == sorted(set(others) - {0, 1})
    assert len({b - a for a, b in pairwise(others)}) <= 2


def test_marked_words_are_those_that_only_one_of_the_two_has(report_builder: ReportBuilder) -> None:
    """Against the champion where there is one; the base, which is not compared, has no marks; case and order count."""
    report_builder.rows = report_builder.rows[:1]
    inputs = report_builder.inputs(
        ["something else"], ["Ann asks the dog to sit down"], champion=["Ann asks a cat to sit"]
    )
    page = html_page(report_builder.render(inputs)[0])
    assert page.texts("dd") == ["something else", "Ann asks a cat to sit", "Ann asks the dog to sit down"]
    assert [text.strip() for text in page.texts("mark")] == ["a", "cat", "the", "dog", "down"]


def test_flags_are_of_what_the_last_system_wrote(report_builder: ReportBuilder) -> None:
    """Cut, empty, with a name or a number that is not there: one dialogue each, one all of the first two."""
    tuned = report_builder.references()
    report_builder.cut, tuned[5], tuned[6], tuned[7] = {3, 6}, "", " \n", "#Person9# pays 7351."
    page = html_page(report_builder.render(report_builder.inputs([*report_builder.references()], tuned))[0])
    flags = {
        text.split()[0]: a["data-flags"].split()
        for text, a in zip(page.texts("article"), [a for t, a in page.tags if t == "article"], strict=True)
    }
    assert {name for name, names in flags.items() if "limit" in names} == {"test_3", "test_6"}
    assert {name for name, names in flags.items() if "empty" in names} == {"test_5", "test_6"}
    assert "new-name" in flags["test_7"]
    assert {name for name, names in flags.items() if "new-number" in names} == {"test_7"}
    assert page.texts("dd").count("(empty)") == 2
