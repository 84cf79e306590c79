"""Prompt templates: what is read from a file, what is refused, and how a dialogue fills them."""

from pathlib import Path

import pytest

from artifacts.errors import RequestError
from flows.recipe import PROMPTS
from tasks.models.prompt_template import fill, load_prompt


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"Summarize.", "contains {dialogue} 0 times"),
        (b"", "contains {dialogue} 0 times"),
        (b"{dialogue}\n{dialogue}", "contains {dialogue} 2 times"),
        (b"caf\xe9 {dialogue}", "UTF-8"),
        (b"---\nuse: '{dialogue}'\n---\nSummarize.", "contains {dialogue} 0 times"),
        (b"{ dialogue } {Dialogue}", "contains {dialogue} 0 times"),
    ],
)
def test_a_prompt_that_cannot_be_filled_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    """No place for the dialogue, two of them, or no text; the message names key and file."""
    file = tmp_path / "mine.txt"
    file.write_bytes(content)
    with pytest.raises(RequestError) as refusal:
        load_prompt(str(file), PROMPTS, "evaluation.prompt")
    message = str(refusal.value)
    assert message.startswith("evaluation.prompt: ")
    assert message.isprintable()
    assert expected in message
    assert str(file) in message


@pytest.mark.parametrize(
    ("name", "expected"), [("highligt", "'highlight'"), ("../prompts", "known"), ("\0", "cannot be a path")]
)
def test_an_unknown_prompt_is_answered_with_the_nearest(name: str, expected: str) -> None:
    """By name, or the list of them all."""
    with pytest.raises(RequestError, match=expected):
        load_prompt(name, PROMPTS)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_front_matter_and_outer_line_breaks_are_no_part_of_a_prompt(tmp_path: Path, end: str) -> None:
    """Whatever the editor's line ends; a rule inside the text stays."""
    lines = ["---", "purpose: {dialogue}", "---", "", "Summarize:", "---", "{dialogue}", "---", "Now.", ""]
    (tmp_path / "mine.txt").write_bytes(end.join(lines).encode())
    assert load_prompt(str(tmp_path / "mine.txt"), PROMPTS) == "Summarize:\n---\n{dialogue}\n---\nNow."


@pytest.mark.parametrize("dialogue", ["{dialogue}", "{0} {x!r} {{", "%s \\1 \\g<0> $&", "", "a\n\nb"])
def test_a_dialogue_is_pasted_as_it_is(dialogue: str) -> None:
    """Braces, percent signs and backslashes in it fill nothing."""
    assert fill("Before {dialogue} after {name}", dialogue) == "Before " + dialogue + " after {name}"
