"""Conversations of many forms become the one that the model knows, and names come back."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.transcripts.conversation import parse_conversation
from tests.support.data import read_csv
from tests.support.paths import SAMPLE

SAID = [("Ann Lee", "Are we late?"), ("Bob", "The train was: at 10:30."), ("Ann Lee", "Oh no.")]
"""The dialogue that each format below contains."""
WANTED = "#Person1#: Are we late?\n#Person2#: The train was: at 10:30.\n#Person1#: Oh no."


def lines(form: str) -> str:
    """Every turn in a form of one line, a minute apart."""
    return "\n".join(form.format(name=name, text=text, n=n) for n, (name, text) in enumerate(SAID))


FORMS = {
    "colon": lines("{name}: {text}"),
    "dashed list": lines("- {name}: {text}"),
    "time and dash": lines("[00:0{n}] {name} - {text}"),
    "time and colon": lines("00:0{n}:12 {name}: {text}"),
    "time and angle": lines("[12:0{n}] <{name}> {text}"),
    "angle": lines("<{name}> {text}"),
    "phone": lines("12/31/24, 9:1{n} PM - {name}: {text}"),
    "phone, in brackets": lines("[31.12.24, 21:1{n}:05] {name}: {text}"),
    "markdown": lines("**{name}:** {text}"),
    "markdown, colon outside": lines("**{name}**: {text}"),
    "bracket": lines("[{name}] {text}"),
    "time after name": lines("{name} (00:0{n}): {text}"),
    "name and time above": lines("{name}  00:0{n}\n{text}\n"),
    "blank lines and windows": lines("{name}: {text}\n").replace("\n", "\r\n"),
    "wrapped": "Ann Lee: Are we\n  late?\nBob: The train was:\nat 10:30.\nAnn Lee: Oh no.",
    "webvtt": "WEBVTT\n\n"
    + lines("00:0{n}.000 --> 00:0{n}.900 align:start\n<v.loud {name}>{text}</v>\n").replace("00:0", "00:00:0"),
    "srt": lines("{n}\n00:00:0{n},000 --> 00:00:0{n},900\n<i>{name}: {text}</i>\n"),
    "telegram": json.dumps(
        {
            "messages": [
                {
                    "from": who,
                    "text": [words[:3], {"type": "bold", "text": words[3:].strip()}] if words[3] == " " else words,
                }
                for who, words in SAID
            ]
        }
    ),
    "newest first": json.dumps(
        [{"sender_name": who, "content": words, "timestamp_ms": n} for n, (who, words) in enumerate(SAID)][::-1]
    ),
    "author objects": json.dumps(
        {"conversation": [{"author": {"id": "1", "name": who}, "content": words} for who, words in SAID]}
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_becomes_the_same_conversation(form: str) -> None:
    """Speakers are numbered as they first speak; a colon or a time in what they say is theirs."""
    conversation = parse_conversation(FORMS[form])
    assert (conversation.text, conversation.names) == (WANTED, ("Ann Lee", "Bob"))


def test_notes_among_the_turns_are_no_speakers() -> None:
    """Headings and notes stay in their place and do not become turns of a person called Note."""
    conversation = parse_conversation(
        "Date: 3 May\nAttendees: Ann, Bob\nAnn: Hi.\nNote: Ann is late.\nBob: Ho.\n**Note:** end\nAnn: Bye."
    )
    assert conversation.names == ("Ann", "Bob")
    assert conversation.text.split("\n") == [
        "Date: 3 May",
        "Attendees: Ann, Bob",
        "#Person1#: Hi.",
        "Note: Ann is late.",
        "#Person2#: Ho.",
        "**Note:** end",
        "#Person1#: Bye.",
    ]


def test_messages_as_objects_are_read_like_their_text() -> None:
    """A column of Parquet or JSON lines may hold the list itself."""
    chat: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    assert (
        parse_conversation(chat).text == parse_conversation(json.dumps(chat)).text == "#Person1#: Hi\n#Person2#: Hello"
    )
    assert parse_conversation(chat).names == ("user", "assistant")


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (["2026-01-01T10:00:00Z", "2026-01-01T09:59:00Z"], ["b", "a"]),
        (["1700000001.2", "1700000000.1"], ["b", "a"]),
        (["9:59 PM", "10:01 PM"], ["a", "b"]),
        ([2, None], ["a", "b"]),
    ],
)
def test_a_chat_is_turned_only_where_its_times_say_so(times: list[Any], expected: list[str]) -> None:
    """Newest first is turned round; times without an order leave the order alone."""
    chat = [{"from": name, "text": name, "ts": time} for name, time in zip("ab", times, strict=True)]
    assert list(parse_conversation(chat).names) == expected


@pytest.mark.parametrize(
    "text",
    [
        "A letter, and no talk.\nNote: it has a colon.\nIt goes on.\nAnd on.\nAnd on still.",
        "We met at 10:30 and left.",
        "[1, 2, 3]",
        "{not json",
        "see https://example.org: a page",
    ],
)
def test_text_without_speakers_stays_as_it_is(text: str) -> None:
    """Nobody is made up."""
    conversation = parse_conversation(text)
    assert (conversation.text, conversation.names) == (text, ())


def test_dialogues_of_the_data_set_are_not_touched() -> None:
    """A dialogue in the format of the training data is not changed."""
    dialogues = [row["dialogue"] for row in read_csv(SAMPLE / "test.csv")]
    assert [parse_conversation(dialogue).text for dialogue in dialogues] == dialogues
    assert not any(parse_conversation(dialogue).names for dialogue in dialogues)


def test_subtitles_without_names_become_text() -> None:
    """Rolling captions say a line twice; once is enough."""
    cue = "00:00:01.000 --> 00:00:02.000\n"
    assert (
        parse_conversation(f"WEBVTT\n\n{cue}Hello &amp; hi\n\n{cue}Hello &amp; hi\nthere").text == "Hello & hi\nthere"
    )


def test_names_come_back_into_the_summary() -> None:
    """Wherever the tag is; a tag without a speaker stays, and a name is inserted unchanged."""
    conversation = parse_conversation("[00:01] A\\1: hi\n[00:02] Bob: ho")
    assert conversation.restore_names("#Person1# tells #Person2#'s friend #Person3#, not Person1.") == (
        "A\\1 tells Bob's friend #Person3#, not Person1."
    )


words = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=30).filter(str.strip)
names = st.sampled_from(["Ann", "Bob", "Zoë", "Dr. Wu", "Speaker 1", "李"])


@given(st.lists(st.tuples(names, words), min_size=2, max_size=12))
def test_no_turn_is_lost_or_moved(turns: list[tuple[str, str]]) -> None:
    """For any words in any order of speakers, from a chat export, where there is nothing to guess."""
    conversation = parse_conversation([{"speaker": who, "text": text} for who, text in turns])
    back = [
        conversation.restore_names(line.split(": ", 1)[0] + ": " + line.split(": ", 1)[1])
        for line in conversation.text.split("\n")
    ]
    assert [line.split(":", 1)[0] for line in back] == [who for who, _ in turns]
    assert [line.split(": ", 1)[1].split() for line in conversation.text.split("\n")] == [
        text.split() for _, text in turns
    ]


@given(
    st.one_of(
        st.text(max_size=300),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=9),
            lambda x: st.lists(x) | st.dictionaries(st.sampled_from(["text", "from", "messages", "ts", "x"]), x),
        ),
    )
)
def test_anything_is_read_without_a_failure(value: Any) -> None:
    """One strange row of 100,000 ends no run."""
    assert isinstance(parse_conversation(value).text, str)
