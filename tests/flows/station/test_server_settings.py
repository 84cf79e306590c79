"""What doctor says about the settings of a Prefect server."""

from typing import Any

import pytest

from flows.station import server_settings
from flows.station.environment import DEFAULTS
from flows.station.server_settings import REQUIREMENTS, check_settings


@pytest.mark.usefixtures("prefect_server")
def test_a_server_with_the_defaults_of_prefect_is_told_what_to_change() -> None:
    """It keeps leases in memory, and soon forgets the runs whose heartbeats it waits for. The tests' server is one."""
    notes = [str(check) for check in check_settings("http://server")]
    assert len(notes) == 2
    assert "a slot that is taken while it restarts stays taken forever" in notes[0]
    assert "Start the server with PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE=" in notes[0]
    assert "Start the server with PREFECT_SERVER_EVENTS_EXPIRED_BUCKET_BUFFER=P7D" in notes[1]


def test_the_remedies_are_settings_of_prefect_that_differ_from_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that was started with all of them has none of the wrong settings."""
    from prefect.settings import Settings

    for each in REQUIREMENTS:
        name, value = each.remedy.split("=")
        monkeypatch.setenv(name, value)
    settings: Any = Settings().model_dump(mode="json")["server"]
    found = [server_settings._at(settings, each.setting) for each in REQUIREMENTS]
    assert None not in found
    assert [value for value, each in zip(found, REQUIREMENTS, strict=True) if value == each.wrong] == []


def test_a_station_starts_its_server_with_the_settings_that_doctor_asks_for() -> None:
    """As far as they differ from Prefect's defaults."""
    remedies = dict(each.remedy.split("=") for each in REQUIREMENTS)
    different = {name: value for name, value in remedies.items() if value != "true"}
    assert different.items() <= DEFAULTS.items()
