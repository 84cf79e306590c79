"""llama.cpp itself, as the wheel xllamacpp has it: its server in this process, on a port of this machine."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest


class LlamaCpp:
    """A GGUF file in llama.cpp's server, with one thread, which is fastest where cores are shared."""

    def __init__(self, file: Path, lora: Path | None = None, context: int = 1024) -> None:
        xllamacpp = pytest.importorskip(
            "xllamacpp", reason="no llama.cpp: the wheel xllamacpp has it (requirements/dev.txt)"
        )
        settings = xllamacpp.CommonParams()
        settings.model.path = str(file)
        settings.n_ctx, settings.n_parallel, settings.warmup, settings.use_jinja = context, 1, False, True
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
        if lora:
            settings.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(lora), 1.0)]
        self.server = xllamacpp.Server(settings)

    def post(self, route: str, **body: Any) -> Any:
        """The answer of the server to JSON."""
        request = urllib.request.Request(
            f"{self.server.listening_address}{route}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=500) as answer:
            return json.load(answer)

    def tokens(self, text: str, special: bool = False) -> list[int]:
        """Ids of a text; with `special`, markers in it are special tokens, as in what a chat template makes."""
        body = {"content": text, "add_special": special, "parse_special": special}
        return list(self.post("/tokenize", **body)["tokens"])

    def prompt(self, dialogue: str) -> str:
        """The chat template of the file, applied to one message of the user."""
        return str(self.post("/apply-template", messages=[{"role": "user", "content": dialogue}])["prompt"])

    def greedy(self, prompt: str | list[int], tokens: int, ignore_eos: bool = False) -> list[int]:
        """Ids that follow the prompt, most probable first."""
        body = {"prompt": prompt, "n_predict": tokens, "temperature": 0, "return_tokens": True}
        return list(self.post("/completion", **body, ignore_eos=ignore_eos)["tokens"])

    def chat(self, dialogue: str, tokens: int) -> str:
        """The answer to a message of the user, as a client of the server gets it."""
        messages = [{"role": "user", "content": dialogue}]
        body = {"messages": messages, "max_tokens": tokens, "temperature": 0}
        return str(self.post("/v1/chat/completions", **body)["choices"][0]["message"]["content"])
