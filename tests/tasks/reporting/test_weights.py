"""The report states which weights the summaries come from, where something was quantized."""

from typing import Any

import pytest

from artifacts.manifest import Manifest, Provenance
from tasks.reporting.system_names import describe_decoding
from tasks.reporting.weights import weights_sentence


def manifest(stage: str, config: dict[str, Any]) -> Manifest:
    return Manifest(
        id=f"{stage}-00000000",
        stage=stage,
        variant=None,
        path=stage,
        key="0" * 64,
        digest="0" * 64,
        files={},
        rows=1,
        identity={"config": config},
        inputs={},
        facts={},
        provenance=Provenance(at="2026-01-01T00:00:00", seconds=0, run="test"),
    )


@pytest.mark.parametrize(
    ("trained", "used", "sentence"),
    [
        ("none", "none", ""),
        ("nf4", "nf4", "trained on weights rounded to NF4, and the summaries come from the same weights."),
        ("nf4", "none", "trained on weights rounded to NF4, but the summaries come from the unquantized weights"),
        ("none", "nf4", "trained on the unquantized weights, but the summaries come from weights rounded to NF4"),
        (None, "none", ""),
        (None, "nf4", "The summaries come from weights rounded to NF4."),
    ],
)
def test_the_sentence_names_both_weights(trained: str | None, used: str, sentence: str) -> None:
    adapter = manifest("train", {"quantization": trained}) if trained else None
    predictions = manifest("generate", {"generate": {"quantization": used} if used != "none" else {}})
    said = weights_sentence(adapter, predictions)
    assert sentence in said
    assert bool(said) == bool(sentence)
    assert ("generate.quantization is" in said) == (trained not in (None, used))


def test_the_decoding_of_quantized_weights_has_a_name_of_its_own() -> None:
    """So two outputs of one adapter are told apart."""
    assert describe_decoding({"quantization": "nf4"}) == "greedy, NF4 weights"
    assert describe_decoding({"beams": 4, "quantization": "nf4"}) == "beam 4, NF4 weights"
    assert describe_decoding({"quantization": "none"}) == describe_decoding({}) == "greedy"
