"""Patterns of dates, times and ranges of times as programs write them before or after a speaker's name."""

_BEFORE = "午前|午後|上午|下午|凌晨|早上|中午|晚上|오전|오후"
_AFTER = (
    r"[AaPp]\.?\s?[Mm]\b\.?|[Πμπμ]\.\s?μ\.|ÖÖ|ÖS|[صم](?!\w)|π\.μ\.|μ\.μ\.|पूर्वाह्न|अपराह्न|"
    r"SA\b|CH\b|[Uu]hr\b|ч\.|น\."
)
_MONTH = r"[^\W\d_]{3,10}"
_ISO_DATE_TIME = r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2})?(?:[.,]\d+)?(?:Z|[+-]\d{2}:?\d{2})?"
DATE = (
    r"(?:\d{1,2}-[^\W\d_]{3}\.?-\d{2,4}|\d{1,4}[./-]\s?\d{1,2}[./-]\s?\d{1,4}\.?(?:\s?г\.?)?"
    r"|\d{4}\s?[年년]\s?\d{1,2}\s?[月월]\s?\d{1,2}\s?[日일]"
    rf"|(?:{_MONTH},?\s)?{_MONTH}\.?\s\d{{1,2}},?\s\d{{4}}"
    rf"|(?:{_MONTH},?\s)?\d{{1,2}}\.?\s(?:de\s)?{_MONTH}\.?,?\s(?:de\s)?\d{{4}}"
    r"|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b"
    r"|(?:Mon|Diens|Donners|Frei|Sams|Sonn)tag|Mittwoch|[Ll]undi|[Mm]ardi|[Mm]ercredi|[Jj]eudi|[Vv]endredi"
    r"|[Tt]oday|[Yy]esterday|[Hh]eute|[Gg]estern|[Aa]ujourd[’']hui|[Hh]ier|[Hh]oy|[Aa]yer)"
)
"""In numbers with dots, slashes or hyphens, with the name of a month, or a word such as `Today`."""
CLOCK = (
    rf"(?:(?:{_BEFORE})\s?)?(?:\d{{1,3}}:\d{{2}}(?::\d{{2}})?|\d{{1,2}}:\d{{1,2}}:\d{{1,2}})(?:[.,]\d{{1,6}})?(?!\d)"
    rf"(?:\s?(?:{_AFTER}))?(?:\s(?:UTC|GMT|[A-Z]{{1,3}}T))?"
)
"""Hours and minutes, or minutes and seconds, with fractions, meridiem and time zone."""
_DAY = (
    rf"(?:(?:{_BEFORE})\s?)?\d{{1,2}}[:.]\d{{2}}(?:[:.]\d{{2}})?(?:[.,]\d{{1,6}})?"
    rf"(?:\s?(?:{_AFTER}))?(?:\s(?:UTC|GMT))?"
)
_MOMENT = rf"(?:{_ISO_DATE_TIME}|{DATE},?\s+(?:at\s|um\s|à\s|kl\.?\s|[-–—]\s)?{_DAY}|{CLOCK},?\s{DATE}|{CLOCK})"
_ARROW = r"\s*(?:-{1,2}>|→|–|—|-|\bto\b)\s*"
_SECONDS = r"\d+(?:\.\d+)?\s?s(?:ec)?"
STAMP = (
    rf"(?:\[(?:{_MOMENT}(?:{_ARROW}{_MOMENT})?|{_SECONDS}(?:{_ARROW}{_SECONDS})?|\d+\.\d+(?:{_ARROW}\d+\.\d+)?)\]"
    rf"|\((?:{_MOMENT}(?:{_ARROW}{_MOMENT})?|{_SECONDS})\)"
    rf"|{_MOMENT}(?:{_ARROW}{_MOMENT}(?!\w))?)"
)
"""A moment or a range, in brackets or not."""
CUE_TIME = r"(?:\d+:){1,3}\d{1,2}(?:[.,]\d{1,6})?"
"""A time of captions, however many digits a program writes."""
