"""Text that is not UTF-8: the error names the encoding that it may have."""

import codecs

from charset_normalizer import from_bytes

MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
"""Byte order mark -> encoding; that of UTF-32 begins like that of UTF-16."""
SAMPLE_BYTES = 1 << 16


def not_utf8(what: str, content: bytes) -> str:
    """The error for bytes that are not UTF-8. `what` is the file, or the place in it."""
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), None)
    if encoding is not None:
        return f"{what} is {encoding}, not UTF-8 (it begins with a byte order mark): save it as UTF-8"
    guess = from_bytes(content[:SAMPLE_BYTES]).best()
    name = guess.encoding.replace("_", "-") if guess is not None and guess.encoding != "utf_8" else None
    return f"{what} is not UTF-8{f' but perhaps {name}' if name else ''}: save it as UTF-8"
