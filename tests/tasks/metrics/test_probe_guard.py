"""The guard on facts: rejects what is a loss beyond doubt, and nothing else."""

import pytest

from tasks.metrics.probe_guard import probe_check
from tasks.metrics.probe_kinds import ProbeKind
from tasks.metrics.probe_scores import probe_scores
from tasks.metrics.score_table import System
from tasks.metrics.scores import ProbeScores
from tests.support.probes import likelihoods

SWAP, NUMBER = str(ProbeKind.SPEAKERS), str(ProbeKind.NUMBER)


def scores_of(dialogues: int, lost: int, rival: System = System.CHAMPION) -> ProbeScores:
    """The candidate loses so many of the swaps that its rival has, and no number; the rest is equal."""
    right = [True] * dialogues
    other = likelihoods({SWAP: right, NUMBER: right})
    tables = {
        System.BASE: other,
        System.TUNED: likelihoods({SWAP: [i >= lost for i in range(dialogues)], NUMBER: right}),
    }
    tables |= {rival: other}
    found = probe_scores({str(system): rows for system, rows in tables.items()}, {}, {}, 2000, 0)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("dialogues", "lost", "most_loss", "passed"),
    [
        (100, 0, 0.05, True),
        (100, 5, 0.05, True),  # five points at most are allowed
        (100, 9, 0.05, True),  # nine of a hundred may be five of a hundred, by chance
        (100, 20, 0.05, False),
        (100, 20, 0.3, True),
        (100, 20, 1, True),
        (10, 2, 0.05, True),  # the same share of few dialogues says little
        (100, 8, 0, False),
    ],
)
def test_a_loss_beyond_doubt_is_rejected(dialogues: int, lost: int, most_loss: float, passed: bool) -> None:
    """A resample of n dialogues with a loss of a share p has about n p of them, give or take 2 sqrt(n p (1 - p))."""
    check = probe_check(most_loss, scores_of(dialogues, lost), System.CHAMPION)
    assert check.applied
    assert check.passed is passed


def test_the_sentence_names_rival_kind_loss_and_limit() -> None:
    """Of a rejected candidate every kind that fails; of another the lowest."""
    rejected = probe_check(0.05, scores_of(100, 20), System.CHAMPION).reason
    assert rejected.startswith(
        "preferred facts: prefers right facts less often than the champion: speakers swapped -20.0 points (-28.0 to "
    )
    assert rejected.endswith("dialogues: 100) (required: no interval below -5 points)")
    assert NUMBER not in rejected
    passed = probe_check(0.05, scores_of(100, 1, System.BASE), System.BASE).reason
    assert passed.startswith("preferred facts: lowest of 2 kinds against the base model: speakers swapped -1.0 points")


def test_scores_without_a_probe_pass_and_say_so() -> None:
    check = probe_check(0.05, None, System.BASE)
    assert (check.passed, check.applied) == (True, False)
    assert check.observed == "not applied: these scores have no probe"
