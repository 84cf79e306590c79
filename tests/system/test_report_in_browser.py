"""The report in a real browser without a network: it opens, filters, runs no foreign code, and is accessible."""

import shutil
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from artifacts.artifact_store import Store
from artifacts.manifest import Provenance
from flows.station.report_server import application
from tests.support.artifacts import ArtifactFactory
from tests.support.browsers import LUMINANCE, contrast, needs_browser, requested, set_window
from tests.support.hostile_texts import HOSTILE_TEXTS
from tests.support.reports import HISTORY, ReportBuilder, hostile_report, sample_report_builder
from tests.support.servers import free_ports, until

pytestmark = needs_browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`full`: champion, decision, three seeds, history, slices, changed data, every flag; `hostile…`: hostile texts."""
    folder = tmp_path_factory.mktemp("pages")
    return {"full": full_report(folder / "full"), **hostile_reports(folder)}


def full_report(folder: Path) -> Path:
    """12 of 24 dialogues improve and 6 regress; test_3 is cut, test_5 empty, test_7 names a stranger."""
    report_builder = sample_report_builder(folder, Store(folder / "store"))
    good, poor = report_builder.references(), report_builder.constant()
    for i, row in enumerate(report_builder.rows):
        row["topics"] = ["travel" if i % 2 else "work", "daily life"]
    report_builder.cut, report_builder.history = {3}, HISTORY
    tuned = [good[i] if i % 2 == 0 else poor[i] for i in range(24)]
    champion = [good[i] if i % 4 == 3 else poor[i] for i in range(24)]
    tuned[5], tuned[7] = "", "#Person9# talks to Zebulon."
    inputs = report_builder.inputs(poor, tuned, gate={}, champion=champion)
    headline = inputs["scores"].manifest.facts["headline"]["tuned"]
    for seed, off in ((1, -0.8), (2, 0.5)):
        other = {kind: value + off for kind, value in headline.items()}
        inputs[f"seed_{seed}"] = report_builder.with_provenance(inputs["scores"], {}, headline={"tuned": other})
    rows = report_builder.rows
    earlier = [rows[0] | {"references": ["Other words."]}, *rows[3:]]
    return report_builder.render(report_builder.with_training_rows(inputs, rows, earlier))[0] / "report.html"


def hostile_reports(folder: Path) -> dict[str, Path]:
    report_builder = ReportBuilder(ArtifactFactory(folder / "hostile", Store(folder / "hostile" / "store")), [])
    texts = [text for text in HOSTILE_TEXTS if len(text) < 1000]
    return {
        f"hostile{i}": hostile_report(report_builder, tuple(texts[i : i + 5])) / "report.html"
        for i in range(0, len(texts), 5)
    }


@pytest.fixture
def visit(browser: Any, pages: dict[str, Path]) -> Callable[..., list[str]]:
    """Opens a page in a window of this width and in light or dark; returns the addresses that were asked for."""

    def open_page(name: str, width: int = 1200, scheme: str = "light", media: str = "") -> list[str]:
        set_window(browser, width, scheme, media)
        browser.get_log("performance")
        browser.get_log("browser")
        browser.get(pages[name].as_uri())
        return requested(browser)

    return open_page


ALL = ["full", "hostile0", "hostile5", "hostile10"]


@pytest.mark.parametrize("name", ALL)
def test_page_opens_from_disk_asks_for_nothing_and_complains_of_nothing(
    browser: Any, visit: Any, pages: Any, name: str
) -> None:
    """The file is the only request and the console stays empty: our script has its hash, no style is refused."""
    assert visit(name) == [pages[name].as_uri()]
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.getElementById('filter').hidden") is False


@pytest.mark.parametrize("name", ALL[1:])
def test_no_hostile_text_runs_or_becomes_an_element(browser: Any, visit: Any, name: str) -> None:
    """No canary is hit, no dialog opens, also once everything is open and focused; what the texts name is not there."""
    visit(name)
    browser.execute_script(
        "document.querySelectorAll('details').forEach((d) => { d.open = true; });"
        "document.querySelectorAll('*').forEach((e) => { e.focus?.(); e.dispatchEvent(new Event('mouseover')); });"
    )
    assert browser.execute_script("return typeof window.__hit") == "undefined"
    with pytest.raises(Exception, match="no such alert"):
        _ = browser.switch_to.alert.text
    foreign_elements = (
        "img, iframe, b, body script ~ *, svg[onload], [onerror], [onmouseover], [onfocus], [autofocus], main a, "
        "script[src]"
    )
    assert browser.execute_script("return document.querySelectorAll(arguments[0]).length", foreign_elements) == 0
    assert browser.execute_script("return document.scripts.length") == 1


VISIBLE = """
return [...document.querySelectorAll('.example')].filter((e) => e.checkVisibility())
    .map((e) => e.querySelector('h4').textContent.split(' ')[0]).sort();
"""


def choose(browser: Any, words: str = "", flag: str = "") -> set[str]:
    """Search and filter as a reader does; the ids that are shown then, which the page counts as well."""
    browser.find_element("css selector", "#filter button").click()
    browser.execute_async_script("setTimeout(arguments[0])")  # the form is reset after its event
    browser.find_element("css selector", "#filter input").send_keys(words)
    choice = browser.find_element("css selector", "#filter select")
    label = browser.execute_script(
        "return [...arguments[0].options].find((o) => o.value === arguments[1]).text", choice, flag
    )
    choice.send_keys(label)
    shown = browser.execute_script(VISIBLE)
    assert browser.find_element("id", "count").text == f"{len(shown)} of 24 dialogues"
    return set(shown)


def test_search_and_filters_show_exactly_what_they_say(browser: Any, visit: Any) -> None:
    """By construction: which were cut, are empty, name a stranger, moved; words of one dialogue; then all again."""
    visit("full")
    everything = {f"test_{i}" for i in range(24)}
    assert choose(browser) == everything
    assert choose(browser, flag="limit") == {"test_3"}
    assert choose(browser, flag="empty") == {"test_5"}
    assert "test_7" in choose(browser, flag="new-name")
    assert choose(browser, flag="regressed") >= {f"test_{i}" for i in (3, 7, 11, 15, 19, 23)}
    assert choose(browser, flag="improved") == {f"test_{i}" for i in range(0, 24, 2)}
    assert choose(browser, "zebulon") == choose(browser, " TALKS  Zebu ") == {"test_7"}
    assert choose(browser, "zebulon", "limit") == choose(browser, "champion tuned") == set()
    assert (
        browser.execute_script(
            "return [...document.querySelectorAll('.group')].filter((g) => g.checkVisibility()).length"
        )
        == 0
    )
    assert choose(browser) == everything


def test_the_served_report_works_under_the_policy_of_its_server(
    browser: Any, pages: dict[str, Path], store: Store, tmp_path: Path
) -> None:
    """In a sandbox with its own origin: its script runs, the search works, also by Enter; the console stays empty."""
    from selenium.webdriver.common.keys import Keys

    out = tmp_path / "out"
    out.mkdir()
    shutil.copy(pages["full"], out / "report.html")
    provenance = Provenance(at="2026-01-01T00:00:00", seconds=0, run="test")
    report = store.publish(
        out,
        stage="report",
        variant=None,
        name="report",
        key="0" * 64,
        rows=1,
        identity={},
        inputs={},
        facts={},
        provenance=provenance,
    )
    (port,) = free_ports(1)
    server = uvicorn.Server(uvicorn.Config(application("127.0.0.1"), port=port, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    speed = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    try:
        until(lambda: server.started, "the report server")
        browser.execute_cdp_cmd("Network.emulateNetworkConditions", speed | {"offline": False})
        browser.get_log("browser")
        browser.get(f"http://127.0.0.1:{port}/report/{report.id}")
        assert browser.execute_script("return window.origin") == "null"
        browser.find_element("css selector", "#filter input").send_keys("zebulon", Keys.ENTER)
        assert browser.execute_script(VISIBLE) == ["test_7"]
        assert browser.get_log("browser") == []
    finally:
        browser.execute_cdp_cmd("Network.emulateNetworkConditions", speed | {"offline": True})
        server.should_exit = True
        thread.join()


def test_keyboard_reaches_all_that_acts(browser: Any, visit: Any) -> None:
    """Tab moves from the skip link through navigation, tables and filter to the dialogues; Enter opens one."""
    from selenium.webdriver.common.keys import Keys

    visit("full")
    seen = []
    for _ in range(60):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        active = browser.switch_to.active_element
        seen.append(active.tag_name)
        if active.tag_name == "summary":
            break
    assert seen[0] == "a"
    assert seen[-4:] == ["input", "select", "button", "summary"]
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert browser.execute_script("return document.activeElement.parentElement.open") is True
    outline = browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


@pytest.mark.parametrize("name", ["full", "hostile0", "hostile5"])
@pytest.mark.parametrize("width", [320, 390, 1200])
def test_page_is_no_wider_than_the_window(browser: Any, visit: Any, name: str, width: int) -> None:
    """Tables scroll by themselves, long words break: a phone never has to scroll the page sideways."""
    visit(name, width=width)
    browser.execute_script("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    content_width, inner = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert inner <= width
    assert content_width <= inner


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(browser: Any, visit: Any, scheme: str) -> None:
    """4.5 at the least, in light and dark: headings, soft text, tables, links, systems, marks, form and drawings."""
    assert contrast([255, 255, 255], [0, 0, 0]) == pytest.approx(21)
    visit("full", scheme=scheme)
    parts = [
        "h1",
        ".effect",
        "header p",
        ".soft",
        "td",
        "th",
        "a",
        "dt.tuned",
        "dt.base",
        "dt.champion",
        "dd",
        "mark",
        ".yes, .no",
        "summary",
        "#filter button",
        "#filter label",
        "#filter option",
        "h2",
        "h3",
        "h4",
        "code",
        "footer p",
    ]
    for part, property_ in [*((part, "color") for part in parts), ("svg text", "fill")]:
        pairs = browser.execute_script(LUMINANCE, part, property_)
        assert pairs, part
        assert min(contrast(text, paper) for text, paper in pairs) >= 4.5, part
    dark = contrast(browser.execute_script(LUMINANCE, "h2", "color")[0][1], [0, 0, 0])
    assert (dark < 2) is (scheme == "dark")


@pytest.mark.parametrize("name", ["full", "hostile0"])
def test_page_is_built_for_those_who_hear_it(browser: Any, visit: Any, name: str) -> None:
    """Landmarks, a label on every image, field and region, headings without a step left out, one h1."""
    visit(name)
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node["ignored"]]
    for landmark in ("banner", "main", "navigation", "contentinfo", "search"):
        assert [role for role, _ in roles].count(landmark) == 1, landmark
    named = {"image", "img", "region", "searchbox", "combobox", "button", "navigation", "link", "search"}
    assert [pair for pair in roles if pair[0] in named and not pair[1].strip()] == []
    assert {"image", "region", "searchbox", "combobox"} <= {role for role, _ in roles}
    levels = browser.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map((h) => +h.tagName[1])"
    )
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert max(b - a for a, b in pairwise(levels)) == 1
    assert browser.execute_script("return document.documentElement.lang") == "en"


def test_printed_page_has_no_search_and_shows_the_dialogues(browser: Any, visit: Any) -> None:
    """What cannot be used on paper is not on it; dark paper neither."""
    visit("full", scheme="dark", media="print")
    hidden = browser.execute_script(
        "return ['#filter', 'nav', '.skip'].map((s) => document.querySelector(s).checkVisibility())"
    )
    assert hidden == [False, False, False]
    assert browser.execute_script("return document.querySelector('.example pre').getBoundingClientRect().height") > 20
    assert browser.execute_script(LUMINANCE, "h2", "color")[0] == [[0, 0, 0, 255], [255, 255, 255, 255]]
