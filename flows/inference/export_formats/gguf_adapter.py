"""The adapter alone for llama.cpp, which adds it to a GGUF file of the base model, and a Modelfile for Ollama."""

from pathlib import Path

from flows.inference.export_format import ExportFormat, ExportRequest
from flows.inference.gguf_usage import llama_cpp_usage, write_modelfile
from flows.inference.model_card import CardForm
from tasks.models.export import chat_template
from tasks.models.gguf_export import export_gguf_adapter, refuse_adapter_export

BASE, TEMPLATE = "BASE.gguf", "chat_template.jinja"


def _file(request: ExportRequest) -> str:
    return f"{request.name}.lora.gguf"


def _refuse(request: ExportRequest) -> None:
    refuse_adapter_export(request.selected.spec, request.adapter)


def _write(request: ExportRequest, out: Path) -> None:
    export_gguf_adapter(request.selected.spec, request.adapter, out / _file(request))
    (out / TEMPLATE).write_text(chat_template(request.selected.spec), encoding="utf-8")
    write_modelfile(request, out, BASE, _file(request))


def _card(request: ExportRequest) -> CardForm:
    files = f"--model {BASE} --lora {_file(request)} --chat-template-file {TEMPLATE}"
    note = f"`{BASE}` stands for a GGUF file of the base model; llama.cpp adds the adapter to it when it loads both."
    return CardForm(library="gguf", merged=False, use=f"{llama_cpp_usage(request, files)}\n\n{note}")


FORMAT = ExportFormat("gguf-adapter", _card, _write, _refuse)
