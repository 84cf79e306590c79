"""One conversation, written in every format, is read as the same turns; a damaged line costs at most itself."""

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tasks.transcripts.characters import one_spelling
from tasks.transcripts.conversation import Conversation, parse_conversation
from tests.support.transcript_writers import WRITERS, Message, Talk, talks

FAST, MANY = 12, 700
"""Examples of each format; 32 formats by 700 are 22,400 in `make test-all`."""
by_format = pytest.mark.parametrize("name", WRITERS)
BY_LINE = [name for name, writer in WRITERS.items() if not writer.several_lines]
by_line_format = pytest.mark.parametrize("name", [*BY_LINE, "WhatsApp, iPhone", "WhatsApp, Android"])
PHASES = (Phase.explicit, Phase.generate)
quiet: Any = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "phases": PHASES,
    "suppress_health_check": list(HealthCheck),
}


def joined(turns: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Turns of one speaker after another as one."""
    found: list[tuple[str, str]] = []
    for name, words in turns:
        if found and found[-1][0] == name:
            found[-1] = name, f"{found[-1][1]} {words}"
        else:
            found.append((name, words))
    return found


def expected(talk: Talk) -> list[tuple[str, str]]:
    return joined([(one_spelling(message.name), message.words) for message in talk])


def check(name: str, talk: Talk) -> None:
    text = WRITERS[name].write(talk)
    conversation = parse_conversation(text)
    assert joined([(str(turn.speaker), turn.text) for turn in conversation.turns]) == expected(talk), text


@by_format
@settings(max_examples=FAST, **quiet)
@given(data=st.data())
def test_a_written_conversation_is_read_as_it_was(name: str, data: st.DataObject) -> None:
    """Names of fourteen scripts, emoji, marks, several lines, the same words twice, out of order."""
    check(name, data.draw(talks(WRITERS[name].several_lines)))


@pytest.mark.slow
@by_format
@settings(max_examples=MANY, **quiet)
@given(data=st.data())
def test_thousands_of_written_conversations_are_read_as_they_were(name: str, data: st.DataObject) -> None:
    check(name, data.draw(talks(WRITERS[name].several_lines)))


@by_line_format
@settings(max_examples=20, **quiet)
@given(data=st.data())
def test_a_damaged_line_costs_at_most_itself(name: str, data: st.DataObject) -> None:
    """Deleted or doubled, it is missing or there twice; broken, it is nobody's or said to be joined."""
    talk = data.draw(talks(several_lines=False))
    talk = talk + talk  # every speaker several times, so that the format is certain
    number = data.draw(st.integers(1, len(talk) - 1))
    write = WRITERS[name].write
    lines = [write(talk).split("\n")[n] for n in range(len(write(talk).split("\n"))) if write(talk).split("\n")[n]]
    assert len(lines) == len(talk)
    deleted = parse_conversation("\n".join(lines[:number] + lines[number + 1 :]))
    assert said(deleted) == expected(talk[:number] + talk[number + 1 :])
    doubled = parse_conversation("\n".join([*lines[: number + 1], *lines[number:]]))
    assert said(doubled) == expected([*talk[: number + 1], *talk[number:]])
    broken_line = broken(lines[number], data.draw(st.randoms(use_true_random=False)))
    assert_costs_at_most(
        parse_conversation("\n".join([*lines[:number], broken_line, *lines[number + 1 :]])), talk, number
    )


def said(conversation: Conversation) -> list[tuple[str, str]]:
    return joined([(str(turn.speaker), turn.text) for turn in conversation.turns])


def broken(line: str, rng: random.Random) -> str:
    """The line with a character of its head replaced, or with its first characters gone."""
    place = rng.randrange(1, 6)
    return rng.choice([line[:place] + "\ufffd" + line[place + 1 :], line[place:], "&&" + line])


def assert_costs_at_most(conversation: Conversation, talk: Talk, number: int) -> None:
    """All other messages are there, in order, said by their speakers; a broken one that went to another is counted."""
    others: list[Message] = talk[:number] + talk[number + 1 :]
    turns = iter(conversation.turns)
    for message in others:
        name = one_spelling(message.name)
        found = next((t for t in turns if t.speaker == name and t.text.startswith(message.words)), None)
        assert found is not None, (message, conversation.turns)
        if found.text != message.words:
            assert conversation.losses, (found, message)
