"""Minimum Bayes risk decoding: of several candidates for one prompt, choose the one that agrees most with the others.

Agreement is the weighted mean of the F1 of ROUGE-1, ROUGE-2 and ROUGE-L with stemming, as rouge_score computes them.
All pairs of candidates are scored at once, about a hundred times faster than one by one. This belongs to decoding, not
to scoring, so that an edit of tasks/metrics/rouge.py changes no key of generate.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import cache
from itertools import pairwise

import numpy as np
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

from tasks.config import TokenizerName
from tasks.tokenization import tokenize, tokenizer_for

WEIGHTS = (1, 2, 1)
"""Of ROUGE-1, ROUGE-2 and ROUGE-L; chosen on validation (BENCHMARKS.md)."""


def choose(texts: Sequence[str], tokenizer: TokenizerName = "auto") -> int:
    """Index of the text with the highest mean agreement with the others; the first one if several have it."""
    scores = agreement(texts, tokenizer)
    np.fill_diagonal(scores, 0.0)
    # rounded, so that equal texts have equal sums in whatever order their scores are added
    return int(scores.sum(1).round(9).argmax())


def agreement(texts: Sequence[str], tokenizer: TokenizerName = "auto") -> np.ndarray:
    """[texts, texts] weighted mean of the F1 scores of each pair."""
    resolved = tokenizer_for(tokenizer, texts)
    tokens = [tokenize(text, resolved, _stemmer()) for text in texts]
    bigrams = [list(pairwise(sequence)) for sequence in tokens]
    tables = [
        _f1(_overlap(tokens), tokens),
        _f1(_overlap(bigrams), bigrams),
        _f1(cdist(tokens, tokens, scorer=LCSseq.similarity, dtype=np.int64), tokens),
    ]
    mean: np.ndarray = np.average(tables, axis=0, weights=WEIGHTS)
    return mean


@cache
def _stemmer() -> Callable[[str], str]:
    from nltk.stem import porter  # takes 0.2 s to import

    return cache(porter.PorterStemmer().stem)


def _f1(matches: np.ndarray, texts: Sequence[Sequence[Hashable]]) -> np.ndarray:
    """[texts, texts] F1 from the numbers of matches: 2 matches / (length + length)."""
    lengths = np.array([len(text) for text in texts])
    total = lengths[:, None] + lengths[None]
    ratio: np.ndarray = 2 * matches / np.maximum(total, 1)
    return ratio


def _overlap(texts: Sequence[Sequence[Hashable]]) -> np.ndarray:
    """[texts, texts] clipped n-gram matches: the second `the` of a text matches the second `the` of another."""
    column_of: dict[tuple[Hashable, int], int] = {}
    rows, columns = [], []
    for row, text in enumerate(texts):
        counts: Counter[Hashable] = Counter()
        for token in text:
            counts[token] += 1
            rows.append(row)
            columns.append(column_of.setdefault((token, counts[token]), len(column_of)))
    table = np.zeros((len(texts), len(column_of)), np.float32)  # exact: counts are small
    table[rows, columns] = 1
    matches: np.ndarray = (table @ table.T).astype(np.int64)
    return matches
