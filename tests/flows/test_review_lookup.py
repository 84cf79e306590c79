"""The gate asks people: the real DAG without, with a missing, with a good and with a poor review."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from artifacts.manifest import Manifest
from flows.review_lookup import newest_review
from flows.review_page import compare, find_scores, write_page
from flows.review_votes import review_jobs
from tasks.manifest_views import ReviewView, ScoresView
from tasks.metrics.gate_decision import GateDecision
from tasks.metrics.score_table import System
from tests.support.data import tiny_data
from tests.support.pipelines import (
    DagWalker,
    patch_known_summaries,
    patch_workers_inline,
    planned_stages,
    small_overrides,
)
from tests.support.reviews import PageReader, execute_reviews

REQUIRED = ("gate.least_win_rate=0.5", "gate.least_reviewed=4")


@pytest.fixture(scope="module")
def first_walk(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path]) -> Path:
    """A folder with data and the store of one walk without a review: four test dialogues, a tuned and a base model."""
    folder = tmp_path_factory.mktemp("walk")
    tiny_data(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIALOGSUM_STORE", str(folder / "store"))
        patch_workers_inline(patch)
        patch_known_summaries(patch, folder / "data")
        DagWalker().through(overrides(folder, models))
    return folder


def overrides(folder: Path, models: dict[str, Path], *more: str) -> list[str]:
    return small_overrides("smollm2-135m", models["llama"], folder / "data", "gate.least_rows=1", *more)


@pytest.fixture
def walk(first_walk: Path, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`walk(overrides…)` in a copy of that store: the stages that ran, and the decision."""
    for name in ("store", "data"):
        shutil.copytree(first_walk / name, tmp_path / name)
    patch_workers_inline(monkeypatch)
    patch_known_summaries(monkeypatch, tmp_path / "data")

    def run(*more: str) -> tuple[list[str], GateDecision]:
        walker, store = DagWalker(), Store.current()
        walker.through(overrides(tmp_path, models, *more))
        decision = next(manifest for manifest, _ in walker.results if manifest.stage == "promote")
        ran = [manifest.stage for manifest, ran in walker.results if ran]
        return ran, GateDecision.load(store.payload(decision.path))

    run.settings = lambda *more: overrides(tmp_path, models, *more)  # type: ignore[attr-defined]
    return run


@pytest.fixture
def vote(tmp_path: Path) -> Callable[..., Manifest]:
    """`vote(wins, losses, reviewer)`: people vote on the newest evaluation; the review artifact."""

    def make(wins: int, losses: int = 0, reviewer: str = "Ann", against: str | None = None) -> Manifest:
        comparison = compare(find_scores(None), against)
        write_page(comparison, tmp_path / "page.html", 40, None)
        page = PageReader(tmp_path / "page.html")
        # of ten words, a candidate writes four and its rank, the base model three
        by_length = {name: sorted((p["left"], p["right"]), key=len) for name, p in page.pairs.items()}
        names = [*by_length][: wins + losses]
        preferred = {name: by_length[name][1 if i < wins else 0] for i, name in enumerate(names)}
        jobs = review_jobs([str(page.votes(reviewer, preferred, tmp_path))], None)
        ((manifest, review),) = execute_reviews(Store.current(), jobs)
        assert (review.wins, review.losses) == (wins, losses)
        return manifest

    return make


def conditions(decision: GateDecision) -> dict[str, bool]:
    return {check.name: check.passed for check in decision.checks}


def test_without_the_key_a_review_changes_nothing(walk: Any, vote: Any) -> None:
    """No stage reruns, no key depends on the review, and the decision has no condition on it."""
    planned = planned_stages(walk.settings())
    assert {entry["status"] for entry in planned.values()} == {"reused"}
    vote(0, 4)
    assert planned_stages(walk.settings()) == planned
    ran, decision = walk()
    assert ran == []
    assert decision.passed
    assert not {"review", "win rate", "dialogues with a vote"} & conditions(decision).keys()


def test_a_required_review_that_is_missing_fails_with_what_to_do(walk: Any) -> None:
    """The id is that of the scores to vote on; nothing but the decision and the report is made again."""
    planned = planned_stages(walk.settings(*REQUIRED))
    assert [name for name, entry in planned.items() if entry["status"] == "run"] == ["promote", "report"]
    ran, decision = walk(*REQUIRED)
    assert ran == ["promote", "report"]
    scores = find_scores(None).id
    assert decision.reasons == (
        f"no votes on these summaries against the base model: run `dialogsum review {scores}`, then "
        "`dialogsum review --votes FILE`, then `dialogsum promote`",
    )


def test_a_good_review_lets_the_candidate_through(walk: Any, vote: Any) -> None:
    """The plan names the review as the new input; the report shows both conditions."""
    walk(*REQUIRED)
    review = vote(4)
    reason = planned_stages(walk.settings(*REQUIRED))["promote"]["reason"]
    assert reason == f"the review added ({review.id})"
    ran, decision = walk(*REQUIRED)
    assert ran == ["promote", "report"]
    assert decision.passed
    observed = {check.name: check.observed for check in decision.checks}
    assert observed["win rate"] == "100 % (100 % to 100 %) against the base model, reviewers: 1"
    assert observed["dialogues with a vote"] == "4"
    report = next(reversed(Store.current().manifests("report")))
    assert "lower end at least 50 %" in (Store.current().payload(report.path) / "report.html").read_text()
    assert walk(*REQUIRED)[0] == []


@pytest.mark.parametrize(
    ("wins", "losses", "failed"),
    [(3, 1, ["win rate"]), (3, 0, ["dialogues with a vote"]), (0, 3, ["win rate", "dialogues with a vote"])],
)
def test_a_poor_or_small_review_rejects(walk: Any, vote: Any, wins: int, losses: int, failed: list[str]) -> None:
    """Three of four won: some resamples have less than half; three votes are fewer than the four required."""
    vote(wins, losses)
    _, decision = walk("gate.least_win_rate=0.51", "gate.least_reviewed=4")
    assert [name for name, passed in conditions(decision).items() if not passed] == failed
    assert not decision.passed


@pytest.mark.slow
def test_the_newest_review_counts(walk: Any, vote: Any) -> None:
    vote(0, 4)
    assert not walk(*REQUIRED)[1].passed
    vote(4, reviewer="Bob")
    assert walk(*REQUIRED)[1].passed


def test_with_a_champion_only_votes_against_it_count(walk: Any, vote: Any) -> None:
    """The first adapter is champion; a better one with votes against the base model still needs those against it."""
    from flows import dag
    from flows.recipe import load_recipe

    better = (*REQUIRED, "train.lora.rank=5")
    resolved = dag.resolve_recipe(load_recipe("smollm2-135m", walk.settings()))
    adapter = Store.current().manifests("train")[0].id
    assert resolved.champions.promote(resolved.candidate(adapter), find_scores(None).id, "test")
    _, decision = walk(*better)
    assert decision.reasons[0].startswith("no votes on these summaries against the champion: run `dialogsum review ")
    vote(4, against="base")
    assert walk(*better)[1].reasons == decision.reasons
    vote(4)
    assert walk(*better)[1].passed


@pytest.mark.slow
def test_a_review_outlives_scores_that_are_made_again(walk: Any, vote: Any) -> None:
    """Another bootstrap makes another score artifact of the same summaries."""
    review = vote(4)
    ran, decision = walk(*REQUIRED, "score.bootstrap_seed=1")
    assert ran == ["score", "promote", "report"]
    assert decision.passed
    assert find_scores(None).id != ReviewView(review).manifest.inputs["scores"].id


@pytest.mark.slow
def test_a_review_of_other_summaries_or_a_damaged_one_does_not_count(walk: Any, vote: Any) -> None:
    """An older intact one is used instead of a damaged one."""
    scores = find_scores(None)
    tuned, base = (scores.predictions[system].digest for system in (System.TUNED, System.BASE))
    assert newest_review(tuned, base) is None
    first, second = vote(4), vote(0, 4, reviewer="Bob")
    assert newest_review(tuned, base) == second
    assert newest_review(base, tuned) is newest_review(tuned, "0" * 64) is None
    file = Store.current().payload(second.path) / "review.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"win_rate": 1}))
    assert newest_review(tuned, base) == first
    assert ScoresView(scores.manifest).predictions[System.TUNED] == ReviewView(first).predictions[0]
