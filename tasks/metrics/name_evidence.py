"""What all dialogues and references of a data set say about its names: who speaks, and which words have capitals."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tasks.metrics.word_forms import (
    TITLES,
    WORD,
    WordInSentence,
    fold,
    has_capitals,
    stands_in,
    word_set,
    words_in_sentences,
)

TAG = re.compile(r"#[^\s#]{1,40}#")
NUMBERED_TAG = re.compile(r"#\s?([^\W\d_]{2,20})\s?(\d{1,3})(?:\s?#|\b)")
"""A speaker tag, also with a space in it or with its end missing: `#Person 1#`, `#Person1`."""
_LABEL = re.compile(r"^[ \t]*([^:：\n#]{1,40}?)[ \t]*[:：](?!\d|//)", re.MULTILINE)
_MOST_WORDS_OF_LABEL = 4
_GERMAN = word_set(
    "der das den dem des eine einen einem einer eines kein keine keinen mein meine dein deine ich du es wir ihr sie "
    "mich dich sich uns mir dir ihm ihn ihnen dieser diese dieses und oder aber weil dass wenn ob als wie warum nicht "
    "nichts noch nur schon auch dann doch mal sehr mehr ist bin bist sind war waren hat habe haben hast hatte wird "
    "werden wurde kann kannst muss soll macht machen geht gehen kommt kommen mit auf für von zu bei nach seit vor über "
    "unter durch gegen ohne wegen im am vom zum zur beim heute morgen jetzt hier immer alle alles etwas ass net ech "
    "mat fir huet vun och gëtt datt hunn sinn"
)
"""Frequent words of German and Luxembourgish, the languages that write nouns with a capital."""
_ARTICLES = word_set(
    "der die das den dem des ein eine einen einem einer eines im am beim zum zur vom ins ans kein keine keinen keinem "
    "mein meine meinen meinem meiner sein seine seinen seinem seiner ihr ihre ihren ihrem ihrer"
)
GERMAN_SHARE, CAPITALS_SHARE, LEAST_CAPITALS = 0.15, 0.15, 50
"""Nouns have capitals if this share of the words in small letters is German, or if this share of the words inside
sentences, at least so many different ones, have a capital. It is 3 % in DialogSum, 22 % in German."""
ROLE_SHARE = 0.25
"""A label that texts use more often than this, per dialogue with it, where nobody speaks under it, is a role."""


@dataclass(frozen=True)
class NameEvidence:
    """What a data set says about its names."""

    speakers: Mapping[str, str]
    """Folded -> word of a speaker label that is a name: no role such as `Doctor`, no word that is written small."""
    names: frozenset[str]
    """Folded words that have a capital inside a sentence, and nowhere a small letter."""
    has_capitals: bool
    capitalises_nouns: bool

    def speakers_like(self, word: str) -> list[str]:
        """Folded speakers with the first two letters of a folded word."""
        return self._by_start.get(word[:2], [])

    @cached_property
    def _by_start(self) -> dict[str, list[str]]:
        by_start: dict[str, list[str]] = defaultdict(list)
        for name in self.speakers:
            by_start[name[:2]].append(name)
        return by_start


def name_evidence(
    dialogues: Sequence[str], references: Sequence[Sequence[str]], lowercase: Collection[str]
) -> NameEvidence:
    """What these texts say; lowercase: the words that they write in small letters."""
    dialogues = [unicodedata.normalize("NFC", text) for text in dialogues]
    references = [[unicodedata.normalize("NFC", text) for text in row] for row in references]
    texts = [*dict.fromkeys(dialogues), *(text for row in references for text in row)]
    words = [entry for text in texts for entry in words_in_sentences(_LABEL.sub("", TAG.sub(" ", text)))]
    inside = Counter(entry.word for entry in words if not entry.starts and entry.word[0].isalpha())
    cased = has_capitals(without_tags("\n".join(texts)))
    small = {fold(word) for word in lowercase}
    labels = [label_words(dialogue, cased) for dialogue in dialogues]
    speakers = {fold(word): word for row in labels for word in row if fold(word) not in small}
    nouns = cased and _capitalises_nouns(inside, speakers)
    roles = _nouns(words) if nouns else set[str]()
    roles |= _roles(speakers, dialogues, references, labels, cased)
    return NameEvidence(
        speakers={folded: word for folded, word in speakers.items() if folded not in roles},
        names=frozenset({fold(word) for word in inside if word[0].isupper()} - small),
        has_capitals=cased,
        capitalises_nouns=nouns,
    )


def lowercase_words(dialogues: Sequence[str], references: Sequence[Sequence[str]]) -> frozenset[str]:
    """The words that some text writes in small letters alone."""
    texts = {unicodedata.normalize("NFC", text) for text in (*dialogues, *(text for row in references for text in row))}
    return frozenset(word for text in texts for word in WORD.findall(text) if word.islower())


def without_tags(text: str) -> str:
    """A text with a comma for each speaker tag."""
    return NUMBERED_TAG.sub(" , ", TAG.sub(" , ", text))


def speaker_labels(dialogue: str) -> list[str]:
    """The labels of a dialogue that are not tags, in the order in which they first speak."""
    return list(dict.fromkeys(_LABEL.findall(dialogue)))


def label_words(dialogue: str, cased: bool) -> set[str]:
    """Words of the speaker labels of a dialogue; none of a label with a digit or a single letter, such as `Guest B`."""
    words = set()
    for label in speaker_labels(dialogue):
        parts = WORD.findall(label)
        if len(parts) <= _MOST_WORDS_OF_LABEL and all(len(part) > 1 and part[-1].isalpha() for part in parts):
            words |= {part for part in parts if part.lower() not in TITLES and (part[0].isupper() or not cased)}
    return words


def _capitalises_nouns(inside: Counter[str], speakers: Collection[str]) -> bool:
    """inside: how often each word stands inside a sentence."""
    small = {word: count for word, count in inside.items() if word.islower()}
    if sum(count for word, count in small.items() if word in _GERMAN) >= GERMAN_SHARE * max(sum(small.values()), 1):
        return True
    capitals = {word: n for word, n in inside.items() if word[0].isupper() and fold(word) not in speakers}
    return len(capitals) >= LEAST_CAPITALS and sum(capitals.values()) >= CAPITALS_SHARE * sum(inside.values())


def _nouns(words: Sequence[WordInSentence]) -> set[str]:
    """Folded words behind a German article; after a comma it may be a relative pronoun: `der Film, den Laura sieht`."""
    return {
        fold(third.word)
        for first, second, third in zip(words, words[1:], words[2:], strict=False)
        if second.word.lower() in _ARTICLES and third.before == second.word and not first.comma
    }


def _roles(
    speakers: Mapping[str, str],
    dialogues: Sequence[str],
    references: Sequence[Sequence[str]],
    labels: Sequence[set[str]],
    cased: bool,
) -> set[str]:
    """Folded speakers that texts use for others than a speaker of theirs.

    A reference names nobody who is not in the dialogue, so such a word is no name. Without capitals, a word that is
    frequent in what others say is none either.
    """
    spoken, used = Counter[str](), Counter[str]()
    for dialogue, row, own in zip(dialogues, references, labels, strict=True):
        spoken.update(map(fold, own))
        in_dialogue = _speakers_in(speakers, dialogue, cased)
        in_summaries = _speakers_in(speakers, "\n".join(row), cased)
        used.update((in_summaries - in_dialogue) if cased else ((in_summaries | in_dialogue) - set(map(fold, own))))
    return {name for name, count in used.items() if count > ROLE_SHARE * spoken[name]}


def _speakers_in(speakers: Mapping[str, str], text: str, cased: bool) -> set[str]:
    if cased:
        return {fold(word) for word in WORD.findall(text)} & speakers.keys()
    return {folded for folded, word in speakers.items() if stands_in(word, text)}
