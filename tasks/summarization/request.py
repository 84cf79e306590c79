"""What a user asks to be summarized, and the model that was selected for it."""

from dataclasses import dataclass
from pathlib import Path

from artifacts.record import Record
from tasks.config import Runtime, SummarizeSpec


class SummarizeRequest(Record):
    """The options of `dialogsum summarize`, and the form of its deployment."""

    source: str
    """A table (CSV, TSV, JSON lines, Parquet), one conversation, or `-` for standard input."""
    column: str | None = None
    """Column that holds the dialogues; usually detected."""
    adapter: str = "champion"
    """`champion`, `latest`, an artifact id, `none` for the base model, a folder or a hub id."""
    prompt: str | None = None
    """Name or file of a prompt; default: the adapter's."""
    out: str | None = None
    """File to write."""
    recipe: str | None = None
    """Recipe whose base model to use; default: the adapter's."""
    format: str | None = None
    """Format of the dialogues, a name of tasks/transcripts/formats.py; default: detected."""
    strict: bool = False
    """Refuse an input of which anything is left out, joined, moved or guessed."""
    overrides: tuple[str, ...] = ()
    """Settings that override the recipe, each `section.key=value`."""


@dataclass(frozen=True)
class SelectedModel:
    """A base model with an adapter or none, its prompt and its decoding."""

    spec: SummarizeSpec
    adapter: Path | None
    """Folder with adapter_config.json and adapter_model.safetensors; None for the base model alone."""
    name: str
    """Value of the output column `model`: `smollm2-135m-instruct train-1a2b3c4d`."""
    runtime: Runtime
    trained_template: str | None = None
    """Prompt template that the adapter was trained with, if known."""
    remark: str = ""
    """What a user should know about the selection, in one sentence."""
