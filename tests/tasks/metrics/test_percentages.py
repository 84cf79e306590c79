"""percent: shares and probabilities are rounded in one way, and rounding hides neither a rest nor a doubt."""

import pytest

from tasks.metrics.percentages import percent, probability


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.5, "50.0 %"),
        (0.0004, "below 0.1 %"),
        (0.001, "0.1 %"),
        (0.999, "99.9 %"),
        (0.9996, "above 99.9 %"),
    ],
)
def test_a_share_is_none_or_all_only_where_it_is_exactly_that(share: float, shown: str) -> None:
    """One of 2,500 is not 0.0 %, and 2,499 of them are not 100.0 %."""
    assert percent(share) == shown


@pytest.mark.parametrize(
    ("estimate", "shown"), [(0, "below 0.1 %"), (1, "above 99.9 %"), (0.95, "95.0 %"), (0.9994, "above 99.9 %")]
)
def test_a_probability_is_never_certain(estimate: float, shown: str) -> None:
    """That all of a thousand resamples agree leaves a doubt of about one in a thousand."""
    assert probability(estimate) == shown
