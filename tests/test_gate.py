"""The GPU gate: no server is asked where nobody wants a gate; a limit that is not there is told, not passed by.

That a second holder waits and a dead one is forgotten is shown with real processes in tests/test_station.py.
"""

from typing import Any

import pytest
from prefect import flow

from artifacts.errors import StageError
from tasks import gate
from tasks.gate import gpu_gate


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the server would have been asked."""
    found: list[Any] = []

    def concurrency(*names: Any, **_: Any) -> None:
        found.append(names)
        raise AssertionError("the server was asked")

    monkeypatch.setattr(gate, "concurrency", concurrency)
    return found


def test_without_deployment_and_limit_there_is_no_gate(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """As in `dialogsum run`; and a stage for the CPU passes whatever is set."""
    with gpu_gate("gpu"):
        pass
    monkeypatch.setenv(gate.LIMIT, "gpu")
    with gpu_gate("cpu"):
        pass
    assert asked == []


@pytest.mark.usefixtures("prefect_server")
def test_limit_that_is_not_there_ends_the_stage_and_says_how_to_make_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than share the GPU with whoever is on it."""
    monkeypatch.setenv(gate.LIMIT, "no-such-limit")
    reached = []

    @flow
    def work() -> None:
        with gpu_gate("gpu"):
            reached.append(True)

    with pytest.raises(StageError, match=r"'no-such-limit'.*prefect gcl create no-such-limit --limit 1"):
        work()
    assert reached == []
