"""format: dataset and prompt template -> prompts, with completions (train) or without (eval).

Reads   dataset
Writes  train: train.parquet and validation.parquet (id, prompt, completion), one row per reference
        eval, validation: prompts.parquet (id, prompt), one row per dialogue of the test or the validation split
Rerun   dialogsum run RECIPE --refresh format
"""

from collections.abc import Iterator
from typing import Any

from artifacts.errors import RequestError
from artifacts.schemas import DATASET, FORMATTED_EVAL, FORMATTED_TRAIN, rows_of, write_table
from tasks.config import FormatSpec
from tasks.execution.stage import Artifact, Context, Stage, StageResult
from tasks.models.prompt_template import fill

MAX_OVERLAP = 0.01
"""Share of the test dialogues that may also be in train: reported, not refused. DialogSum itself has one of 500."""


def format_prompts(spec: FormatSpec, context: Context, dataset: Artifact) -> StageResult:
    """Fill the template for every dialogue. RequestError if train and test share dialogues, unless that is allowed."""

    def split(name: str) -> Iterator[dict[str, Any]]:
        return rows_of(dataset.payload / f"{name}.parquet", DATASET)

    if spec.rows != "train":
        rows = split("test" if spec.rows == "eval" else "validation")
        prompts = ({"id": row["id"], "prompt": fill(spec.template, row["dialogue"])} for row in rows)
        return StageResult(rows=write_table(prompts, FORMATTED_EVAL, context.out / "prompts.parquet"))
    test = [(row["id"], _normalized(row["dialogue"])) for row in split("test")]
    held_out = {dialogue for _, dialogue in test}
    shared = {dialogue for row in split("train") if (dialogue := _normalized(row["dialogue"])) in held_out}
    if len(shared) > MAX_OVERLAP * len(test) and not spec.allow_overlap:
        example = next(name for name, dialogue in test if dialogue in shared)
        raise RequestError(
            f"{len(shared)} of {len(test)} test dialogues are also in train (such as {example!r}), which would inflate "
            f"every score: remove them, or accept this with --set data.allow_overlap=true"
        )
    counts = {}
    for name in ("train", "validation"):
        completed = (
            {"id": row["id"], "prompt": fill(spec.template, row["dialogue"]), "completion": reference}
            for row in split(name)
            for reference in row["references"]
        )
        counts[name] = write_table(completed, FORMATTED_TRAIN, context.out / f"{name}.parquet")
    return StageResult(rows=counts["train"], facts={"rows": counts["train"], "in_train_and_test": len(shared)})


def _normalized(dialogue: str) -> str:
    """A dialogue without differences of case and spacing."""
    return " ".join(dialogue.lower().split())


FORMAT = Stage(name="format", version=1, function=format_prompts, spec=FormatSpec, label=lambda spec: spec.rows)
