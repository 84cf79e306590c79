"""Apprise URLs: wrong ones are refused before anything is started, and no message has a password in it."""

import logging
import sys
from pathlib import Path

import pytest
from apprise import Apprise, NotifyFormat

from artifacts.errors import RequestError
from flows.integrations.apprise_urls import in_plain_text, requested_urls, service
from tests.support.processes import run_cli

SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
TEAMS = "workflows://prod-1.example.org:443/643e69f83c8944438d68119179a10a64/R8aJCDw0DTjI1xLp5nGx2Q5N3WNgDGRyZx7vNRV/"


def test_services_are_named_without_their_credentials() -> None:
    assert [service(url) for url in (SLACK, TEAMS, "mailto://me:secret@mail.example.org", "json://h/x")] == [
        "Slack",
        "Power Automate / Workflows (for MSTeams)",
        "E-Mail",
        "JSON",
    ]


@pytest.mark.parametrize("url", ["carrier-pigeon://s3cret@loft", "s3cret", "slack://s3cret", "mailto://"])
def test_a_url_that_apprise_does_not_know_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(RequestError, match=r"--notify: Apprise does not know this URL") as refused:
        requested_urls([SLACK, url])
    assert "s3cret" not in str(refused.value)
    assert "TIiajk" not in str(refused.value)


def test_a_url_that_apprise_does_not_know_is_not_logged(capfd: pytest.CaptureFixture[str]) -> None:
    """Such as the webhook of a station of version 0.1.0, of which every `station up` and `status` asks the name."""
    log = logging.getLogger("apprise")
    handler = logging.StreamHandler(sys.stderr)
    log.addHandler(handler)
    try:
        assert service("http://h/s3cret") is None
        assert in_plain_text("http://h/s3cret") == "http://h/s3cret"
        assert "s3cret" not in capfd.readouterr().err
        log.error("another message of Apprise")
        assert "another message" in capfd.readouterr().err
    finally:
        log.removeHandler(handler)


def test_options_come_before_the_environment_and_none_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIALOGSUM_NOTIFY", raising=False)
    assert requested_urls([]) is None
    monkeypatch.setenv("DIALOGSUM_NOTIFY", f" {SLACK}  json://h/x ")
    assert requested_urls([]) == [SLACK, "json://h/x"]
    assert requested_urls(["none"]) == ["none"]
    with pytest.raises(RequestError, match="either none or URLs"):
        requested_urls(["none", SLACK])


def test_a_wrong_url_is_refused_before_anything_is_started_and_its_password_is_not_printed(tmp_path: Path) -> None:
    """Neither is that of a correct one, nor one from the environment."""
    urls = f"{SLACK} carrier-pigeon://s3cret@loft"
    process = run_cli("station", "up", DIALOGSUM_NOTIFY=urls, DIALOGSUM_STATION=str(tmp_path / "station"))
    assert process.returncode == 2
    assert "Apprise does not know this URL (carrier-pigeon)" in process.stderr
    assert not {word for word in ("s3cret", "TIiajk") if word in process.stdout + process.stderr}
    assert not (tmp_path / "station").exists()


@pytest.mark.parametrize(
    "url",
    [
        "mailto://me:secret@mail.example.org",
        "mailtos://me:secret@mail.example.org?to=team@example.org,boss@example.org",
        "tgram://123456789:abcdefg_hijklmnop/12315544/",
    ],
)
def test_services_that_expect_html_get_plain_text_at_the_same_address(url: str) -> None:
    """Apprise itself says what it makes of the URL."""
    before, after = Apprise.instantiate(url), Apprise.instantiate(in_plain_text(url))
    assert (before.notify_format, after.notify_format) == (NotifyFormat.HTML, NotifyFormat.TEXT)
    assert after.url_identifier == before.url_identifier
    assert getattr(after, "targets", None) == getattr(before, "targets", None)


@pytest.mark.parametrize(
    "url", [SLACK, TEAMS, "json://h/x", "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIia"]
)
def test_other_urls_stay_as_they_are(url: str) -> None:
    assert in_plain_text(url) == url
