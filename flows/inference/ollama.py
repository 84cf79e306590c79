"""An Ollama Modelfile, whose template has the turns and the prompt of the chat template around `{{ .Prompt }}`."""

import json

from tasks.config import SummarizeSpec
from tasks.models.prompt_template import PLACEHOLDER
from tasks.models.turns import turns_of_model


def modelfile(spec: SummarizeSpec, weights: str, stop: str, licence: str, adapter: str | None = None) -> str:
    """The Modelfile of GGUF files beside it. It decodes greedily and stops where `dialogsum summarize` does.

    weights, adapter: names of files. stop: the token that ends a summary. licence: text of the licences.
    """
    turns, settings = turns_of_model(spec.turns, spec.model), spec.generate
    prefix, suffix = spec.template.split(PLACEHOLDER)
    template = f"{_literal(turns.opening + prefix)}{{{{ .Prompt }}}}{_literal(suffix + turns.closing)}"
    lines = [
        f"FROM ./{weights}",
        *([f"ADAPTER ./{adapter}"] if adapter else []),
        f'TEMPLATE """{template}"""',
        f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}",
        "PARAMETER temperature 0",
        "PARAMETER repeat_penalty 1",
        f"PARAMETER num_predict {settings.max_new_tokens}",
        f"PARAMETER num_ctx {settings.max_prompt_tokens + settings.max_new_tokens}",
        'LICENSE """' + licence.replace('"""', "'''") + '"""',
    ]
    return "\n".join(lines) + "\n"


def _literal(text: str) -> str:
    """Text in a template of Go: as it is, or as a string of Go if it has what ends a text or begins an action."""
    special = any(mark in text for mark in ("{{", "}}", '"""')) or text.startswith('"') or text.endswith('"')
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}" if special else text
