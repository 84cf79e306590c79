"""Links in texts of the Prefect UI: from an artifact id to the artifact's page, from a report to where it is served."""

import os
import re
from collections.abc import Container

from artifacts.artifact_path import STAGE_NUMBERS
from tasks.reporting.escaping import escape_markdown

REPORTS_URL = "DIALOGSUM_REPORTS_URL"
"""Environment variable: the URL at which the station serves the store's reports (flows/station/report_server.py)."""
_STAGES = "|".join(STAGE_NUMBERS)
_ID = re.compile(rf"(?<![\w-])(?:{_STAGES})-[0-9a-f]{{8}}(?![\w-])")
_CODE_ID = re.compile(rf"`((?:{_STAGES})-[0-9a-f]{{8}})`")
_ESCAPED_ID = re.compile(rf"(?<![\w\\-])({_STAGES})\\-([0-9a-f]{{8}})(?!\w)")


def ids_in(text: str) -> set[str]:
    """The artifact ids in a text."""
    return set(_ID.findall(text))


def artifact_link(artifact: str) -> str:
    """Markdown link to the page of an artifact.

    Relative, so that it works in both of Prefect's UIs, below `/` and `/v2`, on the pages of artifacts and of runs.
    """
    return f"[{artifact}](../../artifacts/key/{artifact})"


def link_ids(markdown: str, known: Container[str]) -> str:
    """Markdown in which ids that are formatted as code, `` `train-1a2b3c4d` ``, become links if they are `known`."""
    return _CODE_ID.sub(lambda match: artifact_link(match[1]) if match[1] in known else match[0], markdown)


def escape_and_link(text: str, known: Container[str]) -> str:
    """Text escaped for Markdown, on one line; ids in it become links if they are `known`."""

    def linked_id(match: re.Match[str]) -> str:
        artifact = f"{match[1]}-{match[2]}"
        return artifact_link(artifact) if artifact in known else match[0]

    return _ESCAPED_ID.sub(linked_id, escape_markdown(text))


def report_url(report: str) -> str | None:
    """URL of a report artifact, or None if no station serves the reports."""
    url = os.environ.get(REPORTS_URL)
    return f"{url.rstrip('/')}/report/{report}" if url else None
