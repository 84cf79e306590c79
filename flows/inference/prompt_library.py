"""The prompt library: what each prompt is for, what it answers with, how long; and what the model really gets to see.

---
purpose: the gist in one short sentence          what it is for
output: one sentence                             the form of the answer
tokens: 48                                       how long an answer may be, unless the recipe or --set says otherwise
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


class About(Record):
    """The front matter of a prompt file; all of it may be missing."""

    purpose: str = ""
    output: str = ""
    tokens: Count | None = None


class Prompt(Record):
    """A prompt with what its file says about it."""

    name: str
    about: About
    template: str
    """Text with {dialogue} in it."""


def find_prompt(name: str) -> Prompt:
    """A prompt by its name in the library, its file, or its own text. RequestError if it is none, or says nonsense."""
    template = load_prompt(name, PROMPTS, "--prompt")
    if PLACEHOLDER in name:
        return Prompt(name="given", about=About(), template=template)
    file = PROMPTS / f"{name}.txt" if name in names() else user_path(name, "--prompt")
    matter = _FRONT_MATTER.match(file.read_text(encoding="utf-8-sig").replace("\r\n", "\n"))
    try:
        about = About.model_validate((yaml.safe_load(matter[1]) or {}) if matter else {})
    except (yaml.YAMLError, ValidationError) as error:
        problem = error.errors()[0] if isinstance(error, ValidationError) else None
        text = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" if problem else one_line(error, 100)
        raise RequestError(
            f"--prompt: {file}: the lines between --- do not read ({text}); known: {', '.join(About.model_fields)}"
        ) from error
    return Prompt(name=file.stem, about=about, template=template)


def names() -> list[str]:
    """Prompts of the library."""
    return sorted(file.stem for file in PROMPTS.glob("*.txt"))


def listed() -> list[dict[str, Any]]:
    """One row a prompt, for the table of `dialogsum prompts`."""
    prompts = [find_prompt(name) for name in names()]
    return [
        {"prompt": p.name, "for": p.about.purpose, "answer": p.about.output, "tokens": p.about.tokens or "-"}
        for p in prompts
    ]


def preview(
    prompt: Prompt, dialogue: Any, recipe_name: str, overrides: Sequence[str], format: str | None = None
) -> dict[str, Any]:
    """What the model gets for a dialogue: `text` with the markers, `tokens` in all, `room` for them, and at each marker its ids.

    `dialogue`: its format, the reason for it, and sentences about what is lost of it.

    `markers`: [{"at", "text", "ids": [[id, token], …]}] in the order of the prompt, the stop token last.
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
        "answer_tokens": prompt.about.tokens or recipe.generate.max_new_tokens,
        "markers": [
            marker("before the prompt", encoder.turns.opening, encoder.opening),
            marker("after it", encoder.turns.closing, encoder.closing),
            marker("ends the answer", stop, [encoder.stop_id]),
        ],
    }


def in_words(seen: dict[str, Any]) -> str:
    """A preview for people."""
    markers = [
        f"{m['at']}: {visible(repr(m['text']))}\n  {' '.join(f'{i}={token}' for i, token in m['ids']) or 'nothing'}"
        for m in seen["markers"]
    ]
    return "\n".join(
        [
            visible(seen["text"]),
            "-" * 72,
            f"dialogue: {'; '.join([seen['dialogue']['format'], seen['dialogue']['reason'], *seen['dialogue']['losses']])}",
            *markers,
            f"{seen['tokens']} tokens of at most {seen['room']}; the answer has at most {seen['answer_tokens']}",
        ]
    )


SHOWN = """\
Ann: The heating in the flat is off again. Can you send somebody?
Bob: I am sorry. A plumber can come tomorrow between nine and eleven.
Ann: Tomorrow is fine, but please let him ring before. I work at night."""
"""The dialogue that previews use unless another is given."""


def dialogue_of(file: Path | None) -> str:
    """The dialogue of a preview."""
    if file is None:
        return SHOWN
    from flows.inference.transcript_input import read_text

    return read_text(user_path(str(file), "--dialogue"))
