"""Files of votes: which are refused, and what `review --votes` prints of the others."""

import json
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from flows.cli.review_output import print_reviews
from flows.cli.show import walk
from flows.review_page import compare, find_scores, write_page
from flows.review_votes import review_jobs
from flows.stage_flows import review as review_flow
from tasks.execution.job import save_job
from tests.support.artifacts import ArtifactFactory
from tests.support.processes import call_cli
from tests.support.reviews import PageReader, execute_reviews, publish_scores

SYSTEMS = {
    "tuned": ["a b", "a c", "a d", "same"],
    "base": ["x", "y", "z", "same"],
    "champion": ["a b", "q", "r", "s"],
}


@pytest.fixture
def page(artifact_factory: ArtifactFactory, tmp_path: Path) -> PageReader:
    """A page of tuned against base with all three dialogues whose summaries differ; test_3 is left out."""
    publish_scores(artifact_factory, ["x"] * 4, **SYSTEMS)
    return page_against("base", tmp_path)


def page_against(opponent: str, folder: Path, limit: int = 40) -> PageReader:
    write_page(compare(find_scores(None), opponent), folder / "page.html", limit, None)
    return PageReader(folder / "page.html")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kind": "other"}, "not a file of votes that a review page saved (kind: Input should be 'dialogsum votes')"),
        ({"more": 1}, "not a file of votes that a review page saved (more: Extra inputs are not permitted)"),
        ({"votes": [{"dialogue": "test_0", "choice": "up"}]}, "not a file of votes that a review page saved (choice: "),
        ({"votes": []}, "it has no votes"),
        ({"votes": [{"dialogue": "test_9", "choice": "left"}]}, "'test_9' is not a dialogue of its page"),
        ({"votes": [{"dialogue": "test_3", "choice": "left"}]}, "'test_3' is not a dialogue of its page"),
        (
            {"votes": [{"dialogue": "test_0", "choice": c} for c in ("left", "right")]},
            "votes of Ann on test_0 contradict",
        ),
        ({"seed": 5}, "score-5c0e5c0e has no review page with its seed and digest"),
        ({"scores": "score-00000000"}, "there is no artifact score-00000000"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(
    page: PageReader, tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    """It is named, and no artifact is made."""
    process = call_cli("review", "--votes", str(page.votes("Ann", {"test_0": "a b"}, tmp_path, changes)))
    assert (process.returncode, process.stdout, process.stderr.count("\n")) == (2, "", 1)
    assert expected in process.stderr
    assert Store.current().manifests("review") == []


@pytest.mark.parametrize("content", [b"", b"no JSON", b"[1]", b"\xff\x00", b"{}"])
def test_any_other_file_is_refused(page: PageReader, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "votes.json").write_bytes(content)
    with pytest.raises(RequestError, match=r"votes\.json: not a file of votes that a review page saved"):
        review_jobs([str(tmp_path / "votes.json")], None)
    with pytest.raises(RequestError, match=r"nowhere: cannot be read \(No such file or directory\)"):
        review_jobs([str(tmp_path / "nowhere")], None)


def test_a_dialogue_that_the_sample_left_out_is_refused(page: PageReader, tmp_path: Path) -> None:
    """The page had one dialogue of three; a vote on another cannot come from it."""
    small = page_against("base", tmp_path, limit=1)
    (shown,) = small.pairs
    other = next(name for name in page.pairs if name != shown)
    file = small.votes("Ann", {}, tmp_path, {"votes": [{"dialogue": other, "choice": "tie"}]})
    with pytest.raises(RequestError, match=f"'{other}' is not a dialogue of its page"):
        review_jobs([str(file)], None)


def test_votes_on_other_scores_are_refused(page: PageReader, artifact_factory: ArtifactFactory, tmp_path: Path) -> None:
    """Than those that the command names, or than those of the first file."""
    first = str(page.votes("Ann", {"test_0": "a b"}, tmp_path))
    publish_scores(artifact_factory, ["x"] * 4, "5c0e5c0f", **SYSTEMS)
    other = str(page.votes("Bob", {"test_0": "a b"}, tmp_path, {"scores": "score-5c0e5c0f"}))
    with pytest.raises(RequestError, match="its votes are on score-5c0e5c0e, not on score-5c0e5c0f"):
        review_jobs([first], "score-5c0e5c0f")
    with pytest.raises(RequestError, match="its votes are on score-5c0e5c0f, not on score-5c0e5c0e"):
        review_jobs([first, other], None)


def test_contradicting_files_of_one_reviewer_are_refused_and_equal_ones_count_once(
    page: PageReader, tmp_path: Path
) -> None:
    one = page.votes("Ann", {"test_0": "a b", "test_1": "tie"}, tmp_path)
    other = page.votes("Ann", {"test_0": "x"}, tmp_path)
    with pytest.raises(RequestError, match="the votes of Ann on test_0 contradict each other"):
        review_jobs([str(one), str(other)], None)
    twice, once = review_jobs([str(one), str(one)], None), review_jobs([str(one)], None)
    assert [job.key for job in twice] == [job.key for job in once]


def test_each_opponent_has_a_review_of_its_own(page: PageReader, tmp_path: Path) -> None:
    """Votes against base and against the champion in one call; test_0 is identical to the champion's."""
    against_base = page.votes("Ann", {"test_0": "a b"}, tmp_path)
    champion = page_against("champion", tmp_path)
    assert set(champion.pairs) == {"test_1", "test_2", "test_3"}
    against_champion = champion.votes("Ann", {"test_1": "q", "test_2": "r"}, tmp_path)
    jobs = review_jobs([str(against_base), str(against_champion)], "score-5c0e5c0e")
    reviews = {review.opponent: review for _, review in execute_reviews(Store.current(), jobs)}
    assert {opponent: (r.win_rate, r.votes) for opponent, r in reviews.items()} == {"champion": (0, 2), "base": (1, 1)}


def test_the_output_counts_everything(page: PageReader, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Win rate, votes, dialogues, partial votes, agreement and disagreement, as a reader counts them."""
    files = [
        page.votes("Ann", {"test_0": "a b", "test_1": "a c", "test_2": "z"}, tmp_path),
        page.votes("Bob", {"test_0": "a b", "test_1": "tie"}, tmp_path),
    ]
    made = execute_reviews(Store.current(), review_jobs([*map(str, files)], None))
    print_reviews([manifest for manifest, _ in made], as_json=False)
    lines = capsys.readouterr().out.splitlines()
    # (1 + 3/4 + 0) / 3
    assert lines[0] == ("tuned against base of score-5c0e5c0e: win rate 58.3 % (95 % interval 0 % to 100 %)")
    assert lines[1:5] == [
        "5 votes: 3 for tuned, 1 for base, 1 tie",
        "3 dialogues with a vote, 0 without, 1 left out because both summaries are identical",
        "Ann: 3 of 3 dialogues",
        "Bob: 2 of 3 dialogues",
    ]
    # observed: units (2 wins), (win, tie); 4 labels: 3 wins, 1 tie; 1 - 3 * 2 / (16 - 10)
    assert lines[5] == "agreement: 50.0 % of 2 pairs of votes on 2 dialogues, Krippendorff's alpha 0.000"
    assert lines[6] == "ROUGE-1 prefers the other summary on 1 of 3 dialogues of which people prefer one: test_2"
    assert lines[-1].startswith(f"{made[0][0].id}  ")
    print_reviews([manifest for manifest, _ in made], as_json=True)
    (content,) = json.loads(capsys.readouterr().out)["reviews"]
    assert (content["artifact"], content["scores"], content["opponent"]) == (made[0][0].id, "score-5c0e5c0e", "base")
    assert content["win_rate"] == pytest.approx(1.75 / 3, abs=1e-6)


@pytest.mark.usefixtures("prefect_server")
def test_a_flow_makes_the_artifact_with_its_lineage(page: PageReader, tmp_path: Path) -> None:
    """As a Prefect run from its id; the store verifies it and everything that it was made from."""
    store = Store.current()
    (job,) = review_jobs([str(page.votes("Ann", {"test_0": "a b"}, tmp_path))], None)
    save_job(store, job)
    review_flow(artifact=job.artifact, refresh=False)
    manifest = store.by_id(job.artifact)
    assert manifest.path.startswith("8_review/against-base_")
    assert manifest.provenance.origin["recipe"] == "quickstart 0abc"
    assert {(entry["role"], entry["state"]) for entry in walk(store, manifest)} == {
        (role, "whole") for role in ("", "scores", "dataset", "tuned", "base", "champion")
    }
