"""The page on which people vote: what it shows, what it hides, and which dialogues are on it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from artifacts.errors import RequestError
from flows.review_page import PageSummary, compare, find_scores, write_page
from tests.support.artifacts import ArtifactFactory
from tests.support.hostile_texts import HOSTILE_TEXTS
from tests.support.paths import ROOT
from tests.support.processes import call_cli
from tests.support.reports import FOREIGN_ELEMENTS
from tests.support.reviews import PageReader, publish_scores

ROWS = 30
NAMES = re.compile(r"\b(base|tuned|champion|before|adapter|candidate|opponent)\b|\b(train|generate)-[0-9a-f]{8}\b")
"""What would tell readers of a page about the models."""


@pytest.fixture
def page(artifact_factory: ArtifactFactory, tmp_path: Path) -> Any:
    """`page(tuned=texts, base=texts, …, limit=…, seed=…, against=…)`: the page and its summary."""

    def write(
        limit: int = 40, seed: int | None = None, against: str | None = None, **systems: list[str]
    ) -> tuple[PageReader, PageSummary]:
        dialogues = [f"#Person1#: Line {i}." for i in range(len(systems["tuned"]))]
        scores = publish_scores(artifact_factory, dialogues, **systems)
        summary = write_page(compare(find_scores(scores.id), against), tmp_path / "page.html", limit, seed)
        return PageReader(tmp_path / "page.html"), summary

    return write


def summaries(word: str, rows: int = ROWS) -> list[str]:
    return [f"{word} {i}" for i in range(rows)]


def test_each_dialogue_has_both_summaries_and_both_sides_have_both_models(page: Any) -> None:
    """30 dialogues with the candidate always on one side would have a probability of 2^-29."""
    shown, summary = page(tuned=summaries("alpha"), base=summaries("omega"))
    assert (summary.dialogues, summary.differing, summary.identical) == (ROWS, ROWS, 0)
    for name, pair in shown.pairs.items():
        number = name.removeprefix("test_")
        assert pair["dialogue"] == f"#Person1#: Line {number}."
        assert {pair["left"], pair["right"]} == {f"alpha {number}", f"omega {number}"}
    assert {pair["left"].split()[0] for pair in shown.pairs.values()} == {"alpha", "omega"}


def test_the_page_names_no_model(page: Any, tmp_path: Path) -> None:
    """Neither in texts nor attributes nor the script; its style is that of our files, the same on every page."""
    shown, summary = page(tuned=summaries("alpha"), base=summaries("omega"), champion=summaries("delta"))
    html = (tmp_path / "page.html").read_text()
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1]  # type: ignore[index]
    reporting = ROOT / "tasks" / "reporting"
    files = [(reporting / name).read_text() for name in ("report.css", "review.css")]
    assert "".join(style.split()) == "".join("".join(files).split())
    assert NAMES.findall(html.replace(style, "")) == []
    assert set(shown.data) == {"id", "data-scores", "data-seed", "data-page"}
    assert summary.opponent not in html.replace(style, "")


@pytest.mark.parametrize(
    ("against", "opponent"), [(None, "champion"), ("champion", "champion"), ("base", "base"), ("before", "before")]
)
def test_the_candidate_is_compared_with_the_champion_or_the_named_model(
    page: Any, against: str | None, opponent: str
) -> None:
    systems = {"base": summaries("base"), "champion": summaries("champion"), "before": summaries("before")}
    shown, summary = page(tuned=summaries("tuned"), **systems, against=against)
    assert summary.opponent == opponent
    texts = {pair[side].split()[0] for pair in shown.pairs.values() for side in ("left", "right")}
    assert texts == {"tuned", opponent}


def test_without_a_champion_the_base_model_is_the_opponent(page: Any) -> None:
    assert page(tuned=summaries("a"), base=summaries("b"))[1].opponent == "base"


def test_identical_summaries_are_left_out_and_counted(page: Any) -> None:
    """Spaces and line breaks make no difference."""
    tuned, base = summaries("same"), summaries("same")
    base[3], base[4], base[5] = "other", " same  4\n", ""
    shown, summary = page(tuned=tuned, base=base)
    assert set(shown.pairs) == {"test_3", "test_5"}
    assert (summary.dialogues, summary.identical) == (2, ROWS - 2)
    assert "(empty)" in shown.pairs["test_5"].values()


def test_limit_and_seed_decide_the_dialogues_and_are_repeatable(page: Any, tmp_path: Path) -> None:
    """The same seed writes the same bytes; a higher limit adds dialogues; another seed draws others and other sides."""
    systems = {"tuned": summaries("a"), "base": summaries("b")}
    five, summary = page(**systems, limit=5, seed=7)
    text = (tmp_path / "page.html").read_bytes()
    assert (summary.seed, summary.dialogues, summary.differing) == (7, 5, ROWS)
    page(**systems, limit=5, seed=7)
    assert (tmp_path / "page.html").read_bytes() == text
    assert [*page(**systems, limit=9, seed=7)[0].pairs][:5] == [*five.pairs]
    assert [*page(**systems, limit=5, seed=8)[0].pairs] != [*five.pairs]
    one, two = (page(**systems, seed=seed)[0].pairs for seed in (7, 8))
    assert [name for name in one if one[name] != two[name]]


def test_the_default_seed_is_in_the_id(page: Any) -> None:
    """`score-5c0e5c0e`: a page is written again with the same sides, and each evaluation has its own."""
    assert page(tuned=summaries("a"), base=summaries("b"))[1].seed == 0x5C0E5C0E


def test_hostile_texts_stay_text(artifact_factory: ArtifactFactory, tmp_path: Path) -> None:
    """As dialogue, as either summary: they open no element, and what can be printed is read back to the letter."""
    texts = [*HOSTILE_TEXTS]
    scores = publish_scores(artifact_factory, texts, tuned=[f"t {text}" for text in texts], base=texts)
    write_page(compare(find_scores(scores.id), None), tmp_path / "page.html", 40, None)
    shown = PageReader(tmp_path / "page.html")
    plain = publish_scores(
        artifact_factory, ["x"] * len(texts), "5c0e5c0f", tuned=["t"] * len(texts), base=["b"] * len(texts)
    )
    write_page(compare(find_scores(plain.id), None), tmp_path / "plain.html", 40, None)
    assert shown.tags == PageReader(tmp_path / "plain.html").tags
    assert not set(shown.tags) & FOREIGN_ELEMENTS
    for i, text in enumerate(texts):
        if text.isprintable():
            assert shown.pairs[f"test_{i}"]["dialogue"] == text
            assert {shown.pairs[f"test_{i}"][side] for side in ("left", "right")} == {text, f"t {text}"}
    assert "\x1b" not in (tmp_path / "page.html").read_text()


def test_the_command_says_what_is_on_the_page(artifact_factory: ArtifactFactory, tmp_path: Path) -> None:
    """The path on standard output, the counts on standard error; or one JSON object."""
    tuned = summaries("a", 4)
    publish_scores(artifact_factory, ["x"] * 4, tuned=tuned, base=[tuned[0], "b", "c", "d"])
    file = str(tmp_path / "page.html")
    process = call_cli("review", "--out", file, "--limit", "2")
    assert (process.returncode, process.stdout) == (0, f"{file}\n")
    assert "2 of 3 dialogues whose summaries differ, tuned against base of score-5c0e5c0e" in process.stderr
    assert "1 with identical summaries are left out" in process.stderr
    assert "dialogsum review --votes FILE" in process.stderr
    content = json.loads(call_cli("review", "score-5c0e5c0e", "--out", file, "--json").stdout)
    assert (content["page"], content["opponent"], content["dialogues"], content["identical"]) == (file, "base", 3, 1)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--against champion", "--against champion: score-5c0e5c0e has no such summaries; known: base"),
        ("score-00000000", "there is no artifact score-00000000"),
        ("generate-00000002", "expected a score artifact of a tuned model"),
        ("score-0ba5e000", "score-0ba5e000: expected a score artifact of a tuned model"),
        ("score-5a3e5a3e", "all 2 summaries of both models are the same"),
        ("--out {folder}", "cannot be written"),
        ("--limit 0", "Invalid value for '--limit'"),
        ("--votes x.json --limit 3", "--limit belongs to the page"),
    ],
)
def test_a_wrong_request_is_one_line(
    artifact_factory: ArtifactFactory, tmp_path: Path, arguments: str, expected: str
) -> None:
    publish_scores(artifact_factory, ["x"] * 2, tuned=["a", "b"], base=["c", "d"])
    publish_scores(artifact_factory, ["x"] * 2, "5a3e5a3e", tuned=["a", "b"], base=["a", "b"])
    publish_scores(artifact_factory, ["x"] * 2, "0ba5e000", references=["a", "b"], base=["a", "b"])
    words = arguments.format(folder=tmp_path).split()
    out = [] if "--out" in words or "--votes" in words else ["--out", str(tmp_path / "page.html")]
    first = [] if words[0].startswith(("score", "generate")) else ["score-5c0e5c0e"]
    process = call_cli("review", *first, *words, *out)
    assert (process.returncode, process.stdout, process.stderr.count("\n")) == (2, "", 1)
    assert expected in process.stderr
    assert not (tmp_path / "page.html").exists()


def test_without_an_evaluation_there_is_nothing_to_review() -> None:
    with pytest.raises(RequestError, match="no evaluation of a tuned model"):
        find_scores(None)
