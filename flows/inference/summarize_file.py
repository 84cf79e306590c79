"""`summarize`: reads a table or a conversation, selects the model, and writes the summaries. Imports no Prefect."""

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
    open_conversations,
    read_conversation,
    refuse_losses,
    source_file,
    table_losses,
)
from flows.secrets_in_text import refuse_secrets
from tasks.summarization.message_table import MessageTable
from tasks.summarization.request import SelectedModel, SummarizeRequest
from tasks.summarization.summarize_table import summarize_table
from tasks.summarization.table_files import READERS, open_table
from tasks.transcripts.records import Loss
from tasks.workers.events import Events

MANY_CANDIDATES = 8
"""From this number of candidates per dialogue, the log suggests fewer."""


def summarize_file(request: SummarizeRequest, events: Events) -> dict[str, Any]:
    """Summarize a file, or standard input if the source is `-`.

    For a table, writes `out` (default: a new file beside it, INPUT.summaries.csv) and returns {"rows", "stops", "kept",
    "seconds", "out", "model", "losses"}. For one conversation, writes a file only if `out` names one, and returns
    {"summary", "tokens", "stop", "model", "out", "format", "losses"}. `losses` are sentences. Raises RequestError
    before a model is loaded if the request is wrong.
    """
    started = time.perf_counter()
    words = (request.source, request.adapter, request.column, request.prompt, request.out)
    refuse_secrets([word for word in words if word], "a parameter of summarize")
    check_format(request.format)
    file = source_file(request)
    if file is not None and file.suffix.lower() in READERS:
        table, column = open_conversations(file, request.column)
        target = _output_table(file, request.out)
        if isinstance(table, MessageTable):
            events.log(table.reason)
        losses = _log_losses(table_losses(table, column, request.format), request, events)
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
    text, conversation = read_conversation(file, request.format)
    losses = _log_losses(conversation.losses, request, events)
    written = None if request.out in (None, "-") else _writable(Path(str(request.out)))
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


def _log_losses(losses: tuple[Loss, ...], request: SummarizeRequest, events: Events) -> list[str]:
    """A sentence for each kind of loss, logged. RequestError if there are losses and `--strict` is given."""
    if request.strict:
        refuse_losses(losses, request.source)
    sentences = [loss.sentence for loss in losses]
    for sentence in sentences:
        events.log(sentence)
    return sentences


def result_line(result: dict[str, Any]) -> str:
    """A result of `summarize_file` in one line, for logs and terminal."""
    if "rows" not in result:
        return f"{result['tokens']} tokens, {result['stop']}, {result['model']}"
    stops = ", ".join(f"{count} {stop}" for stop, count in result["stops"].items())
    return f"{result['rows']} rows: {stops or 'none'}; {result['seconds']} s, {result['model']}"


def _select_model(request: SummarizeRequest, events: Events) -> SelectedModel:
    Store.current().check_writable()
    model = select_model(request.adapter, request.recipe, request.prompt, request.overrides)
    template, candidates = model.spec.template, model.spec.generate.candidates
    events.log(f'model {model.name}, prompt "{one_line(template, 100)}"')
    if model.remark:
        events.log(model.remark)
    if model.trained_template not in (None, template):
        events.log("the adapter was trained with another prompt: check the summaries before you use them")
    if candidates >= MANY_CANDIDATES:
        events.log(f"{candidates} candidates per dialogue; --set generate.candidates=1 is much faster")
    return model


def _output_table(file: Path, out: str | None) -> Path:
    """The file for the table with summaries. RequestError if its format differs from INPUT's or it is INPUT itself."""
    target = file.with_name(f"{file.stem}.summaries{file.suffix}") if out is None else user_path(out, "--out")
    if READERS.get(target.suffix.lower()) != READERS[file.suffix.lower()]:
        raise RequestError(f"--out: {target} must have the format of INPUT: give it the suffix {file.suffix}")
    if target.exists() and file.exists() and target.samefile(file):
        raise RequestError(f"--out: {target} is INPUT itself: give another name")
    return _writable(target)


def _writable(target: Path) -> Path:
    """`target` itself. RequestError if it is a folder or cannot be written."""
    if target.is_dir():
        raise RequestError(f"--out: {target} is a folder: give a file")
    probe = target.with_name(f".{target.name}.probe")
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise RequestError(f"--out: {target} cannot be written: {one_line(error.strerror or error, 100)}") from error
    return target
