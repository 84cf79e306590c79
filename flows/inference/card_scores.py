"""The scores of an exported adapter, as the model card shows them."""

from huggingface_hub import EvalResult

from artifacts.artifact_store import Store
from artifacts.manifest import Manifest
from tasks.config import GenerateConfig
from tasks.manifest_views import FormattedRowsView, PredictionsView, ScoresView
from tasks.metrics.score_table import System
from tasks.reporting.system_names import describe_decoding


def newest_scores(store: Store, adapter: Manifest | None, template: str) -> tuple[Manifest | None, Manifest | None]:
    """The newest scores of the adapter with this prompt on the test split, and the generation that they score."""
    if adapter is None:
        return None, None
    prompt_ids = {m.id for m in store.manifests("format") if FormattedRowsView(m).template == template}
    of_adapter = (view for view in map(PredictionsView, store.manifests("generate")) if view.adapter_id == adapter.id)
    outputs = {view.id: view.manifest for view in of_adapter if view.rows.id in prompt_ids}
    evaluations = [
        (view.manifest, outputs[tuned.id])
        for view in map(ScoresView, store.manifests("score"))
        if (tuned := view.predictions.get(System.TUNED))
        and tuned.id in outputs
        and view.intervals
        and view.split == "test"
    ]
    return evaluations[-1] if evaluations else (None, None)


def decoding_note(settings: GenerateConfig, generation: Manifest | None, beams: bool, merged: bool) -> list[str]:
    """A sentence if the scored summaries were decoded differently from the folder's generation settings.

    beams: whether the library that loads the folder can search beams; none can choose among candidates.
    merged: whether the folder has the base weights, as `settings` quantize them; else they are loaded unquantized.
    """
    if generation is None:
        return []
    scored = describe_decoding(PredictionsView(generation).decoding)
    quantization = settings.quantization if merged else "none"
    exported = describe_decoding(
        {"beams": settings.beams if beams else 1, "candidates": 1, "quantization": quantization}
    )
    if scored == exported:
        return []
    return [
        f"Decoding of the scored summaries: {scored}. "
        f"The generation settings of this folder are not scored: {exported}."
    ]


def results(scores: Manifest, dataset: str) -> list[EvalResult]:
    """The scores as the hub's metadata of evaluations."""
    protocol = ScoresView(scores).protocol
    return [
        EvalResult(
            task_type="summarization",
            dataset_type=dataset.split("@")[0],
            dataset_name=dataset,
            dataset_split="test",
            metric_type="rouge",
            metric_name=f"{kind} F1 x 100, {protocol.name}",
            metric_value=round(value, 2),
        )
        for kind, value in ScoresView(scores).headline[System.TUNED].items()
    ]


def score_table(scores: Manifest | None) -> str:
    """A table of the base model's and the adapter's scores with their intervals, and the protocol below it."""
    if scores is None:
        return "None: the store that exported this adapter has no evaluation of it with this prompt."
    view = ScoresView(scores)
    protocol, kinds = view.protocol, list(view.headline[System.BASE])
    lines = ["| | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    for system in (System.BASE, System.TUNED):
        cells = [
            f"{view.headline[system][kind]:.2f} ({low:.1f} to {high:.1f})"
            for kind, (low, high) in zip(kinds, (view.intervals[system][kind] for kind in kinds), strict=True)
        ]
        lines.append(f"| {system} | " + " | ".join(cells) + " |")
    sentence = (
        f"F1 x 100, {protocol.method}; {protocol.rows} dialogues x {protocol.references}; "
        f"interval: {protocol.interval}."
    )
    return "\n".join([*lines, "", sentence])
