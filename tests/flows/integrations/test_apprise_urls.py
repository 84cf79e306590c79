"""Apprise URLs: wrong ones are refused before anything is started, and no message has a password in it."""

import pytest

from artifacts.errors import RequestError
from flows.integrations.apprise_urls import requested_urls, service

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


def test_options_come_before_the_environment_and_none_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIALOGSUM_NOTIFY", raising=False)
    assert requested_urls([]) is None
    monkeypatch.setenv("DIALOGSUM_NOTIFY", f" {SLACK}  json://h/x ")
    assert requested_urls([]) == [SLACK, "json://h/x"]
    assert requested_urls(["none"]) == ["none"]
    with pytest.raises(RequestError, match="either none or URLs"):
        requested_urls(["none", SLACK])
