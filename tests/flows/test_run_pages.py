"""What a run shows in the Prefect UI beside the pages of its artifacts."""

import pytest

from flows.run_pages import report_page, scores_page, stages_page
from tasks.execution.listener import StageEntry
from tasks.reporting.links import REPORTS_URL
from tests.support.artifacts import manifest_with_facts
from tests.support.reports import link_targets

FILE = "/srv/my store/6_report/report_1a2b3c4d/payload/report.html"


def test_the_full_report_is_one_click_away_where_a_station_serves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """And elsewhere its path is there to copy, with what to do: a link to a file would do nothing."""
    by_hand = report_page("# Better", "report-1a2b3c4d", FILE, ())
    assert link_targets(by_hand) == []
    assert f"`{FILE}`" in by_hand
    assert "dialogsum station up" in by_hand
    monkeypatch.setenv(REPORTS_URL, "http://127.0.0.1:4201")
    served = report_page("# Better\n\n- scores: `score-00000001`", "report-1a2b3c4d", FILE, {"score-00000001"})
    assert link_targets(served) == [
        "http://127.0.0.1:4201/report/report-1a2b3c4d",
        "../../artifacts/key/score-00000001",
    ]
    assert FILE not in served


def test_ids_in_the_tables_are_links() -> None:
    """Of the stages, also where a reason names one; and of all that the scores were made from."""
    entry = StageEntry(
        stage="train",
        status="run",
        reason="rows changed (format-00000001)",
        path="/x",
        artifact="train-1a2b3c4d",
        rows=1,
        seconds=1.25,
    )
    known = {"format-00000001", "train-1a2b3c4d", "score-1a2b3c4d"}
    table = stages_page([entry], known)
    assert link_targets(table) == [f"../../artifacts/key/{name}" for name in ("train-1a2b3c4d", "format-00000001")]
    assert "/x" not in table
    scores = manifest_with_facts({}, "score", base="generate-00000001", dataset="download-00000001")
    page = scores_page([{"system": "a | b", "rouge1": "1.00"}], scores, known | {"generate-00000001"})
    assert link_targets(page) == [f"../../artifacts/key/{name}" for name in ("score-1a2b3c4d", "generate-00000001")]
    assert "download-00000001" in page
