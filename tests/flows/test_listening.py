"""Servers listen beyond this machine only with a credential; the command refuses before anything starts."""

from pathlib import Path

import pytest

from artifacts.errors import RequestError
from flows.listening import PREFECT_CREDENTIAL, SERVE_TOKEN, credential_for, in_url, is_loopback
from tests.support.processes import call_cli

EVERYWHERE = ["0.0.0.0", "::", "192.0.2.7", "2001:db8::7", "station.example", "", "127.0.0.1.example", "0"]
HERE = ["127.0.0.1", "127.8.9.1", "::1", "localhost"]


@pytest.mark.parametrize("variable", [PREFECT_CREDENTIAL, SERVE_TOKEN])
@pytest.mark.parametrize("host", EVERYWHERE)
def test_other_addresses_need_a_credential(monkeypatch: pytest.MonkeyPatch, host: str, variable: str) -> None:
    """A blank one is none; the message is one line with the command that sets one."""
    assert not is_loopback(host)
    for blank in (None, "", "  "):
        monkeypatch.delenv(variable, raising=False) if blank is None else monkeypatch.setenv(variable, blank)
        with pytest.raises(RequestError, match=rf"^--host .*lets other machines in: .*`export {variable}=\S.*$"):
            credential_for(host, variable)
    monkeypatch.setenv(variable, "a:b")
    assert credential_for(host, variable) == "a:b"


@pytest.mark.parametrize("host", HERE)
def test_the_loopback_interface_needs_none(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.delenv(PREFECT_CREDENTIAL, raising=False)
    assert credential_for(host, PREFECT_CREDENTIAL) == ""


def test_a_url_names_an_address_that_can_be_asked() -> None:
    """No wildcard, and brackets around IPv6."""
    assert [in_url(host) for host in ("0.0.0.0", "::", "::1", "192.0.2.7")] == [
        "127.0.0.1",
        "[::1]",
        "[::1]",
        "192.0.2.7",
    ]


@pytest.mark.parametrize("option", ["--host", "--bind"])
@pytest.mark.parametrize(
    ("command", "variable"),
    [(["station", "up"], PREFECT_CREDENTIAL), (["serve"], SERVE_TOKEN), (["station", "up", "--serve"], SERVE_TOKEN)],
)
def test_the_commands_refuse_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, option: str, command: list[str], variable: str
) -> None:
    """Exit 2 and one line, under both names of the option; a station makes no folder. Each server has its own."""
    monkeypatch.setenv("DIALOGSUM_STATION", str(tmp_path / "station"))
    monkeypatch.delenv(PREFECT_CREDENTIAL, raising=False)
    monkeypatch.delenv(SERVE_TOKEN, raising=False)
    if "--serve" in command:
        monkeypatch.setenv(PREFECT_CREDENTIAL, "worker:password")
    options = [] if "station" in command else ["--recipe", "smollm2-135m"]
    refused = call_cli(*command, *options, option, "0.0.0.0")
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert f"export {variable}=" in refused.stderr
    assert not (tmp_path / "station").exists()
