"""ROUGE as rouge_score computes it, to the last digit, in a fraction of the time.

Tokens, stems and n-grams are computed once per text instead of once per pair, and rapidfuzz computes the length of the
longest common subsequence. Tokenizer, stemmer, the union over sentences and the F-measure are those of rouge_score.
`dialogsum bench score` times both. Other tokenizers are those of tasks/tokenization.py.
"""

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from rapidfuzz.distance import LCSseq
from rouge_score import rouge_scorer, scoring

from tasks.config import TokenizerName
from tasks.tokenization import Tokenizer, tokenize, tokenizer_for

Statistics = tuple[float, float, float]
"""Precision, recall, F1."""


class TokenizedText:
    """Tokens and n-grams of a text."""

    def __init__(self, tokens: list[str], sentences: list[list[str]]) -> None:
        self.tokens, self.sentences = tokens, sentences
        self.unigrams, self.bigrams = Counter(tokens), Counter(pairwise(tokens))


class Scorer:
    """Scores pairs of texts by all four ROUGE types, with or without stemming. `auto` is decided by the reference."""

    def __init__(self, stemming: bool, tokenizer: TokenizerName = "auto") -> None:
        from nltk.stem import porter  # takes 0.2 s to import

        self._tokenizer: TokenizerName = tokenizer
        self._stem = lru_cache(maxsize=1 << 16)(porter.PorterStemmer().stem) if stemming else None
        self._text = lru_cache(maxsize=1 << 16)(self._tokenized)

    def __call__(self, reference: str, prediction: str) -> tuple[Statistics, Statistics, Statistics, Statistics]:
        """Precision, recall and F1 of each type, in the order of ROUGE_TYPES."""
        tokenizer = tokenizer_for(self._tokenizer, [reference])
        target, output = self._text(reference, tokenizer), self._text(prediction, tokenizer)
        rouge_l = _statistics(LCSseq.similarity(target.tokens, output.tokens), output.tokens, target.tokens)
        return (
            _statistics(_overlap(target.unigrams, output.unigrams), output.tokens, target.tokens),
            _statistics(_overlap(target.bigrams, output.bigrams), output.tokens[1:], target.tokens[1:]),
            rouge_l,
            # between single sentences, the union of subsequences is the subsequence itself
            rouge_l if len(target.sentences) < 2 and len(output.sentences) < 2 else _summary_level(target, output),
        )

    def _tokenized(self, text: str, tokenizer: Tokenizer) -> TokenizedText:
        tokens, *sentences = (tokenize(part, tokenizer, self._stem) for part in (text, *filter(None, text.split("\n"))))
        return TokenizedText(tokens, sentences if len(sentences) > 1 else [[]])


def _statistics(hits: int, prediction: list[str], reference: list[str]) -> Statistics:
    precision, recall = hits / max(len(prediction), 1), hits / max(len(reference), 1)
    return precision, recall, scoring.fmeasure(precision, recall)


def _overlap(reference: Counter[Any], prediction: Counter[Any]) -> int:
    return sum(min(count, prediction[gram]) for gram, count in reference.items() if gram in prediction)


def _summary_level(reference: TokenizedText, prediction: TokenizedText) -> Statistics:
    score = rouge_scorer._summary_level_lcs(
        reference.sentences if len(reference.sentences) > 1 else [reference.tokens],
        prediction.sentences if len(prediction.sentences) > 1 else [prediction.tokens],
    )
    return score.precision, score.recall, score.fmeasure


def score_rows(predictions: Iterable[str], references: Iterable[list[str]], scorer: Scorer) -> np.ndarray:
    """Score every prediction against each of its references.

    Returns fractions of shape (rows, references, 4 types, 3 statistics), in the order of ROUGE_TYPES and STATISTICS.
    Every row must have the same number of references. Texts are scored unchanged: as in rouge_score, a line break ends
    a sentence for rougeLsum, which equals rougeL if there is none.
    """
    table = [
        [scorer(reference, prediction) for reference in row]
        for prediction, row in zip(predictions, references, strict=True)
    ]
    return np.asarray(table, dtype=np.float64)
