"""Votes of people -> win rate, interval, agreement and disagreement with ROUGE, counted by hand."""

import json
from math import comb
from pathlib import Path
from typing import Any

import pytest

from artifacts.schemas import read_table
from flows.review_page import compare, find_scores, write_page
from flows.review_votes import review_jobs
from tasks.metrics.pairwise_votes import VOTES
from tasks.metrics.review_result import Review
from tests.support.artifacts import ArtifactFactory
from tests.support.reviews import PageReader, execute_reviews, publish_scores

REFERENCE = "alpha beta gamma delta"
GOOD, POOR = "alpha beta gamma", "alpha"
"""By ROUGE; people may think otherwise."""


@pytest.fixture
def reviewed(artifact_factory: ArtifactFactory, tmp_path: Path) -> Any:
    """`reviewed({"Ann": {"test_0": "tuned", …}})`: manifest, result and folder of the review of 6 dialogues.

    ROUGE prefers tuned on test_0 to test_2 and base on test_3 and test_4; the summaries of test_5 are the same.
    """
    systems = {"tuned": [GOOD] * 3 + [POOR] * 3, "base": [POOR] * 3 + [GOOD] * 2 + [POOR]}
    publish_scores(artifact_factory, ["#Person1#: Hi."] * 6, references=[REFERENCE] * 6, **systems)
    write_page(compare(find_scores(None), None), tmp_path / "review.html", 40, None)
    page = PageReader(tmp_path / "review.html")

    def run(votes: dict[str, dict[str, str]]) -> tuple[Any, Review, Path]:
        folder = tmp_path / "votes"
        folder.mkdir(exist_ok=True)
        files = []
        for reviewer, preferred in votes.items():
            texts = {
                name: systems[better][int(name[5:])] if better != "tie" else "tie" for name, better in preferred.items()
            }
            files.append(str(page.votes(reviewer, texts, folder)))
        ((manifest, review),) = execute_reviews(artifact_factory.store, review_jobs(files, None))
        return manifest, review, artifact_factory.store.payload(manifest.path)

    return run


def test_win_rate_is_wins_and_half_of_the_ties_of_each_dialogue(reviewed: Any) -> None:
    """test_0: won by both, 1; test_1: won and lost, 1/2; test_2: tie and lost, 1/4; test_3: won by one: 2.75 / 4."""
    _, review, _ = reviewed(
        {
            "Ann": {"test_0": "tuned", "test_1": "tuned", "test_2": "tie", "test_3": "tuned"},
            "Bob": {"test_0": "tuned", "test_1": "base", "test_2": "base"},
        }
    )
    assert review.win_rate == pytest.approx(2.75 / 4)
    assert (review.dialogues, review.votes, review.wins, review.losses, review.ties) == (4, 7, 4, 2, 1)
    assert (review.identical, review.without_vote) == (1, 1)
    assert [(each.reviewer, each.votes, each.dialogues) for each in review.reviewers] == [("Ann", 4, 5), ("Bob", 3, 5)]
    assert (review.agreement.units, review.agreement.pairs, review.agreement.agreeing_pairs) == (3, 3, 1)


def test_interval_is_that_of_the_binomial_of_resampled_dialogues(reviewed: Any) -> None:
    """Four dialogues won of five: the mean of a resample is Binomial(5, 0.8) / 5, whose 2.5 % and 97.5 % are known."""
    preferred = {"test_0": "tuned", "test_1": "tuned", "test_2": "tuned", "test_3": "tuned", "test_4": "base"}
    _, review, _ = reviewed({"Ann": preferred})
    below = [sum(comb(5, k) * 0.8**k * 0.2 ** (5 - k) for k in range(n + 1)) for n in range(6)]
    expected = tuple(next(n for n in range(6) if below[n] >= q) / 5 for q in (0.025, 0.975))
    assert review.interval == pytest.approx(expected)
    assert "10000 resamples" in review.interval_method


def test_more_reviewers_of_one_dialogue_do_not_weigh_more(reviewed: Any) -> None:
    """Three people prefer tuned on one dialogue, one prefers base on another: each dialogue counts once."""
    _, review, _ = reviewed(
        {"Ann": {"test_0": "tuned", "test_1": "base"}, "Bob": {"test_0": "tuned"}, "Cem": {"test_0": "tuned"}}
    )
    assert review.win_rate == 0.5
    assert review.interval == (0, 1)


def test_disagreement_with_rouge_names_the_dialogues(reviewed: Any) -> None:
    """People prefer base on test_0, where ROUGE prefers tuned; they agree on test_1 and test_3; a tie has no side."""
    _, review, _ = reviewed({"Ann": {"test_0": "base", "test_1": "tuned", "test_2": "tie", "test_3": "base"}})
    assert [each.measure for each in review.disagreements] == ["rouge1", "rouge2", "rougeL"]
    for each in review.disagreements:
        assert (each.preferred, each.opposite, each.equal, each.strongest) == (3, 1, 0, ("test_0",))


def test_the_table_has_one_row_per_vote(reviewed: Any) -> None:
    manifest, _, payload = reviewed({"Bob": {"test_4": "tie"}, "Ann": {"test_4": "base", "test_0": "tuned"}})
    rows = read_table(payload / "votes.parquet", VOTES)
    assert [(row["reviewer"], row["id"], row["outcome"]) for row in rows] == [
        ("Ann", "test_0", "win"),
        ("Ann", "test_4", "loss"),
        ("Bob", "test_4", "tie"),
    ]
    assert manifest.rows == 3
    assert list(manifest.inputs) == ["scores", "tuned", "base"]
    assert manifest.id.startswith("review-")


def test_the_key_depends_on_the_votes_and_not_on_the_order_of_files(reviewed: Any) -> None:
    votes = {"Ann": {"test_0": "tuned", "test_1": "base"}, "Bob": {"test_0": "tie"}}
    first, _, _ = reviewed(votes)
    again, _, _ = reviewed({name: dict(reversed(each.items())) for name, each in reversed(votes.items())})
    other, _, _ = reviewed(votes | {"Bob": {"test_0": "base"}})
    assert first.id == again.id != other.id


def test_saving_what_was_loaded_writes_the_same_bytes(reviewed: Any, tmp_path: Path) -> None:
    _, review, payload = reviewed({"Ann": {"test_0": "tuned"}})
    review.save(tmp_path)
    assert (tmp_path / "review.json").read_bytes() == (payload / "review.json").read_bytes()
    assert json.loads((tmp_path / "review.json").read_text())["win_rate"] == 1.0
    assert review.rate_and_interval == "100 % (100 % to 100 %)"
