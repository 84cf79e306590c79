"""Every format of the table: its example is read; `--format` overrules; losses are said, or refused."""

import html
import json
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pytest
import webvtt
from hypothesis import given, settings
from typer.testing import CliRunner, Result

from artifacts.errors import RequestError
from flows.cli.main import app
from flows.inference.summarize_file import summarize_file
from tasks.summarization.request import SummarizeRequest
from tasks.transcripts.characters import one_spelling
from tasks.transcripts.conversation import parse_conversation
from tasks.transcripts.formats import FORMATS
from tasks.workers.events import NullListener
from tests.support.transcript_writers import WRITERS, Talk, talks
from tests.support.transcripts import CORPUS, clean

EXAMPLE_TURNS = [("Ann", "Are we late?"), ("Bob", "No.")]
PROGRAMS_NAMES = {
    "pyannote": {"SPEAKER_00": "Ann", "SPEAKER_01": "Bob"},
    "parentheses": {"speaker 0": "Ann", "speaker 1": "Bob"},
    "chatgpt": {"user": "Ann", "assistant": "Bob"},
    "claude": {"human": "Ann", "assistant": "Bob"},
}
"""Speakers of formats that do not name people."""
CHAT = "[12.03.24, 18:05:40] Ann: Hi\n[12.03.24, 18:06:02] Bob: \u200eimage omitted\n[12.03.24, 18:06:03] Bob: Ho\n"
by_format = pytest.mark.parametrize("form", FORMATS, ids=[form.name for form in FORMATS])


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["summarize", *arguments])


@by_format
def test_example_of_the_table_is_detected_and_read(form) -> None:
    """The table of the documentation has these examples; the reason is a sentence about this file."""
    conversation = parse_conversation(form.example)
    names = PROGRAMS_NAMES.get(form.name, {})
    assert [(names.get(t.speaker, t.speaker), t.text) for t in conversation.turns] == EXAMPLE_TURNS
    assert conversation.format == form.name
    assert any(character.isdigit() for character in conversation.reason)


@by_format
def test_format_that_the_user_names_is_the_one_that_reads(form) -> None:
    """Also where nothing of it is there: then the conversation is empty, not guessed."""
    assert parse_conversation(form.example, form.name).format == form.name
    assert parse_conversation("nothing of the kind", form.name).text == ""


def test_every_format_has_a_folder_of_the_corpus() -> None:
    assert {form.name for form in FORMATS} <= {folder.name for folder in CORPUS.iterdir()}


def test_show_prints_format_reason_turns_and_losses_without_a_model(tmp_path: Path) -> None:
    """Losses on standard error, one line a kind."""
    (tmp_path / "chat.txt").write_text(CHAT, encoding="utf-8")
    result = invoke(str(tmp_path / "chat.txt"), "--show")
    assert result.stdout.split("\n") == [
        "whatsapp: 3 of 3 messages begin with a date, a time and a sender",
        "  Ann: Hi",
        "  Bob: Ho",
        "",
    ]
    assert result.stderr == "1 media placeholder left out\n"


def test_show_of_a_table_prints_its_first_rows_and_all_losses(tmp_path: Path) -> None:
    rows = [{"dialogue": "Ann: Hi\nBob: Ho"}, *[{"dialogue": CHAT}] * 4]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = invoke(str(tmp_path / "rows.jsonl"), "--show")
    assert [line.split(":")[0] for line in result.stdout.split("\n") if line.startswith("row")] == [
        "row 1 of 5",
        "row 2 of 5",
        "row 3 of 5",
    ]
    assert result.stderr == "4 media placeholders left out\n"


def test_format_option_overrules_what_is_detected(tmp_path: Path) -> None:
    (tmp_path / "chat.txt").write_text(CHAT, encoding="utf-8")
    shown = json.loads(invoke(str(tmp_path / "chat.txt"), "--show", "--json", "--format", "plain").stdout)
    assert shown["conversations"][0]["format"] == "plain"
    assert shown["conversations"][0]["text"] == CHAT.strip()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--strict"], "1 media placeholder left out: --strict allows no loss"),
        (["--format", "pidgin"], "--format: pidgin is unknown; expected webvtt, srt"),
        (["--format", "ttml"], "nothing in it has the format ttml: leave out --format"),
    ],
)
def test_wrong_request_is_refused_in_one_line_with_show_and_without(
    tmp_path: Path, options: list[str], message: str
) -> None:
    """Before any model is looked for."""
    (tmp_path / "chat.txt").write_text(CHAT, encoding="utf-8")
    request = {"source": str(tmp_path / "chat.txt"), "strict": "--strict" in options}
    request["format"] = options[1] if options[0] == "--format" else None
    with pytest.raises(RequestError, match=message.split(":")[-1]):
        summarize_file(SummarizeRequest.model_validate(request), NullListener())
    result = invoke(str(tmp_path / "chat.txt"), "--show", *options)
    assert result.exit_code != 0
    assert message in str(result.exception)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(talks(several_lines=True))
def test_cues_of_well_formed_webvtt_are_those_of_webvtt_py(talk: Talk) -> None:
    """An independent reader finds the same voices and words."""
    text = WRITERS["WebVTT"].write(talk)
    cues = [(one_spelling(cue.voice), clean(html.unescape(cue.text))) for cue in webvtt.from_string(text).captions]
    merged = [(name, " ".join(words for _, words in said)) for name, said in groupby(cues, key=itemgetter(0))]
    assert [(turn.speaker, turn.text) for turn in parse_conversation(text).turns] == merged
