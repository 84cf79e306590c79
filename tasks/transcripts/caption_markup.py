"""Words of a caption without its markup: voices, classes, colours, entities. What is no tag of a caption is words."""

import html
import re

_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?[ \t]+([^<>]+)>")
_TAG = re.compile(
    r"</?(?:c|i|b|u|s|ruby|rt)(?:\.[^\s<>]*)?>|</?(?:v|lang)(?:\.[^\s<>]*)?(?:[ \t][^<>]*)?>"
    r"|</?(?:font|span|p|div|br|em|strong)(?:\s+[\w:-]+\s*=[^<>]*)?\s*/?>|<(?:\d+:)*\d+[.,]\d+>|\{\\[^{}]*\}",
    re.IGNORECASE,
)


def without_markup(text: str) -> str:
    """`<c.red>Tom</c> &amp; <inaudible>` -> `Tom & <inaudible>`."""
    return html.unescape(_TAG.sub("", text)).strip()


def voices(line: str) -> list[tuple[str | None, str]]:
    """`<v Ann>Hi.</v> <v Bob>Hello.` -> one pair of voice and words each; words before the first have no voice."""
    leading, *rest = _VOICE.split(line)
    pairs: list[tuple[str | None, str]] = [
        (html.unescape(voice).strip(), without_markup(words))
        for voice, words in zip(rest[::2], rest[1::2], strict=True)
    ]
    words = without_markup(leading)
    return pairs if pairs and not words.strip("-–—•> ") else [(None, words), *pairs]
