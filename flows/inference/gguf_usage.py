"""What both formats of GGUF share: how the model card says to use them, and the Modelfile."""

from pathlib import Path

from flows.inference.export_format import ExportRequest
from flows.inference.licences import LICENCES, family_of
from flows.inference.ollama import modelfile
from tasks.models.gguf_export import stop_token

USE = """\
llama.cpp, with the dialogue in `dialogue.txt`:

```sh
llama-cli {files} --jinja --temp 0 --predict {tokens} --single-turn --file dialogue.txt
llama-server {files} --jinja --temp 0 --predict {tokens}
```

Ollama, with the `Modelfile` of this folder:

```sh
ollama create summarizer --file Modelfile
ollama run summarizer "$(cat dialogue.txt)"
```

The chat template expects one message of the user, the dialogue; it refuses a system message and earlier turns, which
the model was not trained with. It writes all special tokens itself. llama.cpp reads `{stop}` in a dialogue as the end
of its turn, where `dialogsum summarize` reads it as text."""


def llama_cpp_usage(request: ExportRequest, files: str) -> str:
    """The section of the model card on llama.cpp and Ollama; `files` are the options that name the files."""
    spec = request.selected.spec
    return USE.format(files=files, tokens=spec.generate.max_new_tokens, stop=stop_token(spec))


def write_modelfile(request: ExportRequest, out: Path, weights: str, adapter: str | None = None) -> None:
    """Write the Modelfile; its licence is the base model's, and the model card has those of the data."""
    spec = request.selected.spec
    family = family_of(spec.model)
    licence = f"Base model: {LICENCES[family] if family else 'see its publisher'}. README.md lists all licences."
    text = modelfile(spec, weights, stop_token(spec), licence, adapter)
    (out / "Modelfile").write_text(text, encoding="utf-8")
