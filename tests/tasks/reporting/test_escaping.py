"""Text of users in a report is text and nothing else, in HTML and in Markdown."""

import base64
import hashlib
import re
from collections import Counter
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from artifacts.artifact_store import Store
from tests.support.artifacts import ArtifactFactory
from tests.support.hostile_texts import HOSTILE_TEXTS, PRINTABLE
from tests.support.paths import ROOT
from tests.support.reports import (
    FOREIGN_ELEMENTS,
    HISTORY,
    Page,
    ReportBuilder,
    hostile_report,
    html_page,
    structure,
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Reports of all hostile texts, three in each: as many as the Markdown shows of those that regressed."""
    folder = tmp_path_factory.mktemp("hostile")
    report_builder = ReportBuilder(ArtifactFactory(folder, Store(folder / "store")), [])
    return [hostile_report(report_builder, HOSTILE_TEXTS[i : i + 3]) for i in range(0, len(HOSTILE_TEXTS), 3)]


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The same report with three harmless texts."""
    folder = tmp_path_factory.mktemp("harmless")
    return html_page(
        hostile_report(
            ReportBuilder(ArtifactFactory(folder, Store(folder / "store")), []),
            ("one word", "two words", "three words"),
        )
    )


def test_hostile_text_makes_no_element_and_no_attribute(hostile: list[Path], harmless: Page) -> None:
    """The page has the same elements and attributes as that of harmless texts: no handler, address or form more."""
    assert harmless.unbalanced == []
    for page in map(html_page, hostile[:-1]):  # the last has fewer texts
        assert structure(page) == structure(harmless)
    for page in map(html_page, hostile):
        assert page.unbalanced == []
        tags = Counter(tag for tag, _ in page.tags)
        assert not tags.keys() & FOREIGN_ELEMENTS
        assert (tags["form"], tags["input"], tags["select"], tags["button"], tags["script"]) == (1, 1, 1, 1, 1)
        for tag, attributes in page.tags:
            handlers = {name for name in attributes if name.startswith("on")}
            assert not handlers | ({"src", "action", "srcdoc", "autofocus", "formaction"} & set(attributes))
            addresses = [value for name, value in attributes.items() if name.endswith("href")]
            assert all(tag in ("a", "use") and value.startswith("#") for value in addresses)


def test_the_only_script_is_ours_and_its_hash_is_in_the_policy(hostile: list[Path]) -> None:
    """The script equals tasks/reporting/report.js; the policy forbids every other script and every request."""
    for page in map(html_page, hostile):
        (script,) = page.texts("script")
        assert script == (ROOT / "tasks" / "reporting" / "report.js").read_text()
        (policy,) = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
        values = [(name, value) for _, attributes in page.tags for name, value in attributes.items() if "//" in value]
        labels = {"aria-label", "content"}
        assert all(name.startswith("xmlns") or name == "rdf:resource" or name in labels for name, _ in values)
        assert not re.search(r"//|@import|url\(\s*['\"]?[^#'\")]", "".join(page.texts("style")))


def test_hostile_text_is_shown_as_it_is(hostile: list[Path]) -> None:
    """Escaping loses nothing and evaluates nothing: the page shows each text as its author wrote it."""
    pages = [html_page(folder) for folder in hostile]
    shown = {text for page in pages for tag in ("pre", "dd", "li", "th", "td") for text in page.texts(tag)}
    assert len(PRINTABLE) == len(HOSTILE_TEXTS) - 2
    for text in PRINTABLE:
        assert {text, f"b {text}", f"c {text}", f"tuned {text}"} <= shown
        assert text.strip().casefold() in shown  # the name of a slice
    for page, texts in zip(pages, (HOSTILE_TEXTS[i : i + 3] for i in range(0, len(HOSTILE_TEXTS), 3)), strict=True):
        if texts[0] in PRINTABLE and texts[-1] in PRINTABLE:
            assert page.texts("title") == [f"Summaries of data {texts[-1]} by model {texts[0]}"]
    assert {HISTORY[0].recipe, HISTORY[0].data} <= shown
    assert not [text for text in shown if re.match(r"(tuned |b |c )?49 ", text)]


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_control_characters_are_made_visible(hostile: list[Path], name: str) -> None:
    """NUL, escape codes and direction overrides cannot act on a terminal or turn a line around."""
    text = "".join((folder / name).read_text(encoding="utf-8") for folder in hostile)
    assert not re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert "nul \u2400 escape \u241b" in text
    assert "\U0001f468\u200d\U0001f469\u200d\U0001f467" in text


def test_hostile_text_is_dead_in_markdown(hostile: list[Path]) -> None:
    """CommonMark with tables and strikethrough renders only our own elements, and shows the texts in full."""
    markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    ours = {"h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "code", "strong"}
    items = []
    for folder in hostile:
        source = (folder / "report.md").read_text(encoding="utf-8")
        assert not re.search(r"<|(?<!\\)\[", source)  # nor for a dialect that reads more into them
        tokens = [child for token in markdown.parse(source) for child in (token, *(token.children or []))]
        assert not {token.type for token in tokens} & {"html_block", "html_inline", "link_open", "image", "fence"}
        page = Page(markdown.render(source))
        assert {tag for tag, _ in page.tags} <= ours
        assert not any(attributes for _, attributes in page.tags)
        assert page.texts("h2") == [
            "Facts and errors",
            "What changed in the data",
            "Regressed most",
            "Others",
            "Artifacts",
        ]
        assert len(page.texts("table")) == 3
        items += page.texts("li")
    for text in PRINTABLE:
        assert f"reference: {' '.join(text.split())}" in items
