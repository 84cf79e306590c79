"""bench score: our scorer compared with rouge_score's own loop, on the same texts, in one run."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rouge_score import rouge_scorer
from rouge_score.tokenizers import DefaultTokenizer

from artifacts.errors import RequestError
from artifacts.schemas import DATASET, read_table
from artifacts.user_paths import user_path
from tasks.config import DataConfig, DownloadSpec, Runtime, ScoreConfig
from tasks.download import download
from tasks.execution.stage import Context
from tasks.metrics.bootstrap import bootstrap_counts, mean_and_interval
from tasks.metrics.protocols import PROTOCOLS, score_under_all_protocols
from tasks.metrics.rouge import Scorer, score_rows
from tasks.metrics.score_table import ROUGE_TYPES
from tasks.sources.resolve import resolve_data
from tasks.workers.events import NullListener


def bench_score(source: str, predictions: str | None, repeats: int) -> tuple[list[dict[str, Any]], str]:
    """Time each scorer `repeats` times on a dataset's test split. Returns the fastest time of each, and a remark.

    predictions: a text file, one line for each dialogue. None: the first reference of each dialogue is scored against
    the references of the next dialogue, so that words and lengths are those of summaries.
    """
    texts, references = _texts(source, predictions)
    resamples = f"{ScoreConfig().bootstrap_resamples:,} resamples"
    plain = rouge_scorer.RougeScorer(list(ROUGE_TYPES), use_stemmer=True)
    scorers: dict[str, Callable[[], Any]] = {
        "rouge_score, its own loop": lambda: _rouge_score(texts, references, plain),
        "rouge_score, stems cached": lambda: _rouge_score(texts, references, _with_cache()),
        "ours, the same protocol": lambda: score_rows(texts, references, Scorer(True)),
        f"ours, {len(PROTOCOLS)} protocols, human ceiling, {resamples}": lambda: _all_protocols(texts, references),
    }
    rows, results = [], []
    for name, score in scorers.items():
        times = []
        for _ in range(repeats):
            started = time.perf_counter()
            result = score()
            times.append(time.perf_counter() - started)
        results.append(result)
        rows.append({"what": name, "seconds": round(min(times), 3), "slowest": round(max(times), 3)})
    same = bool((results[0] == results[2]).all() and (results[0] == results[1]).all())
    shape = f"{len(texts)} predictions x {len(references[0])} references, {os.cpu_count()} cores, best of {repeats}"
    f1 = " / ".join(f"{100 * value:.2f}" for value in results[2][..., 2].mean(axis=(0, 1)))
    return (
        rows,
        f"{shape}; scores {'identical to the last digit' if same else 'DIFFER'}: {' / '.join(ROUGE_TYPES)} {f1}",
    )


class _CachingTokenizer(DefaultTokenizer):
    """rouge_score's tokenizer, which keeps the tokens of every text."""

    def __init__(self) -> None:
        super().__init__(use_stemmer=True)
        self._tokens: dict[str, list[str]] = {}

    def tokenize(self, text: str) -> list[str]:
        if text not in self._tokens:
            self._tokens[text] = super().tokenize(text)
        return self._tokens[text]


def _with_cache() -> rouge_scorer.RougeScorer:
    return rouge_scorer.RougeScorer(list(ROUGE_TYPES), tokenizer=_CachingTokenizer())


def _rouge_score(texts: list[str], references: list[list[str]], scorer: rouge_scorer.RougeScorer) -> np.ndarray:
    """Precision, recall and F1: an array of rows x references x types x 3."""
    table = []
    for prediction, row in zip(texts, references, strict=True):
        scores = [scorer.score(reference, prediction) for reference in row]
        table.append([[[s[kind].precision, s[kind].recall, s[kind].fmeasure] for kind in ROUGE_TYPES] for s in scores])
    return np.asarray(table)


def _all_protocols(texts: list[str], references: list[list[str]]) -> None:
    config = ScoreConfig()
    counts = bootstrap_counts(len(texts), config.bootstrap_resamples, config.bootstrap_seed)
    for systems in score_under_all_protocols({"tuned": texts}, references).values():
        for means in systems.values():
            mean_and_interval(means, counts)


def _texts(source: str, predictions: str | None) -> tuple[list[str], list[list[str]]]:
    """Predictions and references of the test rows."""
    with TemporaryDirectory() as folder:
        out = Path(folder)
        spec = DownloadSpec(data=resolve_data(DataConfig(source=source)))
        download(spec, Context(out, out, Runtime(), NullListener()))
        references = [row["references"] for row in read_table(out / "test.parquet", DATASET)]
    if predictions is None:
        return [row[0] for row in references[1:] + references[:1]], references
    texts = user_path(predictions, "--predictions").read_text(encoding="utf-8").splitlines()
    if len(texts) != len(references):
        raise RequestError(
            f"--predictions: {len(texts)} lines, expected one for each of {len(references)} test dialogues"
        )
    return texts, references
