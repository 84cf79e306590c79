"""The adapter for plain peft, with the base model that it names."""

from pathlib import Path

from flows.inference.export_format import ExportFormat, ExportRequest
from flows.inference.model_card import CardForm, python_usage
from tasks.models.export import export, public_base


def _refuse(request: ExportRequest) -> None:
    public_base(request.selected.spec, request.base)


def _write(request: ExportRequest, out: Path) -> None:
    export(request.selected.spec, request.adapter, out, public_base(request.selected.spec, request.base))


def _card(request: ExportRequest) -> CardForm:
    return CardForm(library="peft", merged=False, use=python_usage("peft", "AutoPeftModelForCausalLM"))


FORMAT = ExportFormat("adapter", _card, _write, _refuse)
