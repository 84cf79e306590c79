"""TTML, the captions of broadcasters: paragraphs with times, and agents who speak them."""

import re
from xml.etree import ElementTree

from tasks.transcripts.captions import Cue, read_cues
from tasks.transcripts.records import Reading

_ROOT = re.compile(r"\s*(?:<\?xml[^>]*\?>\s*)?(?:<!--.*?-->\s*)*<(?:\w+:)?tt[\s>]", re.DOTALL)
_DOCTYPE = re.compile(r"<!DOCTYPE[^<>\[]*>")
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d+)(?:[.:,](\d+))?")


def read_ttml(text: str) -> Reading | None:
    """The turns; None if the text is no TTML, declares entities of its own, or is nested too deeply."""
    if not _ROOT.match(text) or "<!ENTITY" in text:
        return None
    try:
        root = ElementTree.fromstring(_DOCTYPE.sub("", text).strip())  # noqa: S314  # entities are refused above
    except (ElementTree.ParseError, ValueError):
        return None
    agents = {
        _attribute(agent, "id"): "".join(agent.itertext()).strip() for agent in root.iter() if _tag(agent) == "agent"
    }
    cues = []
    for paragraph in (element for element in root.iter() if _tag(element) == "p"):
        speaker = _speaker(paragraph, agents)
        try:
            text = _text(paragraph)
        except RecursionError:  # thousands of elements in each other, to break a reader
            return None
        lines = [line for line in (" ".join(part.split()) for part in text.split("\n")) if line]
        if speaker and lines:
            lines[0] = f"<v {_escaped(speaker)}>{lines[0]}"
        begin = paragraph.get("begin", "")
        cues.append(Cue(_seconds(begin), _seconds(paragraph.get("end", begin)), begin, lines))
    if not cues:
        return None
    reading = read_cues(cues)
    reading.reason = f"{len(cues)} paragraphs of a TTML document"
    return reading


def _tag(element: ElementTree.Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _attribute(element: ElementTree.Element, name: str) -> str | None:
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), None)


def _speaker(paragraph: ElementTree.Element, agents: dict[str | None, str]) -> str | None:
    """The agent of a paragraph or of the first element in it."""
    for element in paragraph.iter():
        agent = _attribute(element, "agent")
        if agent is not None:
            return agents.get(agent) or agent
    return None


def _text(element: ElementTree.Element) -> str:
    """Words of an element, with a line feed for each `<br/>`; `<` and `&` as entities, as captions write them."""
    parts = [_words(element.text)]
    for child in element:
        parts += ["\n" if _tag(child) == "br" else _text(child), _words(child.tail)]
    return "".join(parts)


def _words(text: str | None) -> str:
    return _escaped((text or "").replace("\n", " "))


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _seconds(time: str) -> float:
    match = _CLOCK.match(time)
    if match is None:
        return 0.0
    return int(match[1] or 0) * 3600 + int(match[2]) * 60 + int(match[3]) + float(f"0.{match[4] or 0}")
