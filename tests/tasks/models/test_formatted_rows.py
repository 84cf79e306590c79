"""Which rows a training takes, and which dialogues belong to a fold."""

from tasks.config import Fold
from tasks.models.formatted_rows import in_fold, select_rows

ROWS = [{"id": name} for name in "aabcccdef"]


def test_every_nth_row_and_of_those_the_first() -> None:
    assert select_rows(ROWS, 1, None) == ROWS
    assert select_rows(ROWS, 2, 3) == [ROWS[0], ROWS[2], ROWS[4]]


def test_each_dialogue_is_in_one_fold_with_all_its_references() -> None:
    folds = [in_fold(ROWS, Fold(index=i, count=3)) for i in range(3)]
    assert [sum(column) for column in zip(*folds, strict=True)] == [1] * len(ROWS)
    members = [{row["id"] for row, inside in zip(ROWS, fold, strict=True) if inside} for fold in folds]
    assert members == [{"a", "d"}, {"b", "e"}, {"c", "f"}]
