"""One GGUF file for llama.cpp, with the adapter merged into the base model, and a Modelfile for Ollama."""

from pathlib import Path

from flows.inference.export_format import ExportFormat, ExportRequest
from flows.inference.gguf_usage import llama_cpp_usage, write_modelfile
from flows.inference.model_card import CardForm
from tasks.models.gguf_export import export_gguf, refuse_export
from tasks.models.gguf_types import QUANTIZATIONS

ROUNDING = """\
Where weights are q8_0, llama.cpp rounds what they are multiplied with to 8 bits as well. Scores of this file, if there
are any below, are of its weights alone."""


def _file(request: ExportRequest) -> str:
    return f"{request.name}.{request.value}.gguf"


def _refuse(request: ExportRequest) -> None:
    refuse_export(request.selected.spec)


def _write(request: ExportRequest, out: Path) -> None:
    export_gguf(request.selected.spec, request.adapter, out / _file(request), request.value)
    write_modelfile(request, out, _file(request))


def _card(request: ExportRequest) -> CardForm:
    use = llama_cpp_usage(request, f"--model {_file(request)}")
    return CardForm(
        library="gguf",
        merged=True,
        use=f"{use}\n\n{ROUNDING}" if request.value == "q8_0" else use,
        precision=f"as {request.value}",
    )


FORMAT = ExportFormat("gguf", _card, _write, _refuse, QUANTIZATIONS, _file)
