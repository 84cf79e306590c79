"""format: dataset and prompt template -> prompts, with completions (train) or without (eval).

Reads   dataset
Writes  train: train.parquet and validation.parquet (id, prompt, completion), one row a reference
        eval:  test.parquet (id, prompt), one row a dialogue
Rerun   dialogsum run RECIPE --refresh format
"""

from typing import Any

from artifacts.errors import RequestError
from artifacts.schemas import DATASET, FORMATTED_EVAL, FORMATTED_TRAIN, read_table, write_table
from tasks.config import FormatSpec
from tasks.prompt import fill
from tasks.stage import Artifact, Context, Done, Stage

MOST_SHARED = 0.01
"""Share of the test dialogues that may stand in train as well: told, not refused. DialogSum itself has one of 500."""


def format_prompts(spec: FormatSpec, context: Context, dataset: Artifact) -> Done:
    """Fill the template for every dialogue. RequestError if train and test share dialogues and that was not allowed."""

    def split(name: str) -> list[dict[str, Any]]:
        return read_table(dataset.payload / f"{name}.parquet", DATASET)

    test = split("test")
    if spec.rows == "eval":
        rows = [{"id": row["id"], "prompt": fill(spec.template, row["dialogue"])} for row in test]
        write_table(rows, FORMATTED_EVAL, context.out / "test.parquet")
        return Done(rows=len(rows))
    train = split("train")
    shared = {_normal(row["dialogue"]) for row in train} & {_normal(row["dialogue"]) for row in test}
    if len(shared) > MOST_SHARED * len(test) and not spec.allow_overlap:
        example = next(row["id"] for row in test if _normal(row["dialogue"]) in shared)
        raise RequestError(
            f"{len(shared)} of {len(test)} test dialogues stand in train too (one is {example!r}), which would inflate every "
            f"score: remove them, or accept it with --set data.allow_overlap=true"
        )
    for name, source in (("train", train), ("validation", split("validation"))):
        rows = [
            {"id": row["id"], "prompt": fill(spec.template, row["dialogue"]), "completion": reference}
            for row in source
            for reference in row["references"]
        ]
        write_table(rows, FORMATTED_TRAIN, context.out / f"{name}.parquet")
        if name == "train":
            count = len(rows)
    return Done(rows=count, facts={"rows": count, "in_train_and_test": len(shared)})


def _normal(dialogue: str) -> str:
    """Case and spacing do not make another dialogue."""
    return " ".join(dialogue.lower().split())


FORMAT = Stage(
    name="format", version=1, function=format_prompts, spec=FormatSpec, label=lambda spec: spec.rows,
)  # fmt: skip
