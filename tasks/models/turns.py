"""Chat templates as the text before the prompt, the text after it, and the token that ends the completion.

They are defined here by name, or read from the chat template of the tokenizer (`model.turns: tokenizer`).
"""

from dataclasses import dataclass
from typing import Any

from jinja2.exceptions import TemplateError

from artifacts.errors import RequestError
from artifacts.text import one_line
from tasks.config import ResolvedModel, TurnsName

DATE = "26 Jul 2024"
"""What a template gets instead of today's date, so that training and generation have the same text on any day. It is
the date that Llama 3's template has where no clock is available."""
_FIXED_DATE = f"{{%- macro strftime_now(format) -%}}{DATE}{{%- endmacro -%}}"
"""In front of a template: replaces the function with which templates ask for the date."""
_PROBES = ("DIALOGSUM-PROBE", 'DIALOGSUM-PROBE  {{ x }}\n\n <b>"it\'s"</b> & é: DIALOGSUM-END')
"""Messages without spaces at their ends, which many templates remove."""


@dataclass(frozen=True)
class Turns:
    """A chat template: text before the prompt, text between prompt and completion, token after the completion."""

    opening: str
    closing: str
    stop: str | None
    """None: the tokenizer's end-of-sequence token."""


TURNS: dict[TurnsName, Turns] = {
    "chatml": Turns("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>"),
    "gemma": Turns("<bos><start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n", "<end_of_turn>"),
    # SmolLM2's own chat template: without its system message the base model scores 4 points less
    "smollm2": Turns(
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\n",
        "<|im_end|>\n<|im_start|>assistant\n",
        "<|im_end|>",
    ),
    "none": Turns("", "\n", None),
    # what the article trained with, and what it generated with: they differ, which is one of its mistakes
    "article": Turns("<bos><start_of_turn>user\n ", "\n<end_of_turn>\n", None),
    "article-inference": Turns(
        "<bos><start_of_turn>user\n ",
        "\n<end_of_turn>\n<start_of_turn>model: Here is the summary of this dialogue:",
        None,
    ),
}
"""The templates with a name, all but `tokenizer`."""


def turns_of(name: TurnsName, tokenizer: Any) -> Turns:
    """The template with this name. RequestError if it is `tokenizer` and the tokenizer's template cannot be used."""
    return turns_of_tokenizer(tokenizer) if name == "tokenizer" else TURNS[name]


def turns_of_model(name: TurnsName, model: ResolvedModel) -> Turns:
    """The same for a model, whose tokenizer is loaded only if the name is `tokenizer`."""
    if name != "tokenizer":
        return TURNS[name]
    from tasks.models.loading import load_tokenizer  # imports transformers

    return turns_of_tokenizer(load_tokenizer(model))


def turns_of_tokenizer(tokenizer: Any) -> Turns:
    """The turns that the tokenizer's chat template puts around one message of the user.

    The template's default system message is part of the opening. Thinking is off where the template can switch it off.
    RequestError if there is no template, or if it fails, or if the message does not appear in it unchanged.
    """
    if not tokenizer.chat_template:
        raise RequestError(
            "model.turns is tokenizer, but this tokenizer has no chat template, as that of a base model that was not "
            "tuned for chat: set model.turns to none, or to the template of its family (chatml, gemma, smollm2)"
        )
    first, second = (_around(tokenizer, probe) for probe in _PROBES)
    if first != second:
        raise RequestError(
            "model.turns is tokenizer, but the tokenizer's chat template depends on the text of the message: "
            "set model.turns to the template of its family (chatml, gemma, smollm2) or to none"
        )
    return Turns(*first, _stop_token(tokenizer))


def _around(tokenizer: Any, message: str) -> tuple[str, str]:
    """The text before and after a user's message, up to where the answer begins."""
    text = _render(tokenizer, [{"role": "user", "content": message}], add_generation_prompt=True)
    if text.count(message) != 1:
        raise RequestError(
            "model.turns is tokenizer, but the tokenizer's chat template changes the text of the message: "
            "set model.turns to the template of its family (chatml, gemma, smollm2) or to none"
        )
    opening, _, closing = text.partition(message)
    return opening, closing


def _stop_token(tokenizer: Any) -> str | None:
    """The special token with which the template ends the assistant's turn; None if it ends it with none."""
    answer = "DIALOGSUM-ANSWER"
    messages = [{"role": "user", "content": _PROBES[0]}, {"role": "assistant", "content": answer}]
    _, _, end = _render(tokenizer, messages, add_generation_prompt=False).partition(answer)
    ids: list[int] = tokenizer(end, add_special_tokens=False)["input_ids"] if end else []
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return next((str(tokenizer.convert_ids_to_tokens(number)) for number in ids if number in special), None)


def _render(tokenizer: Any, messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
    try:
        text: str = tokenizer.apply_chat_template(
            messages,
            chat_template=_FIXED_DATE + tokenizer.get_chat_template(),
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            enable_thinking=False,
        )
    except (TemplateError, ValueError, TypeError, LookupError) as error:
        raise RequestError(
            f"model.turns is tokenizer, but the tokenizer's chat template fails ({one_line(error, 120)}): "
            "set model.turns to the template of its family (chatml, gemma, smollm2) or to none"
        ) from error
    return text
