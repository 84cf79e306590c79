"""Inter-annotator agreement: the worked examples that Krippendorff published, and cases counted by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.metrics.agreement import agreement

LABELS = st.lists(st.lists(st.sampled_from(["win", "loss", "tie"]), max_size=4), max_size=8)


def units(*observers: str) -> list[list[str]]:
    """One row of labels per observer, `.` where there is none -> the labels of each unit."""
    return [
        [label for label in column if label != "."] for column in zip(*(row.split() for row in observers), strict=True)
    ]


@pytest.mark.parametrize(
    ("observers", "alpha"),
    [
        # K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), sections A, B and C
        (("0 1 0 0 0 0 0 0 1 0", "1 1 1 0 0 1 0 0 0 0"), 0.095),
        (("a a b b d c c c e d d a", "b a b b b c c c e d d d"), 0.692),
        (
            (
                "1 2 3 3 2 1 4 1 2 . . .",
                "1 2 3 3 2 2 4 1 2 5 . 3",
                ". 3 3 3 2 3 4 2 2 5 1 .",
                "1 2 3 3 2 4 4 1 2 5 1 .",
            ),
            0.743,
        ),
    ],
    ids=["binary", "nominal", "missing labels"],
)
def test_alpha_is_that_of_the_published_examples(observers: tuple[str, ...], alpha: float) -> None:
    assert agreement(units(*observers)).alpha == pytest.approx(alpha, abs=5e-4)


def test_pairs_of_labels_are_counted() -> None:
    """Three labels make three pairs, two make one, one makes none: 1 + 1 of 4 pairs agree."""
    counted = agreement([["win", "win", "tie"], ["loss", "loss"], ["win"], []])
    assert (counted.units, counted.pairs, counted.agreeing_pairs) == (2, 4, 2)
    assert counted.percent_agreement == 0.5


@pytest.mark.parametrize("labels", [[], [["win"], ["tie"]], [["win", "win"], ["win", "win", "win"]]])
def test_alpha_is_not_defined_without_two_labels_or_without_variation(labels: list[list[str]]) -> None:
    assert agreement(labels).alpha is None


@given(LABELS)
def test_alpha_is_one_exactly_for_perfect_agreement_and_ignores_order(labels: list[list[str]]) -> None:
    counted = agreement(labels)
    assert agreement([unit[::-1] for unit in reversed(labels)]) == counted
    if counted.alpha is not None:
        assert counted.alpha <= 1
        assert (counted.alpha == 1) is (counted.agreeing_pairs == counted.pairs)
