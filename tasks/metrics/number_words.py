"""Numbers in words: `twenty-one`, `einundzwanzig`, `двадцати одного`, in the languages of num2words."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile

from num2words import CONVERTER_CLASSES, num2words

from tasks.metrics.word_forms import fold

LANGUAGES = tuple(name for name in CONVERTER_CLASSES if "_" not in name and name not in ("ja", "ko", "th", "eo", "tet"))
"""Languages with spaces between words; dialects differ from them in currencies only."""
LEAST_NUMBER_WORDS = 2
"""So many different number words of a language must be in the texts: Spanish `once` is English as well."""
MOST_WORDS = 10
"""Words of a number, at most."""
_CASES = {
    "ru": [{"case": case, "gender": gender} for case in "ngdaip" for gender in "mfn"],
    "fi": [{"case": case} for case in ("genitive", "partitive", "inessive", "elative", "illative", "adessive",
                                       "ablative", "allative", "essive", "translative")],
}  # fmt: skip
"""How num2words makes the other forms of a number, where it can."""
_POWERS = (10**3, 10**6, 10**9)
_MORE_MULTIPLIERS = {"en": {"hundred": 100, "k": 10**3, "grand": 10**3}, "de": {"mio": 10**6}, "ru": {"тыс": 10**3}}
_AND = frozenset(("and", "und", "y", "e", "et", "en", "og", "och", "ja"))
"""Conjunctions within numbers."""
_ENDINGS = {
    "tr": re.compile("(?:[td][ae]n?|y?[aeiu]|[sn]?inda|[ln][ae]r)$"),
    "hu": re.compile("(?:kor|ra|re|tol|ig|ban|ben|an|en)$"),
}
"""Endings of folded number words that num2words does not make."""
_LEAST_MULTIPLIER = 3
"""Letters of a word for a thousand: Turkish `bin`."""
_LEAST_COMPOUND = 8
"""Letters of the shortest word that is a number above a thousand, such as `eintausend`."""
_MORE = {
    "en": {"dozen": 12, "couple": 2, "both": 2, "twice": 2, "double": 2, "pair": 2, "once": 1, "single": 1,
           "half": 0.5, "quarter": 0.25, "thrice": 3, "triple": 3},
    "de": {"ein": 1, "eine": 1, "einen": 1, "einem": 1, "einer": 1, "beide": 2, "beiden": 2, "dutzend": 12, "zwo": 2,
           "zweimal": 2, "dreimal": 3, "doppelt": 2, "halb": 0.5, "halbe": 0.5, "halben": 0.5, "anderthalb": 1.5,
           "viertel": 0.25, "dreiviertel": 0.75},
    "ru": {"оба": 2, "обе": 2, "двое": 2, "двоих": 2, "трое": 3, "троих": 3, "четверо": 4, "пара": 2, "пару": 2,
           "дважды": 2, "полтора": 1.5, "полторы": 1.5, "половина": 0.5, "половину": 0.5, "половине": 0.5,
           "половины": 0.5, "пол": 0.5, "четверть": 0.25, "четверти": 0.25, "раз": 1},
    "fi": {"molemmat": 2, "puoli": 0.5, "puolet": 0.5, "tusina": 12},
    "tr": {"çift": 2, "yarım": 0.5, "yarısı": 0.5, "düzine": 12, "buçuk": 0.5, "çeyrek": 0.25},
    "fr": {"une": 1, "deux": 2, "douzaine": 12, "demi": 0.5, "demie": 0.5, "moitié": 0.5},
    "es": {"una": 1, "un": 1, "docena": 12, "media": 0.5, "medio": 0.5, "mitad": 0.5},
}  # fmt: skip
"""Other words that say a number."""


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

    cases = _CASES.get(language, [])
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
    table |= {fold(word): float(value) for word, value in _MORE.get(language, {}).items()}
    multipliers |= _MORE_MULTIPLIERS.get(language, {})
    multipliers = {word: power for word, power in multipliers.items() if table.get(word, power) >= power}
    return NumberWords(
        table, multipliers, frozenset({*parts, *table, *multipliers}), _ENDINGS.get(language, re.compile("$"))
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
    return [word for word in map(fold, re.findall(r"[^\W\d_]+", text)) if word not in _AND]


def is_multiplier(word: str, language: str) -> bool:
    """Whether a word is a thousand or more."""
    return fold(word) in number_words(language).multipliers


def may_continue(words: Sequence[str], language: str) -> bool:
    """Whether some number may begin with these words."""
    known = number_words(language)
    last = fold(words[-1])
    last = last if last in known.parts else known.endings.sub("", last)
    embedded = any(word in last for word in known.multipliers) and len(last) > _LEAST_COMPOUND
    return last in known.parts or (last in _AND and len(words) > 1) or embedded


@lru_cache(maxsize=1 << 16)
def read_number(words: tuple[str, ...], language: str) -> float | None:
    """The number that words say, all of them; None if they say none."""
    if fold(words[-1]) in _AND:
        return None
    return _read([word for word in map(fold, words) if word not in _AND], number_words(language))


def _read(words: list[str], known: NumberWords) -> float | None:
    words = [word if word in known.parts else known.endings.sub("", word) for word in words]
    if (value := known.table.get("".join(words))) is not None:
        return value
    for word, power in sorted(known.multipliers.items(), key=lambda entry: -entry[1]):
        if word in words:
            at = words.index(word)
            left, right = words[:at], words[at + 1 :]
        elif len(words) == 1 and word in words[0]:
            left, right = ([part] if part else [] for part in words[0].split(word, 1))
        else:
            continue
        count = 1.0 if left in ([], ["a"], ["1"]) else _read(left, known)
        rest = _read(right, known) if right else 0.0
        return None if count is None or rest is None or rest >= power else count * power + rest
    return None


@lru_cache(maxsize=1)
def _words_by_language() -> dict[str, frozenset[str]]:
    """The numbers from 2 to 99 that are single words of three or more letters."""
    words = {}
    for language in LANGUAGES:
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
