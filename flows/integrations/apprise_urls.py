"""Apprise URLs, which name the service and the address of announcements: `mailto://…`, `slack://…`, `workflows://…`."""

import logging
import os
from collections.abc import Sequence

from apprise import Apprise, NotifyBase, NotifyFormat

from artifacts.errors import RequestError
from artifacts.text import one_line

URLS = "DIALOGSUM_NOTIFY"
"""Environment variable: Apprise URLs, separated by spaces, instead of `--notify`."""
NONE = "none"
"""In place of URLs: send no announcements any more."""


def requested_urls(options: Sequence[str]) -> list[str] | None:
    """URLs from the options, otherwise from the environment; None if neither has any. RequestError if one is wrong.

    No message contains a URL: it may hold a password.
    """
    urls = list(options) or os.environ.get(URLS, "").split()
    if NONE in urls and len(urls) > 1:
        raise RequestError(f"--notify {NONE} ends all announcements: give either {NONE} or URLs")
    for url in urls:
        if url != NONE and service(url) is None:
            scheme = one_line(url.partition("://")[0], 20) if "://" in url else "no scheme"
            raise RequestError(
                f"--notify: Apprise does not know this URL ({scheme}): expected one such as "
                "mailto://USER:PASSWORD@HOST, slack://TOKENS, workflows://… or, for an HTTP server of your own, "
                "jsons://HOST/PATH; https://appriseit.com/services has all"
            )
    return urls or None


def service(url: str) -> str | None:
    """What a URL sends to, without credentials: `Slack`, `E-Mail`; None if Apprise does not know it."""
    plugin = _plugin(url)
    return str(plugin.service_name) if plugin else None


def in_plain_text(url: str) -> str:
    """The URL for messages in plain text: mail and others would take them for HTML, without line ends and `<words>`."""
    plugin = _plugin(url)
    if plugin is None or plugin.notify_format != NotifyFormat.HTML:
        return url
    return f"{url}{'&' if '?' in url else '?'}format={NotifyFormat.TEXT.value}"


def _plugin(url: str) -> NotifyBase | None:
    log = logging.getLogger("apprise")
    was, log.disabled = log.disabled, True  # or Apprise logs a URL that it does not know, with its password
    try:
        plugin = Apprise.instantiate(url, suppress_exceptions=True)
    finally:
        log.disabled = was
    return plugin if isinstance(plugin, NotifyBase) else None
