"""AUROC against all pairs, one by one, and its bootstrap against repeated rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.benchmarks.auroc import auroc, interval, weighted_auroc, weighted_auroc_within

rows = st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 3)), min_size=1, max_size=20)


def by_pairs(values: list[float], errors: list[bool], groups: list[int] | None = None) -> float:
    """Share of the pairs of a correct and a faulty row, of the same group if there are groups, that are in order."""
    wins = [
        (values[i] > values[j]) + (values[i] == values[j]) / 2
        for i in range(len(values))
        for j in range(len(values))
        if not errors[i] and errors[j] and (groups is None or groups[i] == groups[j])
    ]
    return sum(wins) / len(wins) if wins else float("nan")


@given(rows)
def test_auroc_is_the_share_of_pairs_in_order(table: list[tuple[int, bool, int]]) -> None:
    values, errors, groups = (list(column) for column in zip(*table, strict=True))
    arrays = np.asarray(values, dtype=float), np.asarray(errors, dtype=int)
    assert auroc(*arrays) == pytest.approx(by_pairs(values, errors), nan_ok=True)
    within = weighted_auroc_within(*arrays, np.asarray(groups), np.ones((1, 4)))[0]
    assert within == pytest.approx(by_pairs(values, errors, groups), nan_ok=True)


@given(rows, st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_a_weight_is_a_row_that_often(table: list[tuple[int, bool, int]], counts: list[int]) -> None:
    """The weights of a bootstrap over groups are the number of times that each group was drawn."""
    values, errors, groups = (np.asarray(column) for column in zip(*table, strict=True))
    weights = np.asarray(counts)[groups]
    repeated = np.repeat(values, weights), np.repeat(errors, weights)
    expected = by_pairs(*(list(each) for each in repeated))
    assert weighted_auroc(values, errors, weights[None])[0] == pytest.approx(expected, nan_ok=True)


def test_resamples_with_one_label_do_not_count_in_the_interval() -> None:
    assert interval(np.asarray([0.25, np.nan, 0.25])) == (0.25, 0.25)
    assert np.isnan(interval(np.asarray([np.nan]))).all()
