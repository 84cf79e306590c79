"""Who speaks in a dialogue, and where a summary mentions them: by speaker tag or by name."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from tasks.metrics.name_evidence import TAG, speaker_labels
from tasks.metrics.names import base_form
from tasks.metrics.word_forms import WORD, fold, same_word, word_set

_TAG_LABEL = re.compile(rf"^[ \t]*({TAG.pattern})[ \t]*[:：]", re.MULTILINE)
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]")
"""Letters of scripts without spaces between words."""
_AND = word_set("and und y e et en og och ja и і ve i a και és si & , 和 与 跟 と و")
_JOINTLY = re.compile(r"\b(?:with|meets?|meeting|marr(?:y|ies)|marrying|(?:talk|speak|chat)(?:s|ing|ting)? to)$")
"""What stands between two people who do something together, in English: exchanged, the sentence stays true."""


@dataclass(frozen=True)
class Speaker:
    """A speaker of a dialogue."""

    texts: tuple[str, ...]
    """How summaries may name the speaker: the tag, or the name in full and its first word: `Anna Meyer`, `Anna`."""


@dataclass(frozen=True)
class Mention:
    """A place in a text that names somebody."""

    start: int
    end: int
    who: str
    """First of the speaker's texts, or a name."""


def speakers_of(dialogue: str, names: Mapping[str, str]) -> tuple[Speaker, ...]:
    """The speakers with a tag or a name, in the order in which they first speak.

    names: the folded words of speaker labels that are names (`NameEvidence.speakers`); other labels, such as
    `Doctor`, name nobody.
    """
    dialogue = unicodedata.normalize("NFC", dialogue)
    tags = dict.fromkeys(_TAG_LABEL.findall(dialogue))
    labels = {label: [w for w in WORD.findall(label) if fold(w) in names] for label in speaker_labels(dialogue)}
    words = [word for own in labels.values() for word in own]
    named = [
        Speaker(tuple(dict.fromkeys([label, own[0]])) if words.count(own[0]) == 1 else (label,))
        for label, own in labels.items()
        if own
    ]
    return (*(Speaker((tag,)) for tag in tags), *named)


def mentions_of(text: str, speakers: Sequence[Speaker]) -> list[Mention]:
    """Every mention of the speakers, in order."""
    by_text = {name: speaker.texts[0] for speaker in speakers for name in speaker.texts}
    if not by_text:
        return []
    return [Mention(m.start(), m.end(), by_text[m[0]]) for m in _pattern(tuple(by_text)).finditer(text)]


@lru_cache(maxsize=1 << 10)
def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    return re.compile("|".join(map(whole_word, longest_first)))


def whole_word(name: str) -> str:
    """Pattern of a name, not as a part of another word; a script without spaces has no ends of words."""
    return re.escape(name) if _UNSPACED.search(name) else rf"(?<![\w#]){re.escape(name)}(?![\w#])"


def has_inflected_name(text: str, speakers: Sequence[Speaker]) -> bool:
    """Whether a text has a name of a speaker in another form, such as Анне: exchanging the others would mix people."""
    names = {fold(word) for speaker in speakers for name in speaker.texts for word in WORD.findall(name)}
    rest = _pattern(tuple(name for speaker in speakers for name in speaker.texts)).sub(" ", text) if speakers else text
    words = [fold(base_form(word)) for word in WORD.findall(rest) if word[0].isupper()]
    return any(same_word(word, name) for word in words for name in names)


def joint(text: str, mentions: Sequence[Mention]) -> set[Mention]:
    """The mentions of people who do something together: `A and B`, `A talks with B`. Exchanged, the text stays true."""
    together = set[Mention]()
    for first, second in pairwise(mentions):
        between = text[first.end : second.start].strip()
        if first.who != second.who and (between in _AND or (len(between) < 40 and _JOINTLY.search(between))):
            together |= {first, second}
    return together


def put(text: str, replacements: Mapping[Mention, str]) -> str:
    """The text with other words in the places of these mentions."""
    for mention in sorted(replacements, key=lambda each: -each.start):
        text = text[: mention.start] + replacements[mention] + text[mention.end :]
    return text
