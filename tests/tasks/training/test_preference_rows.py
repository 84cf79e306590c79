"""Which of the candidates become a pair, and the tokens that the trainer gets."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from artifacts.errors import StageError
from tasks.config import DistillConfig
from tasks.models.chat_template import TurnEncoder
from tasks.training.packing import IGNORED
from tasks.training.preference_rows import best_and_worst, preference_pairs
from tests.support.training import train_spec


def row(texts: list[str], agreement: list[float], reference: list[float] | None = None, **more: Any) -> dict[str, Any]:
    values = {"id": "a", "finished": [True] * len(texts), "reference_agreement": reference or [0.0] * len(texts)}
    return values | {"candidates": texts, "agreement": agreement} | more


@pytest.mark.parametrize(
    ("agreement", "reference", "weight", "expected"),
    [
        ([0.2, 0.9, 0.1, 0.5], [0, 0, 0, 0], 0.0, (1, 2)),
        ([0.2, 0.9, 0.1, 0.5], [1, 0, 1, 0], 0.0, (1, 2)),  # without weight the references do not count
        ([0.2, 0.9, 0.1, 0.5], [1, 0, 0, 0.8], 1.0, (3, 2)),  # 1.2, 0.9, 0.1, 1.3
        ([0.2, 0.9, 0.1, 0.5], [1, 0, 0.5, 0.8], 9.0, (0, 1)),  # 9.2, 0.9, 4.6, 7.7
        ([0.3, 0.3, 0.3], [0, 0, 0], 0.0, (0, 0)),
        ([0.1 + 0.2, 0.3], [0, 0], 0.0, (0, 0)),  # a difference of rounding is none
    ],
)
def test_best_and_worst_by_agreement_and_weighted_references(
    agreement: list[float], reference: list[float], weight: float, expected: tuple[int, int]
) -> None:
    assert best_and_worst(row(["x"] * len(agreement), agreement, reference), weight) == expected


def test_a_summary_that_was_cut_off_is_never_the_best() -> None:
    """It may be the worst. If all were cut off there is no pair."""
    cut_off = row(["a", "b", "c"], [0.9, 0.5, 0.1], finished=[False, True, False])
    assert best_and_worst(cut_off, 0.0) == (1, 2)
    assert best_and_worst(cut_off | {"finished": [False] * 3}, 0.0) is None


def test_pairs_are_encoded_as_for_generation_and_in_the_order_of_the_rows(models: dict[str, Path]) -> None:
    """A finished summary ends with the stop token, one that was cut off does not; both have the same prompt."""
    settings = DistillConfig(samples=2, max_new_tokens=20)
    spec = train_spec(models["llama"], max_length=60).model_copy(update={"preference": settings})
    tokenizer: Any = AutoTokenizer.from_pretrained(models["llama"])
    rows = [
        {"id": "long", "prompt": "word " * 200, "completion": "x"},
        {"id": "short", "prompt": "Hi.", "completion": "x"},
        {"id": "short", "prompt": "Hi.", "completion": "another reference"},
        {"id": "equal", "prompt": "Hi.", "completion": "x"},
        {"id": "endless", "prompt": "Hi.", "completion": "x"},
    ]
    candidates = [
        row(["So it is.", "Bad"], [0.9, 0.1], id="short", finished=[True, False]),
        row(["One", "Two", "Three"], [0.5, 0.1, 0.9], id="long"),
        row(["Same", "Same"], [1.0, 1.0], id="equal"),
        row(["On", "and on"], [0.9, 0.1], id="endless", finished=[False, False]),
    ]
    found = preference_pairs(spec, TurnEncoder(tokenizer, spec.turns), rows, candidates)
    assert found.ids == ["long", "short"]
    assert found.facts() == {"pairs": 2, "same_text": 1, "unfinished": 1}

    def text(ids: Any) -> str:
        return str(tokenizer.decode([token for token in ids if token != IGNORED]))

    long, short = found.pairs
    prompt = "<|im_start|>user\nHi.<|im_end|>\n<|im_start|>assistant\n"
    assert [text(ids) for ids, _ in short] == [f"{prompt}So it is.<|im_end|>", f"{prompt}Bad"]
    assert [text(labels) for _, labels in short] == ["So it is.<|im_end|>", "Bad"]
    assert [text(labels) for _, labels in long] == ["Three<|im_end|>", "Two<|im_end|>"]
    for ids, labels in (*long, *short):
        assert len(ids) == len(labels) <= spec.train.max_length
    prompts = [[i for i, label in zip(ids, labels, strict=True) if label == IGNORED] for ids, labels in long]
    assert prompts[0] == prompts[1]
    assert len(prompts[0]) == 40


def test_no_pair_and_missing_candidates_end_with_advice(models: dict[str, Path]) -> None:
    settings = DistillConfig(samples=2)
    spec = train_spec(models["llama"]).model_copy(update={"preference": settings})
    encoder = TurnEncoder(AutoTokenizer.from_pretrained(models["llama"]), spec.turns)
    rows = [{"id": "a", "prompt": "Hi.", "completion": "x"}]
    with pytest.raises(StageError, match=r"no pair is left of 1 dialogues.*samples of 1 have.*distill.samples"):
        preference_pairs(spec, encoder, rows, [row(["x", "x"], [1.0, 1.0])])
    with pytest.raises(StageError, match=r"1 of 1 training dialogues .* 'a'.*--refresh sample"):
        preference_pairs(spec, encoder, rows, [])
