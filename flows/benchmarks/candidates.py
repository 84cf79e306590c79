"""bench candidates: ROUGE over seconds of minimum Bayes risk decoding with 4, 8, 16 and more candidates.

The stage sample draws the most candidates once, on the validation split, and the store keeps them. The choice among the
first n of them is what n candidates give.
"""

import sys
import time
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from artifacts.manifest import Manifest
from artifacts.schemas import CANDIDATES, DATASET, read_table
from flows import dag
from flows.adapter_lookup import find_adapter
from flows.benchmarks.children.our_stages import run_stage
from flows.benchmarks.greedy import rouge
from flows.dag import ResolvedRecipe
from flows.recipe import load_recipe
from tasks.config import DownloadSpec, FormatSpec, SampleSpec, TokenizerName
from tasks.download import DOWNLOAD
from tasks.format import FORMAT
from tasks.sample import SAMPLE
from tasks.workers.events import NullListener

COUNTS = (4, 8, 16, 32, 64, 128)
Row = dict[str, Any]


class LinesOnStandardError(NullListener):
    """Prints log lines, so that standard output has the table only."""

    def log(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


def bench_candidates(
    recipe: str, overrides: Sequence[str], adapter: str, counts: Sequence[int] = COUNTS
) -> tuple[list[Row], str]:
    """Sample for the recipe's validation split in the store, or reuse the samples. Returns a row per count, a remark.

    RequestError if a count is below 2 or above 1000, or if there is no such adapter.
    """
    if not counts or not all(2 <= count <= 1000 for count in counts):
        raise RequestError(
            f"--counts: got {','.join(map(str, counts))}; expected numbers from 2 to 1000, such as 4,8,16"
        )
    resolved = dag.resolve_recipe(load_recipe(recipe, overrides))
    manifest = find_adapter(adapter, resolved.model)
    if manifest is None:
        raise RequestError("--adapter none: candidates are sampled from an adapter; name one, or latest or champion")
    resolved = resolved.for_adapter(manifest)
    dataset = run_stage(resolved, DOWNLOAD, DownloadSpec(data=resolved.data))
    sampled = _sampled(resolved, dataset, manifest, max(counts))
    rows = read_table(Store.current().payload(sampled.path) / "candidates.parquet", CANDIDATES)
    by_id = {row["id"]: row["references"] for row in _validation(dataset)}
    seconds = sampled.provenance.measured.get("decoding_seconds")
    table = compare_counts(
        [row["candidates"] for row in rows],
        [by_id[row["id"]] for row in rows],
        sorted(counts),
        seconds,
        resolved.recipe.score.tokenizer,
    )
    device = sampled.provenance.measured.get("device", "unknown device")
    return table, (
        f"{manifest.id}, {len(rows)} validation dialogues, {device}; samples: {sampled.id}. Decoding seconds: those of "
        f"{max(counts)} samples in proportion; choosing seconds: measured here, in one process. ROUGE: F1 x 100, mean "
        "over references. One sample: mean of all samples."
    )


def compare_counts(
    candidates: Sequence[Sequence[str]],
    references: list[list[str]],
    counts: Sequence[int],
    decoding_seconds: float | None,
    tokenizer: TokenizerName,
) -> list[Row]:
    """A row for one sample, and one for the choice among the first n.

    candidates: of each dialogue, as many as the largest count. decoding_seconds: of all of them.
    """
    from tasks.decoding.minimum_bayes_risk import choose

    most = len(candidates[0])
    texts, choosing = {}, {}
    for count in counts:
        started = time.perf_counter()
        texts[str(count)] = [each[choose(each[:count], tokenizer)] for each in candidates]
        choosing[count] = time.perf_counter() - started
    singles = rouge({f"sample {i}": [each[i] for each in candidates] for i in range(most)}, references)
    scores = rouge(texts, references)
    mean_of_one = [fmean(column) for column in zip(*singles.values(), strict=True)]
    return [
        _row("one sample", mean_of_one, _share(decoding_seconds, 1 / most), 0.0),
        *(
            _row(f"best of {count}", scores[str(count)], _share(decoding_seconds, count / most), choosing[count])
            for count in counts
        ),
    ]


def _row(system: str, scores: Sequence[float], decoding: float | None, choosing: float) -> Row:
    figures = dict(zip(("ROUGE-1", "ROUGE-2", "ROUGE-L"), (round(score, 2) for score in scores), strict=True))
    seconds = {
        "decoding s": decoding,
        "choosing s": choosing,
        "seconds": None if decoding is None else decoding + choosing,
    }
    return {"system": system} | figures | {name: None if x is None else round(x, 2) for name, x in seconds.items()}


def _share(seconds: float | None, share: float) -> float | None:
    return None if seconds is None else seconds * share


def _sampled(resolved: ResolvedRecipe, dataset: Manifest, adapter: Manifest, count: int) -> Manifest:
    """The artifact with so many samples of each validation dialogue."""
    recipe = resolved.recipe
    template, overlap = resolved.evaluation_prompt, recipe.data.allow_overlap
    rows = run_stage(
        resolved, FORMAT, FormatSpec(rows="train", template=template, allow_overlap=overlap), dataset=dataset
    )
    generate = recipe.decoding.model_copy(update={"candidates": count, "beams": 1})
    spec = SampleSpec.model_validate(
        {"model": resolved.model, "turns": resolved.turns, "generate": generate, "split": "validation"}
        | {"rouge_tokenizer": recipe.score.tokenizer}
    )
    return run_stage(resolved, SAMPLE, spec, LinesOnStandardError(), rows=rows, adapter=adapter)


def _validation(dataset: Manifest) -> list[dict[str, Any]]:
    return read_table(Store.current().payload(dataset.path) / "validation.parquet", DATASET)
