"""Who wrote a message of a chat export: by a name, by an object with names, by an id that others name."""

from collections.abc import Iterable, Mapping
from typing import Any

from tasks.transcripts.characters import one_spelling
from tasks.transcripts.json_values import Message, first_value, simple

SPEAKERS = (
    "speakername", "speakerdisplayname", "speaker", "speakerlabel", "speakertag", "sendername", "senderdisplayname",
    "userprofile", "botprofile", "sender", "from", "author", "authorname", "creator", "username", "user", "fromname",
    "displayname", "name", "nick", "nickname", "participant", "participantrole", "agent", "role", "actor", "fromid",
    "userid", "speakerid", "senderid", "authorid", "botid",
)  # fmt: skip
NAMES = (
    "realname", "displayname", "nickname", "globalname", "name", "username", "fullname", "role", "email", "id",
)  # fmt: skip
"""Of a speaker that is an object."""
_INNER = ("user", "application", "bot", "emailaddress", "profile", "device", "contact", "conversation")
"""Objects inside of a speaker that have the name."""


def speaker_of(message: Message, names: Mapping[str, str]) -> str | None:
    """The speaker's name; an id that other messages name is that name; a bare number is `Speaker 0`."""
    for key in SPEAKERS:
        value = message.get(key)
        name = _name(value)
        if name is None or isinstance(value, bool):
            continue
        name = names.get(name, name)
        return f"Speaker {name}" if name.isdecimal() and "speaker" in key else name
    return None


def _name(value: Any, depth: int = 0) -> str | None:
    if isinstance(value, dict) and depth < 3:
        person = simple(value)
        first, last = person.get("firstname"), person.get("lastname")
        full = " ".join(part for part in (first, last) if isinstance(part, str) and part)
        inner = (_name(person.get(key), depth + 1) for key in _INNER)
        return next(
            filter(None, (_name(first_value(person, NAMES[:7])), full, *inner, _name(first_value(person, NAMES[7:])))),
            None,
        )
    return one_spelling(str(value)) or None if isinstance(value, str | int) and not isinstance(value, bool) else None


def names_by_id(value: Any, messages: Iterable[Message]) -> dict[str, str]:
    """Names of ids: from lists of users beside the messages, and from messages that have both."""
    names: dict[str, str] = {}
    if isinstance(value, dict):
        for key in ("users", "members", "participants", "profiles", "speakers", "agents"):
            people = value.get(key)
            for person in people if isinstance(people, list) else []:
                if isinstance(person, dict) and "id" in person and (name := _name(person)):
                    names[str(person["id"])] = name
    for message in messages:
        for key in ("user", "botid", "userid", "speakerid", "senderid"):
            profile = first_value(message, ("userprofile", "botprofile", "username", "sendername", "speakername"))
            if isinstance(message.get(key), str | int) and profile and (name := _name(profile)):
                names.setdefault(str(message[key]), name)
        people = [message.get("author"), *(message["mentions"] if isinstance(message.get("mentions"), list) else [])]
        for person in people:
            if (
                isinstance(person, dict)
                and isinstance(person.get("id"), str)
                and (name := _name(person))
                and name != person["id"]
            ):
                names.setdefault(person["id"], name)
    return names
