"""The page at `/`: paste a dialogue, choose prompt and model, and read its summary beside that of the base model."""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from flows.inference.prompt_library import EXAMPLE_DIALOGUE, prompt_rows
from tasks.reporting import artifact_page

FOLDER = Path(__file__).resolve().parent
REPORT_CSS = Path(artifact_page.__file__).resolve().parent / "report.css"
PAGES = Environment(
    loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=True
)


def render_page(adapters: Sequence[str], needs_token: bool) -> tuple[str, str]:
    """The HTML, and its content security policy, which allows this style and script and requests to this server."""
    style, script = _assets()
    html = PAGES.get_template("page.html.j2").render(
        style=Markup(style),  # noqa: S704  # our own files
        script=Markup(script),  # noqa: S704
        names=["champion", "latest", *(name for name in adapters if name.startswith("train-"))],
        prompts=prompt_rows(),
        needs_token=needs_token,
        example=EXAMPLE_DIALOGUE,
    )
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html, policy


@cache
def _assets() -> tuple[str, str]:
    """Style and script. The colours and the layout are those of the report."""
    style = REPORT_CSS.read_text(encoding="utf-8") + (FOLDER / "page.css").read_text(encoding="utf-8")
    return style, (FOLDER / "page.js").read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
