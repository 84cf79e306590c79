"""Minimum Bayes risk: of several answers to one prompt, the one that agrees most with all the others.

Agreement is the weighted mean of the F1 of ROUGE-1, ROUGE-2 and ROUGE-L with stemming, as rouge_score computes them. All
pairs of one row are scored at once, some hundred times faster than one by one. This is a part of decoding and not of
scoring: an edit of tasks/metrics/rouge.py must not generate anything anew.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from functools import cache
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np

WEIGHTS = (1, 2, 1)
"""Of ROUGE-1, ROUGE-2 and ROUGE-L; chosen on validation (BENCHMARKS.md)."""


def choose(texts: Sequence[str]) -> int:
    """Index of the text with the highest mean agreement with the others; the first of equals."""
    means = agreement(texts)
    np.fill_diagonal(means, 0.0)
    # rounded: equal texts are equal, whatever the order in which their figures were added
    return int(means.sum(1).round(9).argmax())


def agreement(texts: Sequence[str]) -> np.ndarray:
    """[texts, texts] weighted mean F1 of each pair."""
    tokens = [_tokens(text) for text in texts]
    pairs = [list(pairwise(words)) for words in tokens]
    tables = [
        _f1(_common(tokens), tokens), _f1(_common(pairs), pairs), _f1(_subsequences(tokens), tokens)
    ]  # fmt: skip
    mean: np.ndarray = np.average(tables, axis=0, weights=WEIGHTS)
    return mean


@cache
def _stemmer() -> Any:
    from nltk.stem import porter

    return SimpleNamespace(stem=cache(porter.PorterStemmer().stem))


def _tokens(text: str) -> list[str]:
    from rouge_score import tokenize

    tokens: list[str] = tokenize.tokenize(text, _stemmer())
    return tokens


def _f1(hits: np.ndarray, texts: Sequence[Sequence[Hashable]]) -> np.ndarray:
    """2 hits / (length + length), which is what precision and recall make."""
    lengths = np.array([len(text) for text in texts])
    both = lengths[:, None] + lengths[None]
    ratio: np.ndarray = 2 * hits / np.maximum(both, 1)
    return ratio


def _common(texts: Sequence[Sequence[Hashable]]) -> np.ndarray:
    """[texts, texts] tokens in common: the second `the` of a text meets the second `the` of another."""
    numbers: dict[tuple[Hashable, int], int] = {}
    rows, columns = [], []
    for row, text in enumerate(texts):
        seen: Counter[Hashable] = Counter()
        for token in text:
            seen[token] += 1
            rows.append(row)
            columns.append(numbers.setdefault((token, seen[token]), len(numbers)))
    table = np.zeros((len(texts), len(numbers)), np.float32)  # exact: counts are small
    table[rows, columns] = 1
    common: np.ndarray = (table @ table.T).astype(np.int64)
    return common


def _subsequences(texts: Sequence[Sequence[Hashable]]) -> np.ndarray:
    """[texts, texts] lengths of the longest common subsequences.

    Bit-parallel (H. Hyyrö, 2004), a zero bit is a step of it; the texts stand side by side in one integer, one unused bit
    between them for the carry, so that one text meets all others at once.
    """
    places: dict[Hashable, int] = {}
    everything, at, starts = 0, 0, []
    for text in texts:
        starts.append(at)
        everything |= ((1 << len(text)) - 1) << at
        for token in text:
            places[token] = places.get(token, 0) | 1 << at
            at += 1
        at += 1
    width = -(-at // 8)
    found = []
    for text in texts:
        row = everything
        for token in text:
            if match := row & places[token]:
                row = ((row + match) | (row - match)) & everything
        bits = np.unpackbits(np.frombuffer((everything ^ row).to_bytes(width, "little"), np.uint8), bitorder="little")
        found.append(np.add.reduceat(bits, starts, dtype=np.int64))
    return np.array(found)
