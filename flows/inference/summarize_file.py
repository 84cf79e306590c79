"""`summarize`: reads a table or a conversation, selects the model, and writes the summaries. Imports no Prefect."""

import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from artifacts.artifact_store import Store
from artifacts.errors import RequestError, StageError
from artifacts.text import one_line
from artifacts.user_paths import user_path
from flows.inference.model_selection import select_model
from tasks.summarization.request import SelectedModel, SummarizeRequest
from tasks.summarization.summarize_table import summarize_table
from tasks.summarization.table_files import READERS, open_table, pick_column
from tasks.summarization.transcripts import parse_conversation
from tasks.workers.events import Events

CONVERSATION_SUFFIXES = (".txt", ".md", ".vtt", ".srt", ".json", "")
"""Suffixes of files with one conversation."""
MANY_CANDIDATES = 8
"""From this number of candidates per dialogue, the log suggests fewer."""


def summarize_file(request: SummarizeRequest, events: Events) -> dict[str, Any]:
    """Summarize a file, or standard input if the source is `-`.

    For a table, writes `out` (default: a new file beside it, INPUT.summaries.csv) and returns {"rows", "stops", "kept",
    "seconds", "out", "model"}. For one conversation, writes a file only if `out` names one, and returns {"summary",
    "tokens", "stop", "model", "out"}. Raises RequestError before a model is loaded if the request is wrong.
    """
    started = time.perf_counter()
    file = None if request.source == "-" else user_path(request.source, "INPUT")
    if file is not None and file.suffix.lower() in READERS:
        table = open_table(file)
        column, target = pick_column(table, request.column), _output_table(file, request.out)
        model = _select_model(request, events)
        result = summarize_table(model, table, column, target, events)
        return result.model_dump(exclude={"seconds"}, by_alias=True) | {
            "out": str(target),
            "model": model.name,
            "seconds": round(time.perf_counter() - started, 1),
        }
    if request.column is not None:
        raise RequestError("--column is only for tables; INPUT is one conversation")
    conversation = _conversation(file)
    if left_out := parse_conversation(conversation).left_out:
        events.log(f"left out {left_out}")
    written = None if request.out in (None, "-") else _writable(Path(str(request.out)))
    model = _select_model(request, events)
    with TemporaryDirectory() as folder:
        source, output = Path(folder) / "source.jsonl", Path(folder) / "output.jsonl"
        source.write_text(json.dumps({"dialogue": conversation}) + "\n", encoding="utf-8")
        summarize_table(model, open_table(source), "dialogue", output, events)
        row: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    if not row["summary"] and row["stop"].startswith("skipped"):
        raise StageError(f"not summarized: {row['stop'].removeprefix('skipped: ')}")
    if written is not None:
        written.write_text(row["summary"] + "\n", encoding="utf-8")
    return {name: row[name] for name in ("summary", "tokens", "stop", "model")} | {"out": written and str(written)}


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


def _conversation(file: Path | None) -> Any:
    """The text of one conversation, which may be the JSON of a chat. RequestError if it is unreadable or empty."""
    if file is not None and file.suffix.lower() not in CONVERSATION_SUFFIXES:
        conversations, tables = ", ".join(filter(None, CONVERSATION_SUFFIXES)), ", ".join(READERS)
        raise RequestError(f"{file}: expected one conversation ({conversations}) or a table ({tables})")
    try:
        text = (sys.stdin.buffer.read() if file is None else file.read_bytes()).decode("utf-8-sig")
    except OSError as error:
        raise RequestError(f"{file} cannot be read: {one_line(error.strerror or error, 120)}") from error
    except UnicodeDecodeError as error:
        raise RequestError(
            f"{file or 'standard input'} is not UTF-8 ({one_line(error, 80)}): save it as UTF-8"
        ) from error
    if file is not None and file.suffix.lower() == ".json":
        try:
            json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RequestError(f"{file} is not valid JSON ({one_line(error, 100)})") from error
        if not parse_conversation(text).text or parse_conversation(text).text == text.strip():
            raise RequestError(f"{file} contains no messages with text; for many dialogues, use JSON lines (.jsonl)")
    if not parse_conversation(text).text:
        raise RequestError(f"{file or 'standard input'} contains no dialogue: nobody says anything in it")
    return text
