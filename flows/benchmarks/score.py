"""bench score: our scorer beside rouge_score's own loop, on the same texts, in one run."""

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
    """Time each way `repeats` times over a dataset's test split; returns the table, fastest run of each, and a remark.

    predictions: a text file, one line a dialogue; without it, each dialogue's first reference is scored against the
    references of the dialogue after it, so that words and lengths are those of summaries.
    """
    references, said = _texts(source, predictions)
    ways: dict[str, Callable[[], Any]] = {
        "rouge_score, its own loop": lambda: _loop(said, references, rouge_scorer.RougeScorer(list(ROUGE_TYPES), use_stemmer=True)),
        "rouge_score, stems remembered": lambda: _loop(said, references, rouge_scorer.RougeScorer(list(ROUGE_TYPES), tokenizer=_Remembering())),
        "ours, the same protocol": lambda: score_rows(said, references, Scorer(True)),
        f"ours, {len(PROTOCOLS)} protocols with human ceiling, {ScoreConfig().bootstrap_resamples:,} resamples": lambda: _everything(said, references),
    }  # fmt: skip
    rows, results = [], []
    for name, way in ways.items():
        times = []
        for _ in range(repeats):
            started = time.perf_counter()
            result = way()
            times.append(time.perf_counter() - started)
        results.append(result)
        rows.append({"what": name, "seconds": round(min(times), 3), "slowest": round(max(times), 3)})
    same = bool((results[0] == results[2]).all() and (results[0] == results[1]).all())
    shape = f"{len(said)} predictions x {len(references[0])} references, {os.cpu_count()} cores, best of {repeats}"
    f1 = " / ".join(f"{100 * value:.2f}" for value in results[2][..., 2].mean(axis=(0, 1)))
    return (
        rows,
        f"{shape}; figures {'identical to the last digit' if same else 'DIFFER'}: {' / '.join(ROUGE_TYPES)} {f1}",
    )


class _Remembering(DefaultTokenizer):
    """rouge_score's tokenizer with its texts remembered."""

    def __init__(self) -> None:
        super().__init__(use_stemmer=True)
        self._known: dict[str, list[str]] = {}

    def tokenize(self, text: str) -> list[str]:
        if text not in self._known:
            self._known[text] = super().tokenize(text)
        return self._known[text]


def _loop(said: list[str], references: list[list[str]], scorer: rouge_scorer.RougeScorer) -> np.ndarray:
    table = []
    for prediction, wanted in zip(said, references, strict=True):
        found = [scorer.score(reference, prediction) for reference in wanted]
        table.append([[[f[kind].precision, f[kind].recall, f[kind].fmeasure] for kind in ROUGE_TYPES] for f in found])
    return np.asarray(table)


def _everything(said: list[str], references: list[list[str]]) -> None:
    config = ScoreConfig()
    counts = bootstrap_counts(len(said), config.bootstrap_resamples, config.bootstrap_seed)
    for systems in score_under_all_protocols({"tuned": said}, references).values():
        for means in systems.values():
            mean_and_interval(means, counts)


def _texts(source: str, predictions: str | None) -> tuple[list[list[str]], list[str]]:
    with TemporaryDirectory() as folder:
        out = Path(folder)
        spec = DownloadSpec(data=resolve_data(DataConfig(source=source)))
        download(spec, Context(out, out, Runtime(), NullListener()))
        references = [row["references"] for row in read_table(out / "test.parquet", DATASET)]
    if predictions is None:
        return references, [row[0] for row in references[1:] + references[:1]]
    said = user_path(predictions, "--predictions").read_text(encoding="utf-8").splitlines()
    if len(said) != len(references):
        raise RequestError(
            f"--predictions: {len(said)} lines, expected one for each of {len(references)} test dialogues"
        )
    return references, said
