"""The sampling process: candidates for its shard of the batches, with their agreement.

python -m tasks.sampling.worker CONFIG.json        (tasks/sample.py writes CONFIG.json)
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from artifacts.schemas import CANDIDATES
from tasks.config import TokenizerName
from tasks.decoding.batching import Row
from tasks.decoding.engine import Engine, Output
from tasks.decoding.minimum_bayes_risk import agreement
from tasks.decoding.shard import decode_shard
from tasks.decoding.worker_records import Measurements, SamplingWorkerConfig
from tasks.sampling.dialogues import sampled_dialogues
from tasks.workers.events import Events
from tasks.workers.worker_main import worker_main


def run(config: SamplingWorkerConfig, events: Events) -> Measurements:
    """Sample for the dialogues of the shard's batches that are not finished yet."""
    spec, dialogues = config.spec, sampled_dialogues(config.spec, config.rows)

    def sample(engine: Engine, batch: list[Row]) -> list[dict[str, Any]]:
        return engine.sample(
            batch, lambda name, outputs: candidates_row(name, outputs, dialogues.references[name], spec.rouge_tokenizer)
        )

    return decode_shard(config, spec, dialogues.rows, CANDIDATES, sample, events)


def candidates_row(
    name: str, candidates: Sequence[Output], references: Sequence[str], tokenizer: TokenizerName
) -> dict[str, Any]:
    """A row of artifacts.schemas.CANDIDATES. At least two candidates, at least one reference."""
    texts, count = [candidate.text for candidate in candidates], len(candidates)
    scores = agreement([*texts, *references], tokenizer)
    others = scores[:count, :count].copy()
    np.fill_diagonal(others, 0.0)
    return {
        "id": name,
        "candidates": texts,
        "finished": [candidate.finished for candidate in candidates],
        "agreement": (others.sum(1) / (count - 1)).tolist(),
        "reference_agreement": scores[:count, count:].mean(1).tolist(),
    }


def main() -> None:
    """Run as a worker process."""
    worker_main(run, SamplingWorkerConfig)


if __name__ == "__main__":
    main()
