"""evaluate: which adapter is meant, and that nothing is trained for it."""

from pathlib import Path
from typing import Any

import pytest

from artifacts.errors import RequestError
from flows.adapters import find_adapter
from tests.conftest import shrunk

pytestmark = pytest.mark.usefixtures("workers_inline", "prefect_server")


@pytest.fixture
def trained(models: dict[str, Path], data: Path) -> dict[str, Any]:
    """A finished run of the tiny llama."""
    from flows.pipeline import retrain

    found: dict[str, Any] = retrain(recipe="smollm2-135m", overrides=shrunk("smollm2-135m", models["llama"], data))
    return found


def entry(summary: dict[str, Any], stage: str, of: str | None = None) -> dict[str, Any]:
    (found,) = [e for e in summary["stages"] if (e["stage"], e["of"]) == (stage, of)]
    return found


def test_evaluate_reuses_what_run_has_made_and_follows_the_adapter(
    trained: dict[str, Any], models: dict[str, Path], data: Path, store: Any
) -> None:
    """By id and `latest` the same; `none` scores the base model alone; a base of other weights is refused by name."""
    from flows.pipeline import evaluate

    settings = shrunk("smollm2-135m", models["llama"], data)
    adapter = entry(trained, "train")["artifact"]
    by_id = evaluate(recipe="smollm2-135m", adapter=adapter, overrides=settings)
    latest = evaluate(recipe="smollm2-135m", adapter="latest", overrides=settings)
    assert {e["status"] for e in by_id["stages"]} == {e["status"] for e in latest["stages"]} == {"reused"}
    assert by_id["scores"] == latest["scores"] == trained["scores"]

    alone = evaluate(recipe="smollm2-135m", adapter="none", overrides=settings)
    assert [(e["stage"], e["of"]) for e in alone["stages"]][-3:] == [
        ("generate", "base"),
        ("score", None),
        ("report", None),
    ]
    assert alone["scores"] == {"base": trained["scores"]["base"]}

    with pytest.raises(RequestError, match=r"was trained on llama, the recipe's base model is gemma"):
        evaluate(recipe="gemma-2b", adapter=adapter, overrides=shrunk("gemma-2b", models["gemma"], data))
    with pytest.raises(RequestError, match=r"no adapter of gemma"):
        evaluate(recipe="gemma-2b", adapter="latest", overrides=shrunk("gemma-2b", models["gemma"], data))


def test_an_adapter_that_cannot_be_used_is_refused_with_the_reason(trained: dict[str, Any], store: Any) -> None:
    """No champion yet, a broken pointer, an id of something else, a damaged adapter."""
    from tasks.config import ResolvedModel

    manifest = store.by_id(entry(trained, "train")["artifact"])
    revision = manifest.identity["config"]["model"]["revision"]
    model = ResolvedModel(revision=revision, location="/nowhere", origin="llama")
    with pytest.raises(RequestError, match="no champion yet"):
        find_adapter("champion", model)
    store.write(b"{", "pointers", "champion.json")
    with pytest.raises(RequestError, match="does not read"):
        find_adapter("champion", model)
    with pytest.raises(RequestError, match="not an adapter but the work of score"):
        find_adapter(entry(trained, "score")["artifact"], model)
    (Path(store.absolute(manifest.path)) / "payload" / "adapter_model.safetensors").unlink()
    with pytest.raises(RequestError, match=r"damaged \(payload file adapter_model\.safetensors is missing\)"):
        find_adapter("latest", model)
