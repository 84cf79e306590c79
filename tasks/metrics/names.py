"""Names and speakers of a summary that its dialogue does not have, in any script.

A speaker tag such as #Person3# is judged in every language, a speaker of another dialogue in every script. Other names
are judged by their capitals, in languages that write names alone with them; German writes all nouns so.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

from tasks.metrics.name_evidence import NUMBERED_TAG, TAG, NameEvidence, name_evidence, without_tags
from tasks.metrics.word_forms import (
    TITLES,
    WORD,
    WordInSentence,
    fold,
    same_word,
    similar,
    stands_in,
    word_set,
    words_in_sentences,
)

_NOT_NAMES = word_set(
    "i ok monday tuesday wednesday thursday friday saturday sunday january february march april may june july august "
    "september october november december pazartesi salı çarşamba perşembe cuma cumartesi pazar ocak şubat mart nisan "
    "mayıs haziran temmuz ağustos eylül ekim kasım aralık δευτέρα τρίτη τετάρτη πέμπτη παρασκευή σάββατο κυριακή "
    "вы вас вам вами ваш ваша ваше ваши вашу вашего вашей вашему ваших вашим "
    "ιανουάριο φεβρουάριο μάρτιο απρίλιο μάιο ιούνιο ιούλιο αύγουστο σεπτέμβριο οκτώβριο νοέμβριο δεκέμβριο"
)
"""Capitalised words that are not names: English, Turkish and Greek capitalise days and months, Russian
the polite `you`."""
WORDS_TO_JUDGE_STARTS = 400
"""So many words must be known in small letters before a word that only opens a sentence counts as a name."""
_LEAST_STEM_OF_SMALL_WORD = 5
"""Letters that a name must share with a word in small letters to be a form of it: Italian and italy."""


def hallucinated_names(
    summary: str,
    dialogue: str,
    lowercase: frozenset[str] | set[str],
    check_names: bool = True,
    check_speakers: bool = True,
    evidence: NameEvidence | None = None,
) -> list[str]:
    """Speaker tags, speakers of other dialogues and, with `check_names`, other names that the dialogue does not have.

    A name is a capitalised word inside a sentence that the dialogue has in no form (`word_forms.same_word`), and that
    is not in `lowercase`, the words that the texts also write in small letters. The first word of a sentence also has
    to be known as a name, or `lowercase` to be large.

    check_speakers: whether speakers of other dialogues count. evidence: what the data set says about its names; None
    takes it from these two texts, which have no other speakers.
    """
    summary, dialogue = (unicodedata.normalize("NFC", text) for text in (summary, dialogue))
    if evidence is None:
        evidence = name_evidence([dialogue], [[summary]], lowercase)
    speakers = evidence.speakers if check_speakers else {}
    names = wrong_tags(summary, dialogue)
    text = _bare_tag(dialogue).sub(" , ", without_tags(summary))
    if not evidence.has_capitals:
        return names + [name for name in speakers.values() if stands_in(name, text) and not stands_in(name, dialogue)]
    source = _words_of(dialogue)
    entries = list(words_in_sentences(text))
    for i, entry in enumerate(entries):
        name = base_form(entry.word)
        small, folded = name.lower(), fold(name)
        if not name[0].isupper() or len(name) < 2 or small in lowercase or small in TITLES:
            continue
        if {small, small.replace("’", "'").partition("'")[0]} & _NOT_NAMES:  # also I'm and I'll
            continue
        if source.have(entry.word, exactly=folded in speakers):
            continue
        like = evidence.speakers_like(folded) if check_speakers else []
        if any(_inflects(folded, speaker, evidence.capitalises_nouns) for speaker in like):
            is_name = True
        elif evidence.capitalises_nouns:
            is_name = check_names and entry.before.lower() in TITLES
        elif entry.starts:
            opens = len(lowercase) >= WORDS_TO_JUDGE_STARTS and not entry.comma and not _has_form(folded, lowercase)
            is_name = check_names and (opens or folded in evidence.names)
        else:
            is_name = check_names
        if is_name and not any(source.have(other, exactly=True) for other in _beside(entries, i)):
            names.append(name)
    return names


def _beside(entries: Sequence[WordInSentence], i: int) -> list[str]:
    """The names before and after word i: with one of the dialogue it makes a full name, such as Donald Trump."""
    entry = entries[i]
    before = [] if entry.starts or entries[i - 1].comma else [entries[i - 1].word]
    after = [other.word for other in entries[i + 1 : i + 2] if not other.starts and not entry.comma]
    return [word for word in before + after if word[0].isupper() and word.lower() not in TITLES]


def wrong_tags(summary: str, dialogue: str) -> list[str]:
    """Speaker tags whose number the dialogue does not have, also misspelt ones: `#person 3#`, `person3`."""
    tags = {*TAG.findall(dialogue)}
    numbered = {(word.lower(), number) for word, number in NUMBERED_TAG.findall(dialogue)}
    rest = TAG.sub(lambda match: "," * len(match[0]), summary)
    misspelt = [*NUMBERED_TAG.finditer(rest), *_bare_tag(dialogue).finditer(NUMBERED_TAG.sub(" , ", rest))]
    written = [*TAG.finditer(summary), *misspelt]
    parts = [(match[0].strip(), NUMBERED_TAG.fullmatch(f"#{match[0].lstrip('#')}")) for match in written]
    return [tag for tag, part in parts if tag not in tags and not (part and (part[1].lower(), part[2]) in numbered)]


def _bare_tag(dialogue: str) -> re.Pattern[str]:
    """What the speaker tags of a dialogue look like without their signs: `Person1`."""
    words = {word for word, _ in NUMBERED_TAG.findall(dialogue)}
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})\d+\b" if words else r"(?!)", re.IGNORECASE)


def base_form(word: str) -> str:
    """A word without the ending behind an apostrophe: `Tom` of `Tom's`, `Ayşe` of `Ayşe'nin`; `O'Brien` is one word."""
    return re.sub(r"(?<=\w\w)['’ʼ][^\W\d_A-Z]*$", "", word)


def _inflects(name: str, speaker: str, capitalises_nouns: bool) -> bool:
    """Whether a folded word is a speaker's name, inflected; only in the genitive where nouns have capitals: `Jans`."""
    return name in (speaker, f"{speaker}s") if capitalises_nouns else same_word(name, speaker)


@lru_cache(maxsize=2)
def _stems(lowercase: frozenset[str]) -> dict[str, list[str]]:
    stems: dict[str, list[str]] = defaultdict(list)
    for word in map(fold, lowercase):
        stems[word[:_LEAST_STEM_OF_SMALL_WORD]].append(word)
    return stems


def _has_form(word: str, lowercase: frozenset[str] | set[str]) -> bool:
    """Whether a folded word is a form of a word in small letters."""
    others = _stems(frozenset(lowercase)).get(word[:_LEAST_STEM_OF_SMALL_WORD], ())
    return any(same_word(word, other) for other in others)


class _Words:
    """The words of a dialogue, folded, and their parts."""

    def __init__(self, dialogue: str) -> None:
        words = [part for word in WORD.findall(dialogue) for part in {word, base_form(word), *_parts(word)} if part]
        self._all = {fold(word) for word in words}
        self._capitalised = {fold(word) for word in words if word[0].isupper()}
        self._small = self._all - self._capitalised

    def have(self, word: str, exactly: bool) -> bool:
        """Whether a form of a word, or of a part of it, is among them.

        exactly: the word is a speaker of another dialogue, so that a word that is merely similar is somebody else.
        """
        return any(self._have(fold(part), exactly) for part in (word, base_form(word), *_parts(word)) if part)

    def _have(self, word: str, exactly: bool) -> bool:
        if word in self._all or any(same_word(word, other) for other in self._capitalised):
            return True
        if not exactly and any(similar(word, other) for other in self._capitalised):
            return True
        stem = word[:_LEAST_STEM_OF_SMALL_WORD]
        return len(stem) == _LEAST_STEM_OF_SMALL_WORD and any(
            other.startswith(stem) and same_word(word, other) for other in self._small
        )


@lru_cache(maxsize=1 << 12)
def _words_of(dialogue: str) -> _Words:
    """Of a dialogue that every system and reference is compared with."""
    return _Words(dialogue)


def _parts(word: str) -> list[str]:
    return [part for part in re.split("['’ʼ\u2010\u2011-]", word) if len(part) > 1]
