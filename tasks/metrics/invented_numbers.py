"""Numbers of a summary that its dialogue does not have, however either writes them.

`3:30 pm`, `15.30`, `half past three`; `1,200`, `1 200`, `twelve hundred`; `٣`, `三`, `3rd`, `3-й`. The dialogue is read
in every way that its text allows, the summary in the plain one: what is unclear is no error.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from tasks.metrics.chinese_numerals import in_digits
from tasks.metrics.name_evidence import without_tags
from tasks.metrics.number_words import MOST_WORDS, is_multiplier, may_continue, read_number
from tasks.metrics.word_forms import fold, word_set

Value = float | tuple[str, int]
"""A number, or ("time", minutes after midnight or noon)."""
_TOKEN = re.compile(
    r"(?<![A-Za-z\d])(?:(?P<grouped>\d{1,3}(?:(?P<separator>[.,'’ ])\d{3})(?:(?P=separator)\d{3})*"
    r"(?P<cents>[.,]\d{1,2})?(?!\d|[.,:]\d))"
    r"|(?P<indian>\d{1,2}(?:,\d{2})+,\d{3}(?!\d))|(?P<time>\d{1,2}[:.hH]\d{2}(?!\d|[.,:]\d))"
    r"|(?P<decimal>\d+[.,٫]\d+(?!\d|[.,:]\d))|(?P<whole>\d+))|(?P<word>[^\W\d_]+)"
)
_CLOCK = word_set("uhr h am pm m oclock o часов часа час ч klo kello saat heures heure horas uur godz ore")
"""Words before or after the hour of a time of day, in which 15 and 3 are the same."""
MOST_TRIVIAL = 2
"""Numbers up to this are not judged: `two friends` and `both` count what the dialogue does not count."""
_NEAR = 14
"""Characters between the two numbers of `a quarter to four`."""
_LEAST_DIGITS_OF_CODE = 4
"""A telephone number may be grouped in any way, but its digits are those of the dialogue, in their order."""


@dataclass(frozen=True)
class Number:
    """A number in a text."""

    text: str
    start: int
    end: int
    values: frozenset[Value]

    @property
    def says_little(self) -> bool:
        """Whether it is at most MOST_TRIVIAL, in every reading."""
        return all(isinstance(value, float) and value <= MOST_TRIVIAL for value in self.values)


def invented_numbers(summary: str, dialogue: str, language: str | None) -> list[str]:
    """The numbers of a summary, as it writes them, that the dialogue does not have.

    language: that of the number words (`number_words.number_language`); None reads digits alone. Sums and products of
    numbers of the dialogue count as not in it: in DialogSum they are in 1 of 1000 references, and would excuse one in
    five wrong numbers.
    """
    found = numbers(summary, language)
    if not found:
        return []
    values, digits = _said(dialogue, language)
    wrong = []
    for i, number in enumerate(found):
        allowed = set(number.values)
        for neighbour in found[max(i - 1, 0) : i + 2]:
            if neighbour is not number:
                allowed |= _together(*sorted((number, neighbour), key=lambda each: each.start))
        code = re.sub(r"\D", "", number.text)
        in_code = len(code) >= _LEAST_DIGITS_OF_CODE and code in digits
        if not number.says_little and not in_code and not allowed & values:
            wrong.append(number.text)
    return wrong


def numbers(text: str, language: str | None, every: bool = False) -> list[Number]:
    """Every number of a text, in order. every: also Chinese numerals that may be a part of another word."""
    text = re.sub("[，、]", " , ", without_tags(text))
    text = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in unicodedata.normalize("NFKC", text))
    text = in_digits(text, every)
    tokens = list(_TOKEN.finditer(text))
    found, i = [], 0
    while i < len(tokens):
        token, used = tokens[i], 1
        values: set[Value] = set()
        if token.lastgroup != "word" and token["word"] is None:
            values, multiplied = _digits(token), None
            if language and i + 1 < len(tokens) and tokens[i + 1]["word"] and tokens[i + 1].start() - token.end() <= 1:
                multiplied = read_number(("1", tokens[i + 1][0]), language)
            if multiplied:
                values |= {value * multiplied for value in values if isinstance(value, float)}
                used = 2
        elif language and (read := _longest(tokens, i, text, language)):
            value, used = read
            values = {value}
        if values:
            end = tokens[i + used - 1].end()
            beside = [fold(each[0]) for each in tokens[max(i - 1, 0) : i] + tokens[i + used : i + used + 1]]
            if _CLOCK & {*beside}:
                values |= {("time", int(value) % 12 * 60) for value in values if isinstance(value, float)}
            found.append(Number(text[token.start() : end], token.start(), end, frozenset(values)))
        i += used
    return found


def _digits(token: re.Match[str]) -> set[Value]:
    """The readings of digits: `3.500` is 3500 or 3.5, `15.30` a time or a number."""
    text, values = token[0], set[Value]()
    if token["grouped"] or token["indian"]:
        cents = token["cents"] or ""
        whole = re.sub(r"\D", "", text.removesuffix(cents))
        values.add(float(f"{whole}.{cents[1:] or 0}"))
    if token["time"]:
        hours, minutes = map(int, re.split(r"[:.hH]", text))
        if hours <= 24 and minutes < 60:
            values.add(("time", hours % 12 * 60 + minutes))
    if parts := re.fullmatch(r"(\d+)[.,٫](\d+)", text):
        values.add(float(f"{parts[1]}.{parts[2]}"))
    if text.isdecimal():
        values.add(float(text))
    return values


def _longest(tokens: list[re.Match[str]], i: int, text: str, language: str) -> tuple[float, int] | None:
    """The number that the most words from token i on make, and how many words these are."""
    words, best = list[str](), None
    for j in range(i, min(i + MOST_WORDS, len(tokens))):
        gap = text[tokens[j - 1].end() : tokens[j].start()] if j > i else " "
        comma = "," if words and is_multiplier(words[-1], language) else ""
        if tokens[j]["word"] is None or not re.fullmatch(rf"[\s{comma}'’ʼ\u2010\u2011-]{{1,2}}", gap):
            break
        words.append(tokens[j][0])
        if not may_continue(words, language):
            break
        if (value := read_number(tuple(words), language)) is not None:
            best = value, len(words)
    return best


def _together(first: Number, second: Number) -> set[Value]:
    """What two numbers that stand together may say: `half past three`, `ten to four`, `nineteen ninety`, `2 1/2`."""
    if second.start - first.end > _NEAR:
        return set()
    values = set[Value]()
    for a, b in ((first, second), (second, first)):
        for x in (value for value in a.values if isinstance(value, float)):
            for y in (value for value in b.values if isinstance(value, float)):
                minutes = x * 60 if x < 1 else x
                if 1 <= y <= 24 and 0 < minutes < 60:
                    values |= {("time", int(y % 12 * 60 + minutes)), ("time", int((y * 60 - minutes) % 720))}
                if x < 1:
                    values |= {y + x, y - x, y - 1, y * x, ("time", int((y - 1) % 12 * 60 + minutes))}
                elif a is first and y < 100 and x.is_integer():
                    values |= {x * 100 + y, x * 10 ** len(f"{y:g}") + y, x + y / 100}
    return values


@lru_cache(maxsize=1 << 13)
def _said(dialogue: str, language: str | None) -> tuple[frozenset[Value], str]:
    """Every value that a dialogue allows, and its digits in a row."""
    found = numbers(dialogue, language, every=True)
    values = {value for number in found for value in number.values}
    for first, second in pairwise(found):
        values |= _together(first, second)
    plain = {value for value in values if isinstance(value, float)}
    values |= {("time", int(value) % 12 * 60) for value in plain if 1 <= value <= 24}
    clock = [divmod(value[1], 60) for value in values if isinstance(value, tuple)]
    values |= {float(hour or 12) for hour, _ in clock} | {float(minute) for _, minute in clock}
    values |= {value % 100 for value in plain if 1900 <= value < 2100} | {value * 100 for value in plain if value < 1}
    digits = [re.sub(r"\D", "", number.text) or f"{max(map(_plain, number.values)):.0f}" for number in found]
    return frozenset(values), "".join(digits)


def _plain(value: Value) -> float:
    return value if isinstance(value, float) else 0.0
