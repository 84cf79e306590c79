"""Words of any script, and whether two of them are forms of one name: Anna and Анне, Peter and Peters."""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from rapidfuzz.distance import Indel

WORD = re.compile(r"[^\W_](?:[^\W_]|[\u0300-\u036f]|['’ʼ\u2010\u2011-](?=[^\W_]))*")
"""Letters and digits, with apostrophes and hyphens inside. The text is in NFC."""
MOST_ENDING, LEAST_STEM = 4, 3
"""Letters of an ending, such as those in Annának or Päivillä, and of what it is added to."""
LEAST_SIMILARITY = 0.8
"""Similarity of forms whose stem changes."""


def word_set(text: str) -> frozenset[str]:
    """The words of a text with spaces between them."""
    return frozenset(text.split())


TITLES = word_set(
    "mr mrs ms miss mister dr prof herr herrn frau mevr sr sra srta señor señora don doña dom signor signora sig "
    "monsieur madame mme mlle pan pani pán paní bay bey hanım г-н г-жа господин госпожа rouva herra fru κύριος κυρία "
    "κ κα st"
)
"""A capitalised word behind one of these is a name also where nouns have capitals."""
_LAST_LETTERS = frozenset("aeiouyjаеиоуыэюяьйієїαειουωηςσ")
"""Letters at the end of a name that an ending replaces: Анна and Анну, Игорь and Игоря, Γιώργος and Γιώργου."""
_DOUBLED = re.compile(r"([^\W\daeiouy])\1")
_FLEETING = re.compile(r"[eoеоё](?=[^\Waeiouyаеиоуыэюя]$)")
"""The vowel that Slavic names lose before an ending: Павел and Павла, Marek and Marka."""
_STRONG, _WEAKENED = re.compile("[kpt][aeiouy]$"), re.compile("[dgvjlrmn]?[aeiouy]")
"""Consonants that Finnish names lose before an ending, and what is left: Turku and Turussa, Lahti and Lahdessa."""
_LEAST_TO_CHANGE = 5
"""Letters of a name whose stem may change; one less without a doubled consonant."""
_SENTENCE_START = re.compile(r"(?:[.!?…:;。！？؟।\n\"“”„«»‹›(\[–—¿¡*•]|\s-)[\s\"“”„«»‹›'‘’(\[¿¡-]*$")
_WITHOUT_SPACES = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]")
_SEMITIC = re.compile("[\u0590-\u06ff]")
_PARTICLE = 3
"""Letters of a particle behind a name, as in 민수에게, and before it in Hebrew and Arabic."""


class WordInSentence(NamedTuple):
    """A word of a text, and what stands around it."""

    before: str
    """The word before it; empty for the first."""
    word: str
    starts: bool
    """Whether it is the first of a sentence, and has its capital from that."""
    comma: bool
    """Whether a comma follows."""


@lru_cache(maxsize=1 << 16)
def fold(word: str) -> str:
    """A word without case, accents and the dots of ё and й, in which its forms may differ."""
    letters = unicodedata.normalize("NFKD", word.casefold().replace("ı", "i"))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def has_capitals(text: str) -> bool:
    """Whether most letters of a text are of a script with capitals."""
    letters = [letter for letter in text if letter.isalpha()]
    return 2 * sum(letter.isupper() or letter.title() != letter for letter in letters) > len(letters)


@lru_cache(maxsize=1 << 18)
def same_word(word: str, other: str) -> bool:
    """Whether one of two folded words is the other with an ending, added or in place of the last vowel."""
    shorter, longer = sorted((word, other), key=len)
    if _with_ending(shorter, longer):
        return True
    # Matti and Matille; a short name with a doubled letter is a name of its own: Ann, Lee
    return len(shorter) >= _LEAST_TO_CHANGE and _with_ending(_DOUBLED.sub(r"\1", shorter), _DOUBLED.sub(r"\1", longer))


def _with_ending(shorter: str, longer: str) -> bool:
    stem = len(shorter)
    added = longer.startswith(shorter)
    if not added:
        stem -= 1
        if shorter[-1:] not in _LAST_LETTERS or longer[stem : stem + 1] not in _LAST_LETTERS:
            return False
    least = LEAST_STEM if shorter.isascii() and added else LEAST_STEM - 1  # not Do and Dot, but Eva and Evy, Ян and Яна
    return stem >= least and longer.startswith(shorter[:stem]) and len(longer) - stem <= min(MOST_ENDING, stem)


@lru_cache(maxsize=1 << 18)
def similar(word: str, other: str) -> bool:
    """Whether two folded words may be forms of one whose stem changes, such as Павел and Павла, Turku and Turussa."""
    shorter, longer = sorted((word, other), key=len)
    if len(shorter) < _LEAST_TO_CHANGE - 1 or shorter[0] != longer[0]:
        return False
    if Indel.normalized_similarity(word, other) >= LEAST_SIMILARITY:
        return True
    fleeting = _FLEETING.sub("", shorter)
    weakened = _WEAKENED.match(longer[len(shorter) - 2 :]) is not None and longer.startswith(shorter[:-2])
    return (fleeting != shorter and _with_ending(fleeting, longer)) or (
        weakened and _STRONG.search(shorter) is not None and len(longer) - len(shorter) <= MOST_ENDING
    )


def words_in_sentences(text: str) -> Iterator[WordInSentence]:
    """The words of a text, in order. An elided article is no part of a word: d'Anna, l'Italia."""
    before, end = "", 0
    for match in WORD.finditer(text):
        gap = text[end : match.start()]
        abbreviated = gap == ". " and (before.lower() in TITLES or len(before) == 1)
        head, apostrophe, tail = match[0].replace("’", "'").partition("'")
        yield WordInSentence(
            before=before,
            word=tail if apostrophe and head.islower() and tail[:1].isupper() else match[0],
            starts=not before or (_SENTENCE_START.search(gap) is not None and not abbreviated),
            comma=text[match.end() : match.end() + 1] == ",",
        )
        before, end = match[0], match.end()


def stands_in(name: str, text: str) -> bool:
    """Whether a text in a script without capitals has a name: anywhere, or at the start of a word if it has words."""
    if _WITHOUT_SPACES.search(name):
        return len(name) > 1 and name in text
    if _SEMITIC.search(name):
        return len(name) > 2 and re.search(rf"\b\w?{re.escape(name)}\b", text) is not None
    return len(name) > 1 and re.search(rf"\b{re.escape(name)}\w{{0,{_PARTICLE}}}\b", text) is not None
