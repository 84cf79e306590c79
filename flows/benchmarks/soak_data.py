"""Data and model of `bench soak`: dialogues of the sample that become more each week, and a tiny random model."""

import csv
from pathlib import Path

from artifacts.errors import RequestError
from flows.benchmarks.child_process import ChildFailedError, run_child
from flows.benchmarks.children.random_model import random_model
from tasks.sources.resolve import SAMPLE, SPLITS

MOST_WEEKS = 120
"""The sample has no more training dialogues."""
TURNS = 3
"""Of each dialogue, so that a run is short."""
REFERENCES = 3
"""Consecutive rows of the test split with the same dialogue."""
SETTINGS = (
    "model.turns=chatml",
    "train.max_steps=8",
    "train.batch_size=4",
    "train.max_length=256",
    "train.lora.rank=4",
    "train.evaluations=1",
    "train.learning_rate=0.05",
    "generate.max_new_tokens=16",
    "probe.dialogues=0",
    "score.bootstrap_resamples=200",
    "gate.probability=0.51",
    "gate.least_rows=1",
    "gate.length_ratio=[0, 1000]",
    "gate.most_at_limit=1",
    "gate.most_empty=1",
    "gate.most_speaker_errors=1",
    "gate.most_number_errors=1",
    "runtime.device=cpu",
    "runtime.threads=1",
)
"""Overrides of a recipe: short runs, and a gate that lets chance decide, since a random model learns nothing."""


def make_model(folder: Path, timeout: float) -> Path:
    """A folder with a tiny random model and a tokenizer that is trained on the sample. RequestError if that fails."""
    texts = [row["dialogue"] + row["summary"] for row in _rows("train")]
    try:
        run_child(
            "children.small_tokenizer", {"texts": texts, "to": str(folder / "tokenizer")}, folder / "log", timeout
        )
    except ChildFailedError as failure:
        raise RequestError(f"the tokenizer could not be made: {failure}") from failure
    return random_model("tiny", folder / "tokenizer", folder, timeout)


def write_data(folder: Path, week: int) -> None:
    """Write the data of a week, counted from 1: a training dialogue more each week, a test dialogue each fourth."""
    counts = {"train": 11 + week, "validation": 4, "test": (4 + week // 4) * REFERENCES}
    for split in SPLITS:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["id", "dialogue", "summary", "topic"], lineterminator="\n")
            writer.writeheader()
            for row in _rows(split)[: counts[split]]:
                writer.writerow(row | {"dialogue": "\n".join(row["dialogue"].split("\n")[:TURNS])})


def _rows(split: str) -> list[dict[str, str]]:
    with (SAMPLE / f"{split}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
