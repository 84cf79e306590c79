"""Every file of the corpus is read as a person reads it: by the reader, and by `dialogsum summarize --show`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from tasks.transcripts.conversation import parse_conversation
from tests.support.transcripts import CORPUS, corpus, difference, expectation, said

by_file = pytest.mark.parametrize("file", corpus(), ids=lambda file: str(file.relative_to(CORPUS)))


@by_file
def test_reader_finds_who_says_what(file: Path) -> None:
    """The folder is named after the format; losses are counted where the expectation counts them."""
    expected, conversation = expectation(file), parse_conversation(file.read_bytes().decode("utf-8-sig"))
    assert difference(expected, said(conversation)) is None
    assert conversation.format == file.parent.name
    if expected.losses is not None:
        assert {loss.kind.name: loss.count for loss in conversation.losses} == expected.losses


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(file, marks=[] if file == next(iter(files)) else pytest.mark.slow)
        for files in ([f for f in corpus() if f.parent == folder] for folder in sorted({f.parent for f in corpus()}))
        for file in files
    ],
    ids=lambda file: str(file.relative_to(CORPUS)),
)
def test_command_shows_who_says_what(file: Path) -> None:
    """`dialogsum summarize FILE --show --json`."""
    result = CliRunner().invoke(app, ["summarize", str(file), "--show", "--json"])
    assert result.exit_code == 0, result.output
    (conversation,) = json.loads(result.stdout)["conversations"]
    turns = [(turn["speaker"], turn["text"]) for turn in conversation["turns"]]
    lines = [(None, line) for line in conversation["text"].split("\n") if line.strip()]
    if conversation["format"] != "tagged":
        assert difference(expectation(file), turns or lines) is None


def test_every_expectation_has_its_file() -> None:
    expected = {file.name.removesuffix(".expected.json") for file in CORPUS.rglob("*.expected.json")}
    assert expected == {file.stem for file in corpus()}
