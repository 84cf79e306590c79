"""Protocols by hand; against loops over rouge_score they are tested through the stage (tests/tasks/test_score.py)."""

import numpy as np

from tasks.metrics.protocols import (
    best_reference,
    first_reference,
    leave_one_out,
    mean_of_references,
    score_under_all_protocols,
    trivial_baselines,
)


def test_reductions_over_references() -> None:
    """The best reference has the highest F1, with its own precision and recall, for each type separately."""
    scores = np.zeros((1, 2, 4, 3))
    scores[0, 0, 0], scores[0, 1, 0] = (0.9, 0.1, 0.18), (0.4, 0.4, 0.4)
    scores[0, 0, 1], scores[0, 1, 1] = (0.5, 0.5, 0.5), (0.3, 0.3, 0.3)
    assert mean_of_references(scores)[0, 0].tolist() == [(0.9 + 0.4) / 2, (0.1 + 0.4) / 2, (0.18 + 0.4) / 2]
    assert best_reference(scores)[0, :2].tolist() == [[0.4, 0.4, 0.4], [0.5, 0.5, 0.5]]
    assert first_reference(scores)[0, :2].tolist() == [[0.9, 0.1, 0.18], [0.5, 0.5, 0.5]]


def test_each_reference_is_scored_against_the_others_and_never_against_itself() -> None:
    rows = [["a", "b", "c"], ["d", "e", "f"]]
    assert leave_one_out(rows) == [
        (["a", "d"], [["b", "c"], ["e", "f"]]),
        (["b", "e"], [["a", "c"], ["d", "f"]]),
        (["c", "f"], [["a", "b"], ["d", "e"]]),
    ]
    assert leave_one_out([["a"], ["b"]]) == []


def test_human_is_a_system_only_where_there_are_several_references() -> None:
    one = score_under_all_protocols({"base": ["the cat"]}, [["the cat"]])
    two = score_under_all_protocols({"base": ["the cat"]}, [["the cat", "a dog"]])
    assert {tuple(systems) for systems in one.values()} == {("base",)}
    assert {tuple(systems) for systems in two.values()} == {("base", "human")}


def test_trivial_baselines_need_no_model() -> None:
    baselines = trivial_baselines(["A: x\nB: y\nA: z\nB: w", "A: v"])
    assert baselines["first three utterances"] == ["A: x B: y A: z", "A: v"]
    assert baselines["constant sentence"] == ["#Person1# and #Person2# are talking about something."] * 2
