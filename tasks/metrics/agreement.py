"""Inter-annotator agreement of nominal labels: percent agreement and Krippendorff's alpha.

Written here because the package `krippendorff` is under the GPL, and this project under the Apache License.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from artifacts.record import Record


class Agreement(Record):
    """How far the annotators of the same units agree."""

    units: int
    """Units with at least two labels; the others do not count."""
    pairs: int
    """Pairs of labels of the same unit."""
    agreeing_pairs: int
    alpha: float | None
    """Krippendorff's alpha, nominal: 1 is perfect agreement, 0 that of chance. None if all labels are the same or no
    unit has two."""

    @property
    def percent_agreement(self) -> float | None:
        """Share of pairs (0 to 1) whose labels are equal; None without a pair."""
        return self.agreeing_pairs / self.pairs if self.pairs else None


def agreement(units: Iterable[Sequence[str]]) -> Agreement:
    """Agreement of the labels of each unit; a unit may have any number of labels."""
    counts = [Counter(labels) for labels in units if len(labels) > 1]
    sizes = [counter.total() for counter in counts]
    return Agreement(
        units=len(counts),
        pairs=sum(size * (size - 1) // 2 for size in sizes),
        agreeing_pairs=sum(count * (count - 1) // 2 for counter in counts for count in counter.values()),
        alpha=_alpha(counts),
    )


def _alpha(counts: Sequence[Counter[str]]) -> float | None:
    """1 - observed / expected disagreement (Krippendorff 2011, section C), of units with at least two labels."""
    total = sum(counts, Counter[str]())
    labels = total.total()
    expected = labels**2 - sum(count**2 for count in total.values())
    if not expected:
        return None
    observed = sum(
        (unit.total() ** 2 - sum(count**2 for count in unit.values())) / (unit.total() - 1) for unit in counts
    )
    return round(1 - (labels - 1) * observed / expected, 6)
