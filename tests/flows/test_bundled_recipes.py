"""The bundled recipes, reduced to a tiny random model and tiny data, through the complete flow."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.support.pipelines import small_overrides

pytestmark = pytest.mark.usefixtures("workers_inline", "prefect_server")


def run(recipe: str, *overrides: str) -> dict[str, Any]:
    from flows.pipeline import retrain

    summary: dict[str, Any] = retrain(recipe=recipe, overrides=list(overrides)).to_json()
    assert {e["status"] for e in summary["stages"]} == {"run"}
    assert set(summary["scores"]) == {"base", "tuned"}
    return summary


def evaluate(recipe: str, *overrides: str) -> dict[str, Any]:
    """The adapter of `run`, with other overrides."""
    from flows import pipeline

    summary: dict[str, Any] = pipeline.evaluate(recipe=recipe, overrides=list(overrides)).to_json()
    return summary


def payload(summary: dict[str, Any], stage: str) -> Path:
    return Path(next(e["path"] for e in summary["stages"] if e["stage"] == stage)) / "payload"


@pytest.mark.slow
def test_gemma_2b_trains_fp32_adapters_on_an_nf4_base(models: dict[str, Path], data: Path) -> None:
    """QLoRA on the CPU, adapters on all seven linears, Gemma's turns: nothing but sizes differs from the recipe."""
    overrides = small_overrides("gemma-2b", models["gemma"], data)
    summary = run("gemma-2b", *overrides)
    adapter = payload(summary, "train")
    settings = json.loads((adapter / "settings.json").read_text())
    assert (settings["quantization"], settings["turns"]) == ("nf4", "gemma")
    assert len(json.loads((adapter / "adapter_config.json").read_text())["target_modules"]) == 7
    tensors = load_file(adapter / "adapter_model.safetensors")
    assert {str(tensor.dtype) for tensor in tensors.values()} == {"torch.float32"}
    assert len(tensors) == 2 * 7 * 2  # A and B of seven linears in two layers
    report = Path(summary["report"]).read_text(encoding="utf-8")
    assert "trained on weights rounded to NF4, and the summaries come from the same weights." in report
    other = evaluate("gemma-2b", *overrides, "generate.quantization=none")
    report = Path(other["report"]).read_text(encoding="utf-8")
    assert "trained on weights rounded to NF4, but the summaries come from the unquantized weights" in report
    assert "generate.quantization is none" in report


@pytest.mark.slow
def test_article_shows_its_faults(models: dict[str, Path], data: Path) -> None:
    """One row of each thousand, no stop token, another chat template in generation: checks and report state it."""
    overrides = small_overrides("article", models["gemma"], data, "model.turns=article")
    summary = run("article", *overrides)
    adapter = payload(summary, "train")
    checks = {check["name"]: check for check in json.loads((adapter / "checks.json").read_text())}
    assert checks["rows"]["figures"] == {"reached": 1, "expected": 1}  # 12 rows, one of each 1,000
    assert checks["stop token"]["state"] == "note"
    assert "differs from the one the adapter was trained with" in Path(summary["report"]).read_text(encoding="utf-8")
