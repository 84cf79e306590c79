"""The dialogues for which candidates are sampled, with their references."""

from pathlib import Path
from typing import NamedTuple

from artifacts.schemas import FORMATTED_TRAIN, read_table
from tasks.config import SampleSpec
from tasks.models.formatted_rows import in_fold, select_rows


class SampledDialogues(NamedTuple):
    """The dialogues of some formatted rows, in the order of the rows."""

    rows: list[dict[str, str]]
    """Id and prompt of each dialogue (artifacts.schemas.FORMATTED_EVAL)."""
    references: dict[str, list[str]]
    """Id -> references."""


def sampled_dialogues(spec: SampleSpec, folder: Path) -> SampledDialogues:
    """Those of the split that the spec selects. `folder`: with train.parquet and validation.parquet (format, train)."""
    selected = select_rows(
        read_table(folder / f"{spec.split}.parquet", FORMATTED_TRAIN), spec.stride, spec.generate.limit
    )
    chosen = in_fold(selected, spec.fold) if spec.fold else [True] * len(selected)
    prompts: dict[str, str] = {}
    references: dict[str, list[str]] = {}
    for row, is_chosen in zip(selected, chosen, strict=True):
        if is_chosen:
            prompts[row["id"]] = row["prompt"]
            references.setdefault(row["id"], []).append(row["completion"])
    return SampledDialogues([{"id": name, "prompt": prompt} for name, prompt in prompts.items()], references)
