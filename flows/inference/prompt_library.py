"""The prompt library: prompt files with metadata, and a preview of the text and token ids that the model gets.

A prompt file begins with optional front matter:

---
purpose: the gist in one short sentence          what the prompt is for
output: one sentence                             the form of the answer
tokens: 48                                       default of generate.max_new_tokens with this prompt
---
Read the dialogue and say …

{dialogue}
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from artifacts.errors import RequestError
from artifacts.record import Record
from artifacts.text import one_line
from artifacts.user_paths import user_path
from flows.recipe import PROMPTS, load_recipe
from tasks.config import Count
from tasks.models.prompt_template import PLACEHOLDER, load_prompt
from tasks.reporting.escaping import visible

_FRONT_MATTER = re.compile(r"\A---\n((?:.*\n)*?)---\n")


class PromptMetadata(Record):
    """The front matter of a prompt file; every key is optional."""

    purpose: str = ""
    output: str = ""
    tokens: Count | None = None


class Prompt(Record):
    """A prompt template with its metadata."""

    name: str
    metadata: PromptMetadata
    template: str
    """Text with {dialogue} in it."""


def find_prompt(name: str) -> Prompt:
    """The prompt with this name in the library, in this file, or with this text.

    RequestError if there is no such prompt or its front matter is invalid.
    """
    template = load_prompt(name, PROMPTS, "--prompt")
    if PLACEHOLDER in name:
        return Prompt(name="given", metadata=PromptMetadata(), template=template)
    file = PROMPTS / f"{name}.txt" if name in names() else user_path(name, "--prompt")
    front_matter = _FRONT_MATTER.match(file.read_text(encoding="utf-8-sig").replace("\r\n", "\n"))
    try:
        metadata = PromptMetadata.model_validate((yaml.safe_load(front_matter[1]) or {}) if front_matter else {})
    except (yaml.YAMLError, ValidationError) as error:
        problem = error.errors()[0] if isinstance(error, ValidationError) else None
        text = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" if problem else one_line(error, 100)
        raise RequestError(
            f"--prompt: {file}: the front matter between --- is invalid ({text}); "
            f"expected YAML with the keys {', '.join(PromptMetadata.model_fields)}"
        ) from error
    return Prompt(name=file.stem, metadata=metadata, template=template)


def names() -> list[str]:
    """Names of the prompts in the library, sorted."""
    return sorted(file.stem for file in PROMPTS.glob("*.txt"))


def prompt_rows() -> list[dict[str, Any]]:
    """One row per prompt, for the table of `dialogsum prompts`."""
    rows = []
    for prompt in map(find_prompt, names()):
        metadata = prompt.metadata
        tokens = metadata.tokens or "-"
        rows.append({"prompt": prompt.name, "for": metadata.purpose, "answer": metadata.output, "tokens": tokens})
    return rows


def preview(
    prompt: Prompt, dialogue: Any, recipe_name: str, overrides: Sequence[str], format: str | None = None
) -> dict[str, Any]:
    """The input of the model for a dialogue.

    Returns {"prompt", "dialogue", "text", "tokens", "room", "answer_tokens", "markers"}: `dialogue` is its format, the
    reason for it, and a sentence for each kind of loss, `text` the filled prompt with its turn markers, `tokens` their
    number, `room` the limit generate.max_prompt_tokens, and `markers` is [{"at", "text", "ids": [[id, token], …]}] in
    the order of the prompt, the stop token last.
    """
    from tasks.models.chat_template import TurnEncoder
    from tasks.models.loading import load_tokenizer
    from tasks.models.prompt_template import fill
    from tasks.sources.resolve import resolve_model
    from tasks.transcripts.conversation import parse_conversation

    recipe = load_recipe(recipe_name, overrides)
    tokenizer: Any = load_tokenizer(resolve_model(recipe.model))
    encoder = TurnEncoder(tokenizer, recipe.evaluation.turns or recipe.model.turns)
    conversation = parse_conversation(dialogue, format)
    filled = fill(prompt.template, conversation.text)
    (ids,), _ = encoder.prompts([filled], 1 << 40)

    def marker(at: str, text: str, ids: list[int]) -> dict[str, Any]:
        return {
            "at": at,
            "text": text,
            "ids": list(map(list, zip(ids, tokenizer.convert_ids_to_tokens(ids), strict=True))),
        }

    stop = tokenizer.convert_ids_to_tokens(encoder.stop_id)
    return {
        "prompt": prompt.name,
        "dialogue": {
            "format": conversation.format,
            "reason": conversation.reason,
            "losses": [loss.sentence for loss in conversation.losses],
        },
        "text": encoder.turns.opening + filled + encoder.turns.closing,
        "tokens": len(ids),
        "room": recipe.generate.max_prompt_tokens,
        "answer_tokens": prompt.metadata.tokens or recipe.generate.max_new_tokens,
        "markers": [
            marker("before the prompt", encoder.turns.opening, encoder.opening),
            marker("after it", encoder.turns.closing, encoder.closing),
            marker("ends the answer", stop, [encoder.stop_id]),
        ],
    }


def preview_text(preview: dict[str, Any]) -> str:
    """A preview as the terminal shows it."""
    markers = [
        f"{m['at']}: {visible(repr(m['text']))}\n  {' '.join(f'{i}={token}' for i, token in m['ids']) or 'nothing'}"
        for m in preview["markers"]
    ]
    reading = preview["dialogue"]
    return "\n".join(
        [
            visible(preview["text"]),
            "-" * 72,
            f"dialogue: {'; '.join([reading['format'], reading['reason'], *reading['losses']])}",
            *markers,
            f"{preview['tokens']} tokens of at most {preview['room']}; "
            f"the summary has at most {preview['answer_tokens']}",
        ]
    )


EXAMPLE_DIALOGUE = """\
Ann: The heating in the flat is off again. Can you send somebody?
Bob: I am sorry. A plumber can come tomorrow between nine and eleven.
Ann: Tomorrow is fine, but please let him ring before. I work at night."""
"""The dialogue of a preview without --dialogue."""


def read_dialogue(file: Path | None) -> str:
    """The text of `file`, or the example dialogue without one. RequestError if the file cannot be read."""
    if file is None:
        return EXAMPLE_DIALOGUE
    from flows.inference.transcript_input import read_text

    return read_text(user_path(str(file), "--dialogue"))
