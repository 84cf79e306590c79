"""Batches of a judge: what is judged and saved together, so that a run that was killed resumes."""

from collections.abc import Sequence
from pathlib import Path

from artifacts.schemas import JUDGEMENTS
from tasks.decoding.part_files import read_parts, save_part
from tasks.judging.texts import JudgedText
from tasks.metrics.judgement import Judgement

BATCH = 32
"""Summaries that are judged and saved together."""


def batches(texts: Sequence[JudgedText]) -> list[list[JudgedText]]:
    """The texts in batches, of which neither the number of processes nor earlier runs change one."""
    return [list(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]


def save(judgements: Sequence[Judgement], folder: Path) -> None:
    """Write the judgements of one batch to a file of their own, completely or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    save_part([judgement.model_dump(mode="json") for judgement in judgements], folder, JUDGEMENTS)


def finished(folder: Path) -> dict[tuple[str, str], Judgement]:
    """Judgements of all finished batches, by the text that they are about."""
    if not folder.is_dir():
        return {}
    judgements = map(Judgement.model_validate, read_parts(folder, JUDGEMENTS))
    return {judgement.key: judgement for judgement in judgements}
