"""Links in the texts of the Prefect UI: from an artifact id to the page of the artifact, from a report to where it is served."""

import os
import re
from collections.abc import Container

from artifacts.artifact_store import NUMBERS
from tasks.reporting.escaping import plain

REPORTS_URL = "DIALOGSUM_REPORTS_URL"
"""Environment variable: the address at which the station serves the reports of the store (flows/station/report_server.py)."""
_STAGES = "|".join(NUMBERS)
_ID = re.compile(rf"(?<![\w-])(?:{_STAGES})-[0-9a-f]{{8}}(?![\w-])")
_CODE = re.compile(rf"`((?:{_STAGES})-[0-9a-f]{{8}})`")
_ESCAPED = re.compile(rf"(?<![\w\\-])({_STAGES})\\-([0-9a-f]{{8}})(?!\w)")


def ids_in(text: str) -> set[str]:
    """The artifact ids in a text."""
    return set(_ID.findall(text))


def link(artifact: str) -> str:
    """Markdown link to the page of an artifact.

    Relative, so that it holds in both of Prefect's UIs, below `/` and `/v2`, on the pages of artifacts and of runs.
    """
    return f"[{artifact}](../../artifacts/key/{artifact})"


def linked(markdown: str, known: Container[str]) -> str:
    """Markdown in which ids that stand as code, `` `train-1a2b3c4d` ``, are links where such an artifact has a page."""
    return _CODE.sub(lambda found: link(found[1]) if found[1] in known else found[0], markdown)


def plain_linked(text: str, known: Container[str]) -> str:
    """Text as Markdown that shows it as it is, on one line, with its ids as links where such an artifact has a page."""

    def linked_id(found: re.Match[str]) -> str:
        artifact = f"{found[1]}-{found[2]}"
        return link(artifact) if artifact in known else found[0]

    return _ESCAPED.sub(linked_id, plain(text))


def served(report: str) -> str | None:
    """URL of a report artifact, or None where no station serves the reports."""
    url = os.environ.get(REPORTS_URL)
    return f"{url.rstrip('/')}/report/{report}" if url else None
