"""Renders a report as one HTML file and its first screen as Markdown."""

import base64
import hashlib
from dataclasses import fields
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from tasks.metrics.percentages import percent, probability
from tasks.reporting.escaping import escape_markdown, visible
from tasks.reporting.page import ReportPage

TEMPLATES = Path(__file__).resolve().parent
FILES = ("report.html", "report.md")


def render(page: ReportPage) -> dict[str, str]:
    """File name -> content.

    Dialogues and summaries are untrusted text: Jinja2 escapes them in HTML, `escape_markdown` in Markdown.
    """
    values = {field.name: getattr(page, field.name) for field in fields(page)} | inline_script("report.js")
    templates = environment()
    return {name: templates.get_template(f"{name}.j2").render(values) for name in FILES}


def environment() -> Environment:
    """The templates of this folder, with the filters that they use; those of HTML escape every value."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=select_autoescape(["html.j2"]),
    )
    filters = (escape_markdown, visible, percent, probability)
    templates.filters |= {function.__name__: function for function in filters}
    return templates


def inline_script(name: str) -> dict[str, str]:
    """`script`: a script of this folder; `script_hash`: its sha256 in Base64, by which a page's policy allows it."""
    script = Markup((TEMPLATES / name).read_text())  # noqa: S704  # our own file
    digest = hashlib.sha256(script.encode()).digest()
    return {"script": script, "script_hash": base64.b64encode(digest).decode()}
