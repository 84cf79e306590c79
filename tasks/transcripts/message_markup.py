"""Words of a message without the markup of its program: HTML, Slack's mentions and links, Discord's mentions."""

import html
import re
from collections.abc import Mapping

_HTML = re.compile(
    r"\s*<(?:p|div|span|br|at|html|body|ul|ol|table|blockquote|h\d|b|i|strong|em)(?:\s[^<>]*)?/?>.*", re.DOTALL
)
_BREAK = re.compile(r"<(?:br|/p|/div|/li|/tr|/h\d)\s*/?>", re.IGNORECASE)
_HIDDEN = re.compile(r"</?(?:style|script|head)(?:\s[^<>]*)?>|<!--|-->", re.IGNORECASE)
"""Where words that are not shown begin and end."""
_ALTERNATIVE = re.compile(r"<(?:img|emoji)\b[^<>]*?\balt=[\"']([^\"']*)[\"'][^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_SLACK = re.compile(r"<([@#!]|(?:https?|mailto|tel):)([^<>|]*)(?:\|([^<>]*))?>")
_DISCORD = re.compile(r"<a?(:\w+:)\d+>|<(?:@[!&]?|#)(\d+)>")


def is_html(text: str) -> bool:
    """Whether a text begins with a tag and ends it."""
    return _HTML.fullmatch(text) is not None and ("</" in text or "/>" in text or "<br" in text)


def without_html(text: str) -> str:
    """The words of HTML; paragraphs end in a line feed, pictures of emoji become the emoji."""
    text = _ALTERNATIVE.sub(r"\1", _shown(text))
    return html.unescape(_TAG.sub("", _BREAK.sub("\n", text))).replace("\xa0", " ").strip()


def _shown(text: str) -> str:
    """HTML without style sheets, scripts and comments, in one pass; one that never ends is shown."""
    parts, start, hidden = [], 0, False
    for mark in _HIDDEN.finditer(text):
        if not hidden:
            parts.append(text[start : mark.start()])
        hidden = not mark[0].startswith(("</", "--"))
        start = mark.end()
    return "".join([*parts, text[start:]])


def without_slack_markup(text: str, names: Mapping[str, str]) -> str:
    """`<@U2> &amp; <https://a.b|the page>` -> `@Bob & the page (https://a.b)`."""

    def words(match: re.Match[str]) -> str:
        kind, target, label = match[1], match[2], match[3]
        if kind == "@":
            return f"@{names.get(target) or (label or target).lstrip('@')}"
        if kind == "#":
            return f"#{(label or target).lstrip('#')}"
        if kind == "!":
            return label or f"@{target.split('^')[0]}"
        address = f"{kind}{target}"
        bare = target if kind in ("mailto:", "tel:") else address
        return bare if label in (None, "", address, target) else f"{label} ({bare})"

    return html.unescape(_SLACK.sub(words, text))


def without_discord_markup(text: str, names: Mapping[str, str]) -> str:
    """`<:wave:123> <@42>` -> `:wave: @Bob`."""
    return _DISCORD.sub(lambda match: match[1] or f"@{names.get(match[2], match[2])}", text)
