"""Numbers in words: `twenty-one`, `einundzwanzig`, `двадцати одного`, in the languages of num2words."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile

from tasks.metrics.number_lexicon import CASES, CONJUNCTIONS, ENDINGS, MULTIPLIERS, OTHER_WORDS
from tasks.metrics.word_forms import fold

OTHER_LANGUAGES = ("ja", "ko", "th", "eo", "tet")
"""Languages of num2words that are not recognised: without spaces between words, or not spoken in dialogues."""
LEAST_NUMBER_WORDS = 2
"""So many different number words of a language must be in the texts: Spanish `once` is English as well."""
MOST_WORDS = 14
"""Words of a number, at most."""
_POWERS = (10**3, 10**6, 10**9)
_LEAST_MULTIPLIER = 3
"""Letters of a word for a thousand: Turkish `bin`."""
_LEAST_COMPOUND = 7
"""Letters of the shortest word that is a number above a thousand, such as `eintausend`."""


@dataclass(frozen=True)
class NumberWords:
    """The number words of a language, all of them folded."""

    table: dict[str, float]
    """Words of a number, joined to one -> its value."""
    multipliers: dict[str, int]
    """Words for a thousand and more."""
    parts: frozenset[str]
    """Single words that numbers consist of."""
    endings: re.Pattern[str]
    """What is added to a number word: Turkish `üçte` is at three."""


@lru_cache(maxsize=4)
def number_words(language: str) -> NumberWords:
    """Cardinals below 1000, ordinals to 100, years and other words of a language, from num2words."""
    from num2words import num2words  # takes as long to import as the rest of this package

    table, parts = dict[str, float](), set[str]()

    def add(number: int, **options: str) -> list[str]:
        try:
            text = str(num2words(number, lang=language, **options))
        except Exception:  # num2words raises anything where it lacks a form
            return []
        words = _words(text)
        parts.update(words)
        table.setdefault("".join(words), float(number))
        if language == "de" and words and words[0].startswith("einhundert"):
            table.setdefault(words[0].removeprefix("ein"), float(number))
        return words

    cases = CASES.get(language, [])
    for number in range(1000):
        add(number)
        for case in cases if number < 100 or number % 100 == 0 else ():
            add(number, **case)
    for number in range(1, 101):
        add(number, to="ordinal")
        for case in cases if number < 32 else ():
            add(number, to="ordinal", **case)
    for number in range(1100, 2060):
        add(number, to="year")
    multipliers = {
        word: power for power in _POWERS for word in _multiplier(*(add(power * count) for count in (1, 2, 3, 5)))
    }
    table |= {fold(word): float(value) for word, value in OTHER_WORDS.get(language, {}).items()}
    multipliers |= MULTIPLIERS.get(language, {})
    multipliers = {word: power for word, power in multipliers.items() if table.get(word, power) >= power}
    return NumberWords(
        table, multipliers, frozenset({*parts, *table, *multipliers}), ENDINGS.get(language, re.compile("$"))
    )


def _multiplier(one: list[str], *several: list[str]) -> set[str]:
    """The words for a thousand in 1000, 2000, 3000 and 5000: the last of several, or the end that they share."""
    ends = {words[-1] for words in (one, *several) if len(words) > 1} | ({one[0]} if len(one) == 1 else set())
    compounds = [words[0][::-1] for words in several if len(words) == 1]
    shared = _common_start(compounds)[::-1] if len(compounds) > 1 else ""
    return {end for end in {*ends, shared} if len(end) >= _LEAST_MULTIPLIER}


def _common_start(words: list[str]) -> str:
    return "".join(takewhile(bool, (letters[0] * (len({*letters}) == 1) for letters in zip(*words, strict=False))))


def _words(text: str) -> list[str]:
    """Folded words of a number; `and` is not one of them, as writers leave it out."""
    return [word for word in map(fold, re.findall(r"[^\W\d_]+", text)) if word not in CONJUNCTIONS]


def is_multiplier(word: str, language: str) -> bool:
    """Whether a word is a thousand or more."""
    return fold(word) in number_words(language).multipliers


def may_continue(words: Sequence[str], language: str) -> bool:
    """Whether some number may begin with these words."""
    known = number_words(language)
    last = fold(words[-1])
    embedded = any(word in last for word in known.multipliers) and len(last) >= _LEAST_COMPOUND
    plain = known.endings.sub("", last)
    return last in known.parts or plain in known.parts or (last in CONJUNCTIONS and len(words) > 1) or embedded


@lru_cache(maxsize=1 << 16)
def read_number(words: tuple[str, ...], language: str) -> float | None:
    """The number that words say, all of them; None if they say none."""
    if fold(words[-1]) in CONJUNCTIONS:
        return None
    known = number_words(language)
    folded = [word for word in map(fold, words) if word not in CONJUNCTIONS]
    value = _read(folded, known)
    return value if value is not None else _read([known.endings.sub("", word) for word in folded], known)


def _read(words: list[str], known: NumberWords) -> float | None:
    if (value := known.table.get("".join(words))) is not None:
        return value
    for at in range(1, len(words)):  # hundreds and a form of the rest that the table has only alone
        hundreds, rest = (known.table.get("".join(part)) for part in (words[:at], words[at:]))
        if hundreds and rest and hundreds < 1000 and hundreds % (100 if rest >= 10 else 10) == 0 and rest < 100:
            return hundreds + rest
    for word, power in sorted(known.multipliers.items(), key=lambda entry: -entry[1]):
        places = [i for i, each in enumerate(words) if each == word] or [
            i for i, each in enumerate(words) if word in each
        ]
        if not places:
            continue
        place = places[0]
        before, _, after = words[place].partition(word)  # both empty, unless it is a compound such as zweitausenddrei
        left, right = [*words[:place], *[before] * bool(before)], [*[after] * bool(after), *words[place + 1 :]]
        count = 1.0 if left in ([], ["a"], ["1"]) else _read(left, known)
        below = _read(right, known) if right else 0.0
        if count is not None and below is not None and below < power:
            return count * power + below
    return None


@lru_cache(maxsize=1)
def _words_by_language() -> dict[str, frozenset[str]]:
    """The numbers from 2 to 99 that are single words of three or more letters."""
    from num2words import CONVERTER_CLASSES, num2words

    words = {}
    for language in CONVERTER_CLASSES:
        if "_" in language or language in OTHER_LANGUAGES:  # dialects differ in currencies only
            continue
        forms = set()
        for number in range(2, 100):
            text = str(num2words(number, lang=language))
            if len(text) > 2 and text.isalpha():
                forms.add(fold(text))
        words[language] = frozenset(forms)
    return words


def number_language(texts: Sequence[str]) -> str | None:
    """The language with the most different number words in the texts; None if no language has LEAST_NUMBER_WORDS."""
    counts = Counter(fold(word) for text in texts for word in re.findall(r"[^\W\d_]{3,}", text))
    found = {name: [counts[word] for word in words if word in counts] for name, words in _words_by_language().items()}
    best = max(found, key=lambda language: (len(found[language]), sum(found[language])))
    return best if len(found[best]) >= LEAST_NUMBER_WORDS else None
