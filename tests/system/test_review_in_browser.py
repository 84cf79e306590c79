"""The review page in a real browser without a network: people vote, save and continue by the keyboard alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.review_page import compare, find_scores, write_page
from tests.support.artifacts import ArtifactFactory
from tests.support.browsers import LUMINANCE, contrast, needs_browser, requested, set_window
from tests.support.hostile_texts import HOSTILE_TEXTS
from tests.support.processes import run_cli
from tests.support.reviews import PageReader, publish_scores
from tests.support.servers import until

pytestmark = needs_browser
GOOD, POOR = "summary that is good", "summary that is poor"
ROWS = 6
"""Dialogues; the summaries of the last one are the same."""


@pytest.fixture
def page(artifact_factory: ArtifactFactory, tmp_path: Path) -> PageReader:
    """A page of five dialogues: the tuned model is good, the base model poor; one text is Arabic, one very long."""
    dialogues = ["#Person1#: Hi.", "#Person1#: مرحبا", "#Person1#: Go on.\n" * 60, "#Person1#: x" * 400, "a", "b"]
    tuned = [f"{GOOD} {i}" for i in range(ROWS)]
    base = [f"{POOR} {i}" for i in range(ROWS - 1)] + tuned[-1:]
    tuned[1], base[1] = f"مرحبا {GOOD}", f"مرحبا {POOR}"
    publish_scores(artifact_factory, dialogues, tuned=tuned, base=base)
    write_page(compare(find_scores(None), None), tmp_path / "review.html", 40, None)
    return PageReader(tmp_path / "review.html")


@pytest.fixture
def visit(browser: Any, page: PageReader, tmp_path: Path) -> Callable[..., None]:
    """Opens the page with nothing kept from earlier visits; what is saved goes to the folder of the test."""
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})

    def open_page(width: int = 1200, scheme: str = "light", name: str = "review.html") -> None:
        set_window(browser, width, scheme)
        browser.get((tmp_path / name).as_uri())
        browser.execute_script("localStorage.clear()")
        browser.get_log("performance")
        browser.get_log("browser")
        browser.get((tmp_path / name).as_uri())

    return open_page


def keys(browser: Any, *names: str) -> None:
    """Type into whatever has the focus."""
    from selenium.webdriver.common.keys import Keys

    for name in names:
        browser.switch_to.active_element.send_keys(getattr(Keys, name, name))


def shown(browser: Any) -> str:
    """Id of the dialogue that is shown; empty after the last one."""
    pairs = [pair for pair in browser.find_elements("css selector", ".pair") if pair.is_displayed()]
    (name,) = [pair.get_attribute("data-dialogue") for pair in pairs] or [""]
    return str(name)


def side_of(page: PageReader, name: str, text: str) -> str:
    """Where a summary with this text is: `ARROW_LEFT` or `ARROW_RIGHT`."""
    return "ARROW_LEFT" if text in page.pairs[name]["left"] else "ARROW_RIGHT"


def progress(browser: Any) -> str:
    return str(browser.find_element("css selector", "#progress span").text)


def saved(folder: Path) -> Path:
    """The file that the page saved, once it is complete."""
    until(lambda: [*folder.glob("votes-*.json")], "the saved file")
    (file,) = folder.glob("votes-*.json")
    return file


def test_people_vote_save_and_continue_by_keyboard_alone(
    browser: Any, visit: Any, page: PageReader, tmp_path: Path
) -> None:
    """Votes, a tie, a changed vote, a reload, the name, the file; `--votes` reads it; the page loads it again."""
    visit()
    names = [*page.pairs]
    assert len(names) == ROWS - 1
    for name in names[:3]:
        assert shown(browser) == name
        keys(browser, side_of(page, name, POOR))
    keys(browser, "BACKSPACE", "ARROW_UP")
    assert shown(browser) == names[1]
    assert "your vote: " in browser.find_element("id", "status").text
    keys(browser, side_of(page, names[1], GOOD), side_of(page, names[2], GOOD), "ARROW_DOWN")
    assert (shown(browser), progress(browser)) == (names[4], "4 of 5 dialogues have a vote")
    browser.refresh()
    assert (shown(browser), progress(browser)) == (names[4], "4 of 5 dialogues have a vote")
    keys(browser, "n", "s")
    assert shown(browser) == ""
    assert "1 of 5 dialogues have no vote" in browser.find_element("id", "end").text
    assert browser.find_element("id", "status").text == "Write your name first; then save."
    keys(browser, "Ann Lee", "ENTER")
    file = saved(tmp_path)
    assert file.name == "votes-score-5c0e5c0e-ann-lee.json"
    assert "Saved 4 of 5 votes" in browser.find_element("id", "status").text

    process = run_cli("review", "--votes", str(file), "--json")
    assert process.returncode == 0, process.stderr
    (review,) = json.loads(process.stdout)["reviews"]
    # of four dialogues one is lost, two are won, one is a tie
    assert (review["wins"], review["losses"], review["ties"], review["win_rate"]) == (2, 1, 1, 0.625)
    assert review["reviewers"] == [{"reviewer": "Ann Lee", "votes": 4, "dialogues": 5}]
    assert json.loads(run_cli("show", review["artifact"], "--json").stdout)["lineage"][0]["state"] == "whole"

    visit()
    assert progress(browser) == "0 of 5 dialogues have a vote"
    browser.execute_script("document.querySelector('details').open = true")
    browser.find_element("id", "file").send_keys(str(file))
    until(lambda: progress(browser) == "4 of 5 dialogues have a vote", "the votes of the file")
    assert (shown(browser), browser.find_element("id", "name").get_property("value")) == (names[4], "Ann Lee")


def test_buttons_do_what_the_keys_do_and_show_the_vote(browser: Any, visit: Any, page: PageReader) -> None:
    """Tab reaches every control, Enter presses it; keys in the field of the name do not vote."""
    visit()
    seen = []
    for _ in range(9):
        keys(browser, "TAB")
        seen.append(browser.switch_to.active_element.accessible_name)
    assert [name.split("\n")[0] for name in seen[1:3]] == ["Your name", "Save votes S"]
    assert [name for name in seen if "better" in name or "Tie" in name] == [
        "← Left is better",
        "↓ Tie",
        "Right is better →",
    ]
    browser.find_element("id", "name").send_keys("sn")
    keys(browser, "ARROW_LEFT", "BACKSPACE")
    assert progress(browser) == "0 of 5 dialogues have a vote"
    browser.find_element("css selector", "[data-choice=right]").click()
    browser.find_element("id", "back").click()
    pressed = browser.find_elements("css selector", "[aria-pressed=true]")
    assert [button.get_attribute("data-choice") for button in pressed] == ["right"]
    browser.find_element("id", "next").click()
    assert shown(browser) == [*page.pairs][1]


def test_the_focused_dialogue_scrolls_instead_of_voting(browser: Any, visit: Any) -> None:
    """test_2 has sixty lines."""
    visit()
    while shown(browser) != "test_2":
        keys(browser, "n")
    browser.execute_script("[...document.querySelectorAll('pre')].find((e) => e.checkVisibility()).focus()")
    keys(browser, *["ARROW_DOWN"] * 3)
    until(lambda: browser.execute_script("return document.activeElement.scrollTop") > 0, "the dialogue to scroll")
    assert progress(browser) == "0 of 5 dialogues have a vote"


def test_a_file_of_another_page_is_refused(browser: Any, visit: Any, tmp_path: Path) -> None:
    visit()
    browser.execute_script("document.querySelector('details').open = true")
    for content in ("no JSON", "[]", json.dumps({"kind": "dialogsum votes", "page": "0", "votes": []})):
        (tmp_path / "other.json").write_text(content)
        browser.execute_script("document.getElementById('status').textContent = ''")
        browser.find_element("id", "file").send_keys(str(tmp_path / "other.json"))
        expected = "other.json has no votes of this page."
        until(lambda: browser.find_element("id", "status").text == expected, "the refusal")  # noqa: B023


def test_without_storage_the_page_works_and_says_so(browser: Any, visit: Any, page: PageReader) -> None:
    """As in a browser that keeps nothing for files."""
    visit()
    source = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('denied'); }})"
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    try:
        browser.refresh()
        assert "does not keep votes over a reload" in browser.find_element("id", "status").text
        keys(browser, "ARROW_DOWN")
        assert progress(browser) == "1 of 5 dialogues have a vote"
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
        browser.get("about:blank")


def test_the_page_asks_for_nothing_and_runs_no_foreign_code(
    browser: Any, visit: Any, artifact_factory: ArtifactFactory, tmp_path: Path
) -> None:
    """With every hostile text as dialogue and summary: one request, an empty console, no canary, while all is shown."""
    texts = [text for text in HOSTILE_TEXTS if len(text) < 1000]
    scores = publish_scores(artifact_factory, texts, "5c0e5c0f", tuned=[f"t {text}" for text in texts], base=texts)
    write_page(compare(find_scores(scores.id), None), tmp_path / "hostile.html", 40, None)
    visit(name="hostile.html")
    keys(browser, *["ARROW_DOWN"] * len(texts))
    assert progress(browser) == f"{len(texts)} of {len(texts)} dialogues have a vote"
    assert requested(browser) == [(tmp_path / "hostile.html").as_uri()]
    assert browser.get_log("browser") == []
    assert browser.execute_script("return [typeof window.__hit, document.scripts.length]") == ["undefined", 1]


@pytest.mark.parametrize("width", [320, 400, 1200])
def test_the_page_is_no_wider_than_the_window(browser: Any, visit: Any, width: int) -> None:
    """At every dialogue, with everything open; both summaries are side by side."""
    visit(width=width)
    browser.execute_script("document.querySelector('details').open = true")
    for _ in range(ROWS):
        widths = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        content, inner = browser.execute_script(widths)
        assert content <= inner <= width
        boxes = [e.rect for e in browser.find_elements("css selector", ".side") if e.is_displayed()]
        assert len({box["y"] for box in boxes}) <= 1
        keys(browser, "n")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(browser: Any, visit: Any, scheme: str) -> None:
    """4.5 at the least, also of the vote that is given and of an error."""
    visit(scheme=scheme)
    keys(browser, "ARROW_LEFT", "ARROW_UP", "s")
    for part in ("h1", "h2", ".soft", "header p", "label", "pre", ".side p", ".side h3", "button", "kbd", "#status.no"):
        pairs = browser.execute_script(LUMINANCE, part, "color")
        assert pairs, part
        assert min(contrast(text, paper) for text, paper in pairs) >= 4.5, part
    assert browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_the_page_is_built_for_those_who_hear_it(browser: Any, visit: Any) -> None:
    """Landmarks, a name of every field, button and region, a status that is read out, text that runs its own way."""
    visit()
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node["ignored"]]
    for landmark in ("banner", "main", "contentinfo", "form", "status"):
        assert [role for role, _ in roles].count(landmark) == 1, landmark
    named = {"region", "textbox", "button", "progressbar", "progressIndicator", "article", "link", "form"}
    assert [pair for pair in roles if pair[0] in named and not pair[1].strip()] == []
    assert {"textbox", "button", "article"} <= {role for role, _ in roles}
    assert ("group", "Your vote") in roles
    levels = browser.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3')].filter((h) => h.checkVisibility()).map((h) => +h.tagName[1])"
    )
    assert levels == [1, 2, 3, 3]
    arabic = "return [...document.querySelectorAll('[data-dialogue=test_1] .side p')]"
    assert browser.execute_script(f"{arabic}.map((e) => getComputedStyle(e).direction)") == ["rtl", "rtl"]
