"""Pages of artifacts in the Prefect UI: findings in words, ids as links where there is something to open."""

import re
from typing import Any

import pytest
from markdown_it import MarkdownIt

from tasks.reporting.artifact_page import findings, heading, page
from tasks.reporting.links import REPORTS_URL, artifact_link, escape_and_link, ids_in, link_ids
from tests.support.artifacts import manifest_with_facts
from tests.support.reports import link_targets

FACTS: dict[str, Any] = {
    "passed": False,
    "automatic": True,
    "peak_gib": None,
    "others": [],
    "loading_seconds": 0.84,
    "tokens_per_second": 3075.7,
    "train": 12460,
    "at_limit": 4,
    "reasons": ["too short", "too long"],
    "template": "Summarize.\n\n{dialogue}",
    "headline": {"base": {"rouge1": 2.9048, "rouge2": 0.0}, "tuned": {"rouge1": 30.0, "rouge2": 1.25}},
    "intervals": {"tuned": {"rouge1": [1.0417, 4.9383]}},
    "verdict": {"state": "even", "head": "No difference.", "others": [], "gate": None},
    "checks": [
        {"name": "length", "state": "ok", "detail": "all fit"},
        {"name": "rows", "state": "note", "detail": "12"},
    ],
}
"""Of the kinds that stages leave."""


def test_findings_are_words_and_numbers_with_units() -> None:
    """Booleans are yes and no, missing values are left out, nested values are listed, and none looks like Python."""
    rows = findings(manifest_with_facts(FACTS))
    assert rows == [
        ("passed", "no"),
        ("automatic", "yes"),
        ("loading", "0.84 s"),
        ("speed", "3,075.70 tokens/s"),
        ("train", "12,460 dialogues"),
        ("cut off at the token limit", "4 summaries"),
        ("reasons", "too short; too long"),
        ("template", "Summarize. {dialogue}"),
        ("F1 x 100, base", "rouge1 2.90, rouge2 0.00"),
        ("F1 x 100, tuned", "rouge1 30.00, rouge2 1.25"),
        ("95 % interval, tuned", "rouge1 1.04 to 4.94"),
        ("result, state", "even"),
        ("result, headline", "No difference."),
        ("checks, length", "ok: all fit"),
        ("checks, rows", "note: 12"),
        ("device", "CPU, 2 threads"),
    ]


def test_a_long_finding_ends_with_an_ellipsis() -> None:
    """A text or a list that is cut is marked as cut."""
    for value in ("word " * 400, ["word " * 100] * 4):
        ((_, shown), _) = findings(manifest_with_facts({"said": value}))
        assert len(shown) == 800
        assert shown.endswith("…")


def test_page_links_to_what_has_a_page() -> None:
    """An input without one is named all the same."""
    markdown = page(manifest_with_facts(FACTS, rows="format-00000001", gone="format-00000002"), {"format-00000001"})
    assert link_targets(markdown) == ["../../artifacts/key/format-00000001"]
    assert "format-00000002" in MarkdownIt().enable("table").render(markdown)
    assert "quickstart 0abc" in MarkdownIt().enable("table").render(markdown)


def test_page_of_a_report_opens_it_where_a_station_serves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise there is no link: a browser would not follow one to a file."""
    report, train = manifest_with_facts({}, "report"), manifest_with_facts({})
    assert link_targets(page(report, ())) == []
    monkeypatch.setenv(REPORTS_URL, "http://127.0.0.1:4201/")
    assert link_targets(page(report, ())) == ["http://127.0.0.1:4201/report/report-1a2b3c4d"]
    assert link_targets(page(train, ())) == []


def test_heading_names_stage_role_and_artifact() -> None:
    assert heading(manifest_with_facts({})) == "train tuned tiny-model"


@pytest.mark.parametrize(
    "page_path",
    [
        "/artifacts/artifact/8c9d",
        "/artifacts/key/report",
        "/runs/flow-run/1f",
        "/v2/artifacts/artifact/8c9d",
        "/v2/artifacts/key/report",
        "/v2/runs/flow-run/1f",
        "/prefect/artifacts/artifact/8c9d",
    ],
)
def test_a_link_holds_wherever_prefect_shows_it(page_path: str) -> None:
    """On the pages of artifacts and of runs, in both of its interfaces, below a base path: resolved as browsers do."""
    from urllib.parse import urljoin

    (target,) = link_targets(artifact_link("train-1a2b3c4d"))
    base = re.split(r"/(?:artifacts|runs)/", page_path)[0]
    assert (
        urljoin(f"http://127.0.0.1:4200{page_path}?tab=Artifacts", target)
        == f"http://127.0.0.1:4200{base}/artifacts/key/train-1a2b3c4d"
    )


def test_only_known_ids_become_links_and_only_our_own() -> None:
    """In Markdown those that stand as code; in a text all of them, while the text around them stays text."""
    known = {"train-1a2b3c4d", "format-00000001"}
    assert link_targets(link_ids("`train-1a2b3c4d`, `train-99999999`, train-1a2b3c4d", known)) == [
        "../../artifacts/key/train-1a2b3c4d"
    ]
    text = "the *prompts* changed (format-00000001 -> format-99999999), retrain-1a2b3c4d, format-000000012"
    assert link_targets(escape_and_link(text, known)) == ["../../artifacts/key/format-00000001"]
    assert "".join(re.sub("<[^>]*>", "", MarkdownIt().render(escape_and_link(text, known)))).strip() == text.replace(
        ">", "&gt;"
    )
    assert ids_in(text) == {"format-00000001", "format-99999999"}
