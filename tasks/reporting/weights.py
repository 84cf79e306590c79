"""The weights that the summaries come from, in a sentence, where quantization makes a difference."""

from artifacts.manifest import Manifest
from tasks.manifest_views import AdapterView, PredictionsView

_WEIGHTS = {"none": "the unquantized weights", "nf4": "weights rounded to NF4"}


def weights_sentence(adapter: Manifest | None, predictions: Manifest) -> str:
    """On what an adapter was trained and what its summaries come from; empty if nothing was quantized.

    adapter: None for the base model alone.
    """
    used = PredictionsView(predictions).quantization
    trained = AdapterView(adapter).quantization if adapter else used
    if trained == used == "none":
        return ""
    if adapter is None:
        return f"The summaries come from {_WEIGHTS[used]}."
    if trained == used:
        return "The adapter was trained on weights rounded to NF4, and the summaries come from the same weights."
    return (
        f"The adapter was trained on {_WEIGHTS[trained]}, but the summaries come from {_WEIGHTS[used]} "
        f"(generate.quantization is {used})."
    )
