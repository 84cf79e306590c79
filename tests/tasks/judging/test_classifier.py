"""The classifier's scores, compared with plain transformers, one pair at a time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from artifacts.errors import RequestError
from tasks.config import JudgeClassifier, ModelConfig
from tasks.judging import classifier as module
from tasks.judging.classifier import Classifier
from tasks.judging.texts import JudgedText
from tasks.metrics.judgement import Kind
from tasks.sources.resolve import resolve_model
from tests.support.judges import ENTAILMENT, tiny_classifier

CPU = torch.device("cpu")
DIALOGUE = "#Person1#: Are you coming to the station at seven?\n#Person2#: No, I am ill today."
SUMMARIES = ["#Person2# is ill. #Person1# waits at the station.", "They meet at seven.", " "]


def settings(folder: Path, **more: Any) -> JudgeClassifier:
    model = resolve_model(ModelConfig(source=str(folder)), "judge.model")
    return JudgeClassifier.model_validate({"model": model, "label": None, "chunk_tokens": 384, "threshold": 0.5} | more)


def text(summary: str, dialogue: str = DIALOGUE) -> JudgedText:
    return JudgedText(id=summary, kind=Kind.PREDICTION, dialogue=dialogue, summary=summary)


def probability(folder: Path, premise: str, claim: str) -> float:
    """Of the label `entailment`, by transformers alone."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        logits = model(**tokenizer(premise, claim, return_tensors="pt")).logits[0]
    return float(logits.softmax(dim=0)[ENTAILMENT.index("entailment")])


def test_a_summary_gets_the_mean_of_its_sentences(tmp_path: Path, models: dict[str, Path]) -> None:
    """Whatever else is in the batch; sentences below the threshold are named."""
    folder = tiny_classifier(tmp_path / "judge", models["llama"])
    claims = ("#Person2# is ill.", "#Person1# waits at the station.")
    first, second = (probability(folder, DIALOGUE, claim) for claim in claims)
    assert abs(first - second) > 0.001
    between = (first + second) / 2
    judged = Classifier(settings(folder, threshold=between), CPU).judge([text(summary) for summary in SUMMARIES])
    assert judged[0].score == pytest.approx(between, abs=1e-5)
    assert judged[0].lowest == pytest.approx(min(first, second), abs=1e-5)
    assert judged[0].unsupported == (claims[first > second],)
    assert judged[1].score == pytest.approx(probability(folder, DIALOGUE, SUMMARIES[1]), abs=1e-5)
    assert (judged[2].score, judged[2].unsupported) == (0.0, ())  # an empty summary


def test_the_best_chunk_counts(tmp_path: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a dialogue that is longer than the model reads, every line is read; small batches change nothing."""
    folder = tiny_classifier(tmp_path / "judge", models["llama"], positions=40)
    dialogue = "\n".join(f"#Person{i % 2 + 1}#: This is line {i}, which says nothing." for i in range(9))
    judge = Classifier(settings(folder), CPU)
    claim = "Nothing is said."
    chunks = judge._chunks(dialogue, claim)
    assert len(chunks) > 3
    assert all(f"line {i}," in "\n".join(chunks) for i in range(9))
    expected = max(probability(folder, chunk, claim) for chunk in chunks)
    assert judge.judge([text(claim, dialogue)])[0].score == pytest.approx(expected, abs=1e-5)
    monkeypatch.setitem(module.TOKENS_PER_BATCH, "cpu", 50)
    assert judge.judge([text(claim, dialogue)])[0].score == pytest.approx(expected, abs=1e-5)


def test_a_claim_longer_than_the_model_is_cut(tmp_path: Path, models: dict[str, Path]) -> None:
    judge = Classifier(settings(tiny_classifier(tmp_path / "judge", models["llama"], positions=40)), CPU)
    assert judge.judge([text("and so on " * 60)])[0].score is not None


def test_a_model_with_one_logit_gives_its_sigmoid(tmp_path: Path, models: dict[str, Path]) -> None:
    folder = tiny_classifier(tmp_path / "judge", models["llama"], labels=("LABEL_0",))
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        logit = float(model(**tokenizer(DIALOGUE, "Yes.", return_tensors="pt")).logits[0, 0])
    score = Classifier(settings(folder), CPU).judge([text("Yes.")])[0].score
    assert score == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-5)


def test_a_folder_that_is_no_classifier_is_refused(tmp_path: Path, models: dict[str, Path]) -> None:
    """A language model gets a random head by transformers, and its labels have no names: it is not silently used."""
    causal: Any = AutoModelForCausalLM.from_pretrained(models["llama"])
    causal.config.num_labels = 3
    causal.save_pretrained(tmp_path / "causal")
    AutoTokenizer.from_pretrained(models["llama"]).save_pretrained(tmp_path / "causal")
    with pytest.raises(RequestError, match=r"judge\.model"):
        Classifier(settings(tmp_path / "causal"), CPU)
