"""`summarize`: what is in the file, whom to ask, where the answers go. Imports no Prefect; flows/inference/summarize_flow.py is its flow."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from artifacts.artifact_store import Store
from artifacts.errors import RequestError, StageError, one_line
from artifacts.user_paths import user_path
from flows.inference.model_selection import Asked, ask
from tasks.summarization.summarize_table import Summaries, summarize
from tasks.summarization.table_files import READERS, Table, open_table, pick_column
from tasks.summarization.transcripts import parse_conversation
from tasks.workers.events import Events

ONE = (".txt", ".md", ".vtt", ".srt", ".json", "")
"""Files with one conversation."""
SLOW = 8
"""So many candidates a dialogue are worth a word."""


def summarize_file(
    source: str, events: Events, column: str | None = None, adapter: str = "champion", prompt: str | None = None,
    out: str | None = None, recipe: str | None = None, overrides: Sequence[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """Summarize a file, or what is said on standard input for `-`.

    A table gives {"rows", "stops", "kept", "seconds", "out", "model"}, and is written to `out` (INPUT.summaries.csv unless
    given). One conversation gives {"summary", "tokens", "stop", "model", "out"}, and is written only where `out` says so.
    RequestError before a model is loaded if anything about the request is wrong.
    """
    started = time.perf_counter()
    file = None if source == "-" else user_path(source, "INPUT")
    if file is not None and file.suffix.lower() in READERS:
        table = open_table(file)
        column, written = pick_column(table, column), _target(file, out)
        asked = _ask(adapter, recipe, prompt, overrides, events)
        done = _run(asked, table, column, written, events)
        return done.model_dump(exclude={"seconds"}) | {
            "out": str(written), "model": asked.name, "seconds": round(time.perf_counter() - started, 1)
        }  # fmt: skip
    if column is not None:
        raise RequestError("--column belongs to a table; INPUT is one conversation")
    value = _conversation(file)
    if left_out := parse_conversation(value).left_out:
        events.log(f"left out, as nobody's words: {left_out}")
    target = None if out in (None, "-") else _place(Path(str(out)))
    asked = _ask(adapter, recipe, prompt, overrides, events)
    with TemporaryDirectory() as folder:
        one, answered = Path(folder) / "one.jsonl", Path(folder) / "answered.jsonl"
        one.write_text(json.dumps({"dialogue": value}) + "\n", encoding="utf-8")
        _run(asked, open_table(one), "dialogue", answered, events)
        answer: dict[str, Any] = json.loads(answered.read_text(encoding="utf-8"))
    if not answer["summary"] and answer["stop"].startswith("skipped"):
        raise StageError(f"not summarized: {answer['stop'].removeprefix('skipped: ')}")
    if target is not None:
        target.write_text(answer["summary"] + "\n", encoding="utf-8")
    return {name: answer[name] for name in ("summary", "tokens", "stop", "model")} | {"out": target and str(target)}


def in_words(done: dict[str, Any]) -> str:
    """One line for people."""
    if "rows" not in done:
        return f"{done['tokens']} tokens, {done['stop']}, {done['model']}"
    stops = ", ".join(f"{count} {stop}" for stop, count in done["stops"].items())
    return f"{done['rows']} rows: {stops or 'none'}; {done['seconds']} s, {done['model']}"


def _ask(adapter: str, recipe: str | None, prompt: str | None, overrides: Sequence[str], events: Events) -> Asked:
    Store.current().check_writable()
    asked = ask(adapter, recipe, prompt, overrides)
    events.log(f"asking {asked.name}: {one_line(asked.spec.template, 100)}")
    if asked.trained_under not in (None, asked.spec.template):
        events.log("this is another prompt than the adapter was trained under: look at the answers before you use them")
    if asked.spec.generate.candidates >= SLOW:
        events.log(
            f"{asked.spec.generate.candidates} candidates a dialogue; --set generate.candidates=1 is much faster"
        )
    return asked


def _run(asked: Asked, table: Table, column: str, target: Path, events: Events) -> Summaries:
    return summarize(asked.spec, table, column, target, asked.adapter, asked.name, asked.runtime, events)


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


def _conversation(file: Path | None) -> Any:
    """One conversation as its text, or the messages of a chat. RequestError if it cannot be read or nobody says anything."""
    if file is not None and file.suffix.lower() not in ONE:
        raise RequestError(
            f"{file}: expected one conversation ({', '.join(filter(None, ONE))}) or a table ({', '.join(READERS)})"
        )
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
            raise RequestError(f"{file} is no JSON ({one_line(error, 100)})") from error
        if not parse_conversation(text).text or parse_conversation(text).text == text.strip():
            raise RequestError(f"{file} holds no messages with a text; for many dialogues give JSON lines (.jsonl)")
    if not parse_conversation(text).text:
        raise RequestError(f"{file or 'standard input'} has no dialogue in it: nobody says anything")
    return text
