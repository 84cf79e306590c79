"""The page of `dialogsum serve` in a real browser: two summaries, keyboard, contrast, a narrow window, its policy."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import pytest

from artifacts.artifact_store import Store
from tests.support.browsers import LUMINANCE, contrast, needs_browser, offline_browser, requested, set_window
from tests.support.servers import until
from tests.support.serving import TwoAdapters, ask, config_for, running

pytestmark = needs_browser
HOSTILE = "Ann: <img src=x onerror=alert(1)> مرحبا\nBob: </textarea><script>alert(2)</script>"


@pytest.fixture(scope="module")
def one_page(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str, Store]]:
    """A browser that reaches this machine, and the address of a server."""
    folder = tmp_path_factory.mktemp("served")
    with patch.dict("os.environ", DIALOGSUM_STORE=str(folder / "store")):
        adapters = TwoAdapters(Store.current(), models["llama"], folder / "adapters")
        adapters.promote(0)
        with running(config_for(models["llama"])) as url:
            browser = offline_browser(tmp_path_factory.mktemp("profile"))
            online = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
            browser.execute_cdp_cmd("Network.emulateNetworkConditions", online)
            yield browser, url, adapters.store
            browser.quit()


@pytest.fixture
def page(one_page: tuple[Any, str, Store], store: Store, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, str]:
    browser, url, served = one_page
    monkeypatch.setenv("DIALOGSUM_STORE", str(served.root))  # the server runs in this process
    return browser, url


def state(browser: Any) -> str:
    return str(browser.find_element("id", "state").text)


def texts(browser: Any) -> list[str]:
    return [browser.find_element("id", f"text-{place}").text for place in ("model", "base")]


def test_two_summaries_by_keyboard_under_the_policy(page: tuple[Any, str], tmp_path: Path) -> None:
    """Those of the API; hostile text runs nothing; the console stays empty; only this server is asked."""
    from selenium.webdriver.common.keys import Keys

    browser, url = page
    set_window(browser)
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(url)
    assert requested(browser) == [f"{url}/"]
    dialogue = browser.find_element("id", "dialogue")
    seen = []
    for _ in range(4):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        seen.append(browser.switch_to.active_element.get_attribute("id"))
    assert seen == ["dialogue", "prompt", "model", "send"]
    browser.execute_script("arguments[0].value = arguments[1]", dialogue, HOSTILE)
    browser.find_element("css selector", "#prompt option[value=brief]").click()
    browser.find_element("id", "send").send_keys(Keys.ENTER)
    until(lambda: state(browser).startswith("Both"), "the summaries", 60)
    api = [
        httpx.post(f"{url}/v1/chat/completions", json=ask(HOSTILE, model=model, prompt="brief"), timeout=60).json()
        for model in ("champion", "base")
    ]
    assert texts(browser) == [" ".join(a["choices"][0]["message"]["content"].split(" ")) for a in api]
    assert api[0]["model"] in browser.find_element("id", "note-model").text
    assert browser.switch_to.active_element.get_attribute("id") == "send"
    assert browser.execute_script("return document.querySelectorAll('img, main script').length") == 0
    assert browser.get_log("browser") == []
    assert {address.removeprefix(url) for address in requested(browser)} <= {"/v1/chat/completions"}
    browser.save_screenshot(str(tmp_path / "page.png"))


def test_a_refusal_is_shown(page: tuple[Any, str]) -> None:
    browser, url = page
    browser.get(url)
    browser.execute_script("document.getElementById('dialogue').value = '[]'")
    browser.find_element("id", "send").click()
    until(lambda: state(browser).startswith("Not every"), "the refusal", 60)
    assert "No summary: the message has no dialogue" in browser.find_element("id", "note-base").text


@pytest.mark.parametrize("width", [320, 400, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_and_stands_out(page: tuple[Any, str], tmp_path: Path, width: int, scheme: str) -> None:
    """No wider than the window; a contrast of 4.5 at the least; every field has a label, the results are live."""
    browser, url = page
    set_window(browser, width, scheme)
    browser.get(url)
    browser.execute_script("document.getElementById('text-base').textContent = 'x'.repeat(300)")
    content, inner = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert content <= inner <= width
    for part in ("h1", "h2", "label", "#form textarea", "#form select", "#form button", ".answer", "p.soft"):
        for text, paper in browser.execute_script(LUMINANCE, part, "color"):
            assert contrast(text, paper) >= 4.5, part
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {"textbox", "combobox", "button", "region"}
    roles = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in tree if not n["ignored"]]
    assert {role for role, _ in roles} >= {*named, "status", "main", "banner", "contentinfo"}
    assert [pair for pair in roles if pair[0] in named and not pair[1].strip()] == []
    assert browser.execute_script("return document.querySelectorAll('[aria-live=polite][dir=auto]').length") == 2
    browser.save_screenshot(str(tmp_path / f"{width}-{scheme}.png"))
