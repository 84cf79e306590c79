"""Which label of a classifier means: the dialogue supports the sentence."""

import pytest

from artifacts.errors import RequestError
from tasks.judging.labels import supported_label


@pytest.mark.parametrize(
    ("labels", "wanted", "expected"),
    [
        (["CONTRADICTION", "NEUTRAL", "ENTAILMENT"], None, 2),
        (["entailment", "neutral", "contradiction"], None, 0),
        (["entailment", "not_entailment"], None, 0),
        (["unsupported", "supported"], None, 1),
        (["LABEL_0", "LABEL_1"], None, 1),
        (["LABEL_0"], None, 0),
        (["a", "b"], "b", 1),
        (["a", "b"], "0", 0),
        (["entailment", "other"], "Other", 1),
    ],
)
def test_the_label_is_found_by_its_name(labels: list[str], wanted: str | None, expected: int) -> None:
    assert supported_label(dict(enumerate(labels)), wanted) == expected


@pytest.mark.parametrize(
    ("labels", "wanted", "message"),
    [
        (["a", "b"], None, r"has 0 a, 1 b: name it as judge.label"),
        (["LABEL_0", "LABEL_1", "LABEL_2"], None, "name it as judge.label"),
        (["entailment", "supported"], None, "name it as judge.label"),
        (["a", "b"], "c", "no label 'c'; it has 0 a, 1 b"),
    ],
)
def test_a_label_that_is_not_clear_is_refused(labels: list[str], wanted: str | None, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        supported_label(dict(enumerate(labels)), wanted)
