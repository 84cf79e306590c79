"""Prefect's settings of a run: defaults that the environment overrides, and one pace of heartbeats everywhere."""

import os

import pytest
import yaml

from flows.prefect_environment import HEARTBEAT_SECONDS, configure_prefect
from flows.station.provisioning import HEARTBEATS
from tests.support.paths import ROOT


def test_the_environment_overrides_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING"})
    configure_prefect(debug=True)
    assert os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] == "WARNING"
    assert os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


@pytest.mark.parametrize(("debug", "level"), [(False, "CRITICAL"), (True, "INFO")])
def test_debug_lets_the_log_of_prefect_through(monkeypatch: pytest.MonkeyPatch, debug: bool, level: str) -> None:
    monkeypatch.setattr(os, "environ", {})
    configure_prefect(debug)
    assert os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] == level


def test_deployed_runs_and_local_runs_send_heartbeats_at_the_same_pace() -> None:
    """prefect.yaml has the pace of the command line. A station waits for at least three heartbeats."""
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    environments = [each["work_pool"]["job_variables"]["env"] for each in deployments]
    assert {each["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] for each in environments} == {str(HEARTBEAT_SECONDS)}
    assert HEARTBEATS.total_seconds() >= 3 * HEARTBEAT_SECONDS
