"""`summarize`: what is in the file, whom to ask, where the answers go. Imports no Prefect; flows/inference/summarize_flow.py is its flow."""

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from artifacts.artifact_store import Store
from artifacts.errors import RequestError, StageError
from artifacts.text import one_line
from artifacts.user_paths import user_path
from flows.inference.model_selection import select_model
from flows.inference.transcript_input import (
    check_format,
    read_conversation,
    refuse_losses,
    source_file,
    table_losses,
)
from tasks.summarization.request import SelectedModel, SummarizeRequest
from tasks.summarization.summarize_table import summarize_table
from tasks.summarization.table_files import READERS, open_table, pick_column
from tasks.transcripts.conversation import parse_conversation
from tasks.transcripts.records import Loss
from tasks.workers.events import Events

SLOW = 8
"""So many candidates a dialogue are worth a word."""


def summarize_file(request: SummarizeRequest, events: Events) -> dict[str, Any]:
    """Summarize a file, or standard input if the source is `-`.

    A table gives {"rows", "stops", "kept", "seconds", "out", "model"} and is written to `out` (default: a new file beside
    it, INPUT.summaries.csv). One conversation gives {"summary", "tokens", "stop", "model", "out"} and is written only if
    `out` names a file; "format" is that of its input. "losses" are sentences. RequestError before a model is loaded if anything about the request is wrong.
    """
    started = time.perf_counter()
    check_format(request.format)
    file = source_file(request)
    if file is not None and file.suffix.lower() in READERS:
        table = open_table(file)
        column, target = pick_column(table, request.column), _target(file, request.out)
        losses = _said_losses(table_losses(table.values(column), request.format), request, events)
        model = _select_model(request, events)
        result = summarize_table(model, table, column, target, events, request.format)
        return result.model_dump(exclude={"seconds"}, by_alias=True) | {
            "out": str(target),
            "model": model.name,
            "losses": losses,
            "seconds": round(time.perf_counter() - started, 1),
        }
    if request.column is not None:
        raise RequestError("--column is only for tables; INPUT is one conversation")
    text = read_conversation(file, request.format)
    conversation = parse_conversation(text, request.format)
    losses = _said_losses(conversation.losses, request, events)
    written = None if request.out in (None, "-") else _place(Path(str(request.out)))
    model = _select_model(request, events)
    with TemporaryDirectory() as folder:
        source, output = Path(folder) / "source.jsonl", Path(folder) / "output.jsonl"
        source.write_text(json.dumps({"dialogue": text}) + "\n", encoding="utf-8")
        summarize_table(model, open_table(source), "dialogue", output, events, request.format)
        row: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    if not row["summary"] and row["stop"].startswith("skipped"):
        raise StageError(f"not summarized: {row['stop'].removeprefix('skipped: ')}")
    if written is not None:
        written.write_text(row["summary"] + "\n", encoding="utf-8")
    return {name: row[name] for name in ("summary", "tokens", "stop", "model")} | {
        "out": written and str(written),
        "format": conversation.format,
        "losses": losses,
    }


def _said_losses(losses: tuple[Loss, ...], request: SummarizeRequest, events: Events) -> list[str]:
    """A sentence for each kind of loss, logged. RequestError if there are losses and `--strict` is given."""
    if request.strict:
        refuse_losses(losses, request.source)
    sentences = [loss.sentence for loss in losses]
    for sentence in sentences:
        events.log(sentence)
    return sentences


def in_words(done: dict[str, Any]) -> str:
    """One line for people."""
    if "rows" not in done:
        return f"{done['tokens']} tokens, {done['stop']}, {done['model']}"
    stops = ", ".join(f"{count} {stop}" for stop, count in done["stops"].items())
    return f"{done['rows']} rows: {stops or 'none'}; {done['seconds']} s, {done['model']}"


def _select_model(request: SummarizeRequest, events: Events) -> SelectedModel:
    Store.current().check_writable()
    model = select_model(request.adapter, request.recipe, request.prompt, request.overrides)
    template, candidates = model.spec.template, model.spec.generate.candidates
    events.log(f'model {model.name}, prompt "{one_line(template, 100)}"')
    if model.trained_template not in (None, template):
        events.log("the adapter was trained with another prompt: check the summaries before you use them")
    if candidates >= SLOW:
        events.log(f"{candidates} candidates per dialogue; --set generate.candidates=1 is much faster")
    return model


def _target(file: Path, out: str | None) -> Path:
    """Where the table with summaries goes: of the same format, and not the input itself."""
    target = file.with_name(f"{file.stem}.summaries{file.suffix}") if out is None else user_path(out, "--out")
    if READERS.get(target.suffix.lower()) != READERS[file.suffix.lower()]:
        raise RequestError(f"--out: {target} is to have the format of INPUT: give it the suffix {file.suffix}")
    if target.exists() and file.exists() and target.samefile(file):
        raise RequestError(f"--out: {target} is INPUT itself: give another name")
    return _place(target)


def _place(target: Path) -> Path:
    """`target`, whose folder is there and can be written to."""
    if target.is_dir():
        raise RequestError(f"--out: {target} is a folder: give a file")
    probe = target.with_name(f".{target.name}.probe")
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise RequestError(f"--out: {target} cannot be written: {one_line(error.strerror or error, 100)}") from error
    return target
