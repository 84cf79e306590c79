"""A complete model for plain transformers: the adapter merged into the base model, rounded to bfloat16."""

from pathlib import Path

from flows.inference.export_format import ExportFormat, ExportRequest
from flows.inference.model_card import CardForm, python_usage
from tasks.models.export import export


def _write(request: ExportRequest, out: Path) -> None:
    export(request.selected.spec, request.adapter, out, None)


def _card(request: ExportRequest) -> CardForm:
    return CardForm(
        library="transformers",
        merged=True,
        use=python_usage("transformers", "AutoModelForCausalLM"),
        precision="rounded to bfloat16",
    )


FORMAT = ExportFormat("merged", _card, _write)
