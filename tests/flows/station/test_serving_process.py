"""`dialogsum serve` as a process of a station: started, found dead, started again, and stopped with it."""

from pathlib import Path

import httpx
import pytest
import yaml

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from flows.recipe import RECIPES
from flows.station.current_status import print_status
from flows.station.processes import running_process
from flows.station.serving_process import start_serving
from flows.station.supervisor import down
from tests.support.servers import free_ports
from tests.support.serving import TwoAdapters


@pytest.mark.slow
def test_the_server_is_kept_running_and_stopped(
    store: Store,
    models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """The second start of a dead one needs no options; another port is refused; `down` ends it."""
    monkeypatch.setenv("DIALOGSUM_STATION", str(tmp_path / "station"))
    (tmp_path / "station").mkdir()
    adapters = TwoAdapters(store, models["llama"], tmp_path / "adapters")
    adapters.promote(0)
    recipe = yaml.safe_load((RECIPES / "quickstart.yaml").read_text())
    recipe["model"] |= {"source": str(models["llama"]), "turns": "chatml"}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(recipe))
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    try:
        start_serving("127.0.0.1", None, None)
        assert running_process("serve") is None  # nobody asked for it
        start_serving("127.0.0.1", port, str(tmp_path / "tiny.yaml"))
        assert httpx.get(f"{url}/health").json()["champion"] == adapters.ids[0]
        first = running_process("serve")
        assert first is not None
        start_serving("127.0.0.1", port, None)
        assert running_process("serve") == first
        with pytest.raises(RequestError, match=f"already runs at {url}"):
            start_serving("127.0.0.1", port + 1, None)
        first.kill()
        first.wait()
        assert "serve is dead" in " ".join(print_status())
        start_serving("127.0.0.1", None, None)
        assert httpx.get(f"{url}/health").status_code == 200
        print_status()
        assert f"serve: {url}, answers" in capsys.readouterr().out
    finally:
        down()
    assert "serve: stopped" in capsys.readouterr().out
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")
