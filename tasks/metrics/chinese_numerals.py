"""Chinese numerals as digits: 三点半 is 3:30, 二百五十 is 250."""

import re

_DIGITS = {digit: value for value, digit in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "兩": 2}
_UNITS = {"十": 10, "百": 100, "千": 1000}
_GROUPS = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_RUN = re.compile(f"[{''.join([*_DIGITS, *_UNITS, *_GROUPS])}]+")
_MEASURES = frozenset("点點時时号號日月年元块塊岁歲折个個名位本张張次周天人件杯份%％度公楼層层")
"""What a single numeral is counted with; without it 一 is in many words that are no numbers, such as 一起."""
_HALF_PAST = re.compile("(\\d{1,2})[点點時时]半")
_CLOCK_TIME = re.compile("(\\d{1,2})[点點時时](\\d{1,2})分?")


def in_digits(text: str, every: bool) -> str:
    """A text with its numerals in digits. every: also single ones without a measure word behind them."""

    def convert(match: re.Match[str]) -> str:
        value = _value(match[0])
        follows = text[match.end() : match.end() + 1]
        if value is None or (len(match[0]) == 1 and not every and follows not in _MEASURES):
            return match[0]
        return str(value)

    text = _RUN.sub(convert, text)
    return _CLOCK_TIME.sub(lambda m: f"{m[1]}:{int(m[2]):02}", _HALF_PAST.sub(r"\1:30", text))


def _value(run: str) -> int | None:
    """The number; None for 万一 and other words of numerals that are none."""
    if all(character in _DIGITS for character in run):
        return int("".join(str(_DIGITS[character]) for character in run))
    if run[0] not in _DIGITS and run[0] != "十":
        return None
    total, group, digit = 0, 0, 0
    for character in run:
        if character in _DIGITS:
            digit = _DIGITS[character]
        elif character in _UNITS:
            group += (digit or 1) * _UNITS[character]
            digit = 0
        else:
            total += (group + digit) * _GROUPS[character]
            group = digit = 0
    return total + group + digit
