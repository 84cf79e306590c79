"""Sides of the candidate, samples of dialogues, and files of votes."""

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from artifacts.errors import RequestError
from tasks.metrics.pairwise_votes import VotesFile, candidate_side, page_digest, preferences, sample_dialogues

SEEDS = st.integers(0, 2**32 - 1)
TEXTS = st.text(max_size=20)


def votes_file(reviewer: str = "Ann", seed: int = 0, **choices: str) -> VotesFile:
    votes = [{"dialogue": name, "choice": choice} for name, choice in choices.items()]
    content = {"kind": "dialogsum votes", "version": 1, "scores": "score-1a2b3c4d", "seed": seed, "page": "0"}
    return VotesFile.model_validate(content | {"reviewer": reviewer, "dialogues": 9, "votes": votes})


def test_each_side_has_the_candidate_about_half_of_the_time() -> None:
    """Over ids and over seeds: within five standard deviations (5 * sqrt(4000) / 2 = 158) of one half of 4000."""
    by_id = sum(candidate_side(0, f"test_{i}") == "left" for i in range(4000))
    by_seed = sum(candidate_side(seed, "test_0") == "left" for seed in range(4000))
    alternating = sum(candidate_side(0, f"test_{i}") != candidate_side(0, f"test_{i + 1}") for i in range(4000))
    assert all(abs(count - 2000) < 158 for count in (by_id, by_seed, alternating))


@given(SEEDS, TEXTS)
def test_a_side_depends_on_seed_and_dialogue_alone(seed: int, name: str) -> None:
    """The hash as documented, computed here: pages that were saved long ago keep their sides."""
    bit = sha256(f"side {seed} {name}".encode("utf-8", "surrogatepass")).digest()[-1] & 1
    assert candidate_side(seed, name) == ("left" if bit else "right")


@given(st.sets(TEXTS, max_size=12), st.integers(1, 12), SEEDS)
def test_a_sample_has_each_dialogue_once_and_grows_at_its_end(ids: set[str], limit: int, seed: int) -> None:
    """It does not depend on the order of the dataset, and a higher limit keeps the dialogues of a lower one."""
    sample = sample_dialogues(ids, limit, seed)
    assert len(sample) == len(set(sample)) == min(limit, len(ids))
    assert set(sample) <= ids
    assert sample_dialogues(sorted(ids, reverse=True), limit, seed) == sample
    assert sample_dialogues(ids, limit + 3, seed)[: len(sample)] == sample


def test_every_dialogue_is_sampled_about_equally_often() -> None:
    """Samples of 2 of 8 over 2000 seeds: each in a quarter, within five standard deviations (97)."""
    ids = [f"test_{i}" for i in range(8)]
    samples = [sample_dialogues(ids, 2, seed) for seed in range(2000)]
    assert all(abs(sum(name in sample for sample in samples) - 500) < 97 for name in ids)


def test_pages_of_other_scores_seeds_and_opponents_have_other_digests() -> None:
    digests = {page_digest(s, seed, o) for s in ("score-1", "score-2") for seed in (0, 1) for o in ("base", "champion")}
    assert len(digests) == 8


def test_outcomes_are_those_of_the_candidate() -> None:
    """Whichever side it was on."""
    sides = {f"test_{i}": candidate_side(0, f"test_{i}") for i in range(20)}
    assert {*sides.values()} == {"left", "right"}
    other = {"left": "right", "right": "left"}
    assert {each.outcome for each in preferences([votes_file(**sides)])} == {"win"}
    assert {each.outcome for each in preferences([votes_file(**{n: other[s] for n, s in sides.items()})])} == {"loss"}
    assert {each.outcome for each in preferences([votes_file(**dict.fromkeys(sides, "tie"))])} == {"tie"}


def test_votes_of_one_reviewer_are_joined_unless_they_contradict() -> None:
    """Also if two pages with other seeds show the candidate on other sides: what counts is the preferred summary."""
    first = candidate_side(0, "a")
    other_seed = next(seed for seed in range(100) if candidate_side(seed, "a") != first)
    second = candidate_side(other_seed, "a")
    joined = preferences([votes_file(a=first, b="tie"), votes_file(seed=other_seed, a=second, c="tie")])
    assert [(each.id, each.outcome) for each in joined] == [("a", "win"), ("b", "tie"), ("c", "tie")]
    with pytest.raises(RequestError, match="the votes of Ann on a contradict"):
        preferences([votes_file(a="left"), votes_file(seed=other_seed, a="left")])
    both = preferences([votes_file(a="left"), votes_file(reviewer="Bob", a="right")])
    assert {each.outcome for each in both} == {"win", "loss"}


def test_equal_votes_are_equal_files_in_any_order() -> None:
    assert votes_file(b="tie", a="left").in_order() == votes_file(a="left", b="tie").in_order()


@pytest.mark.parametrize(
    "change",
    [{"kind": "votes"}, {"version": 2}, {"reviewer": " \n"}, {"seed": -1}, {"dialogues": 0}, {"more": 1}],
    ids=str,
)
def test_other_content_is_no_file_of_votes(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        VotesFile.model_validate(votes_file(a="left").model_dump() | change)


def test_a_name_is_one_line() -> None:
    """Spaces do not make another person; control characters do not reach a terminal."""
    assert votes_file(reviewer="  Ann \x1b[31m\n Lee ").reviewer == "Ann [31m Lee"
