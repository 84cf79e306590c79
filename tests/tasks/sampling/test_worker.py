"""The agreement of candidates with one another and with references, by hand and by rouge_score."""

import pytest
from rouge_score.rouge_scorer import RougeScorer

from tasks.decoding.engine import Output
from tasks.sampling.worker import candidates_row


def by_rouge_score(one: str, other: str) -> float:
    """(ROUGE-1 + 2 ROUGE-2 + ROUGE-L) / 4, F1."""
    scores = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True).score(one, other)
    return (scores["rouge1"].fmeasure + 2 * scores["rouge2"].fmeasure + scores["rougeL"].fmeasure) / 4


def test_agreement_is_the_mean_with_the_others_and_with_the_references() -> None:
    texts = ["Tom buys a red car.", "Tom buys the car.", "Ann sleeps.", "Tom buys a red car."]
    references = ["Tom is buying a car.", "Ann sells Tom a red car."]
    outputs = [Output(text, 5, i != 2) for i, text in enumerate(texts)]
    row = candidates_row("a", outputs, references, "auto")
    assert (row["id"], row["candidates"], row["finished"]) == ("a", texts, [True, True, False, True])
    for i, text in enumerate(texts):
        others = [by_rouge_score(text, other) for j, other in enumerate(texts) if j != i]
        assert row["agreement"][i] == pytest.approx(sum(others) / 3)
        with_references = [by_rouge_score(text, reference) for reference in references]
        assert row["reference_agreement"][i] == pytest.approx(sum(with_references) / 2)
    assert row["agreement"][0] == row["agreement"][3]
