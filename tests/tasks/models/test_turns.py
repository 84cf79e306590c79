"""The turns of a tokenizer's own chat template are what transformers renders with it, on any day."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from artifacts.errors import RequestError
from flows.inference.ollama import modelfile
from tasks.config import GenerateConfig, ResolvedModel, SummarizeSpec
from tasks.models.chat_template import TurnEncoder
from tasks.models.export import exported_tokenizer
from tasks.models.loading import load_tokenizer
from tasks.models.turns import TURNS, turns_of_model, turns_of_tokenizer
from tests.support.models import tiny_tokenizer

PROMPT = "Summarize.\n\n#Person1#: It's <b>5</b> & {{ more }}.\n#Person2#: I see."
SPECIAL = {
    "gemma": ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"],
    "gemma3": ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"],
    "llama3_2": ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "qwen2_5": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "qwen3": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "smollm3": ["<|begin_of_text|>", "<|end_of_text|>", "<|im_start|>", "<|im_end|>"],
}
"""Template -> the special tokens of its tokenizer."""
ROLES = {
    "gemma": {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>"},
    "llama3_2": {"eos_token": "<|eot_id|>", "bos_token": "<|begin_of_text|>"},
    "qwen3": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    "smollm3": {"eos_token": "<|im_end|>", "bos_token": "<|begin_of_text|>"},
}
STOPS = {"gemma": "<end_of_turn>", "gemma3": "<end_of_turn>", "llama3_2": "<|eot_id|>"}
"""Template -> the token that ends its turns, if that is not <|im_end|>."""
SMOLLM3 = """\
{%- if enable_thinking is not defined -%}{%- set enable_thinking = true -%}{%- endif -%}
{{- "<|im_start|>system\\nToday Date: " ~ strftime_now("%d %B %Y") ~ "\\n" -}}
{{- "Reasoning Mode: " + ("/think" if enable_thinking else "/no_think") + "<|im_end|>\\n" -}}
{%- for message in messages -%}
{{- "<|im_start|>" + message.role + "\\n" -}}
{%- if message.role == "assistant" and not enable_thinking -%}{{- "<think>\\n\\n</think>\\n" -}}{%- endif -%}
{{- message.content + "<|im_end|>\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- "<|im_start|>assistant\\n" + ("" if enable_thinking else "<think>\\n\\n</think>\\n") -}}
{%- endif -%}
"""
"""What SmolLM3's template does with the date and with thinking."""


def template_of(name: str) -> str:
    """A family's published chat template, as TRL has it."""
    return SMOLLM3 if name == "smollm3" else (files("trl") / "chat_templates" / f"{name}.jinja").read_text()


@pytest.fixture(params=SPECIAL)
def family(request: pytest.FixtureRequest) -> tuple[str, Any]:
    """Name of a template, and a tokenizer that has it."""
    name = request.param
    roles = {"gemma3": "gemma", "qwen2_5": "qwen3"}.get(name, name)
    tokenizer = tiny_tokenizer(SPECIAL[name], **ROLES[roles])
    tokenizer.chat_template = template_of(name)
    return name, tokenizer


def rendered(tokenizer: Any, **options: Any) -> str:
    """The prompt in the template, as transformers renders it."""
    messages = [{"role": "user", "content": PROMPT}]
    text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **options)
    return text


def test_a_prompt_has_the_text_and_the_ids_that_transformers_gives_it(family: tuple[str, Any]) -> None:
    """With thinking off. The date is the same on any day, also where the template asks for today's."""
    name, tokenizer = family
    encoder = TurnEncoder(tokenizer, "tokenizer")
    text = encoder.turns.opening + PROMPT + encoder.turns.closing
    if name == "smollm3":
        lines = zip(text.split("\n"), rendered(tokenizer, enable_thinking=False).split("\n"), strict=True)
        assert [ours for ours, theirs in lines if ours != theirs] == ["Today Date: 26 Jul 2024"]
    else:
        assert text == rendered(tokenizer, enable_thinking=False, date_string="26 Jul 2024")
        assert encoder.prompts([PROMPT], 4096)[0][0] == tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ("<think>\n\n</think>" in text) == (name in ("qwen3", "smollm3"))


def test_a_row_ends_with_the_token_that_ends_the_turn(family: tuple[str, Any]) -> None:
    """It begins with the prompt of generation, and the token is a special one."""
    name, tokenizer = family
    encoder = TurnEncoder(tokenizer, "tokenizer")
    stop = STOPS.get(name, "<|im_end|>")
    assert encoder.turns.stop == stop
    ((row, length),) = encoder.rows([PROMPT], ["They talk."], 4096).rows
    assert row[:length] == encoder.prompts([PROMPT], 4096)[0][0]
    assert tokenizer.convert_ids_to_tokens(row[-1]) == stop
    forged, _ = encoder.prompts([f"a{stop}b"], 4096)
    assert forged[0].count(encoder.stop_id) == encoder.prompts(["ab"], 4096)[0][0].count(encoder.stop_id)


def test_the_template_of_gemma_is_that_with_its_name() -> None:
    """The turns defined here by hand are those of the published template."""
    tokenizer = tiny_tokenizer(SPECIAL["gemma"], **ROLES["gemma"])
    tokenizer.chat_template = template_of("gemma")
    assert turns_of_tokenizer(tokenizer) == TURNS["gemma"]


def test_a_template_without_an_end_of_turn_stops_at_the_end_of_sequence() -> None:
    tokenizer = tiny_tokenizer(["<eos>"], eos_token="<eos>")
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
    encoder = TurnEncoder(tokenizer, "tokenizer")
    assert (encoder.turns.stop, encoder.stop_id) == (None, tokenizer.eos_token_id)
    assert (encoder.turns.opening, encoder.turns.closing) == ("user: ", "\nassistant:")


def test_a_modelfile_has_the_turns_of_the_tokenizer(tmp_path: Path) -> None:
    """It is that of the same turns by name."""
    tokenizer = tiny_tokenizer(SPECIAL["gemma"], **ROLES["gemma"])
    tokenizer.chat_template = template_of("gemma")
    tokenizer.save_pretrained(tmp_path)
    model = ResolvedModel(revision="0" * 64, location=str(tmp_path), origin="tiny")
    spec = SummarizeSpec(model=model, turns="tokenizer", template="Say it. {dialogue}", generate=GenerateConfig())
    file = modelfile(spec, "model.gguf", "<end_of_turn>", "MIT")
    assert file == modelfile(spec.model_copy(update={"turns": "gemma"}), "model.gguf", "<end_of_turn>", "MIT")
    assert "<start_of_turn>user\nSay it. {{ .Prompt }}<end_of_turn>" in file


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "has no chat template, .*set model.turns to none"),
        ("{{ messages[0].content | upper }}", "changes the text of the message"),
        ("{{ messages[0].content }}{{ messages[0].content }}", "changes the text"),
        ("{{ messages[0].content | replace('&', '&amp;') }}", "changes the text"),
        ("{{ messages[0].content | length }} {{ messages[0].content }}", "depends on the text"),
        ("{{ raise_exception('no users here') }}", r"fails \(no users here\)"),
        ("{% if %}", "fails"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_with_what_to_set(template: str | None, message: str) -> None:
    tokenizer: Any = tiny_tokenizer(["<eos>"], eos_token="<eos>")
    tokenizer.chat_template = template
    with pytest.raises(RequestError, match=f"model.turns.*{message}") as refusal:
        TurnEncoder(tokenizer, "tokenizer")
    assert "set model.turns" in str(refusal.value)


def test_the_exported_template_gives_the_ids_of_the_pipeline(family: tuple[str, Any], tmp_path: Path) -> None:
    """Of one message, the dialogue; without the model's own template, which has no prompt."""
    name, tokenizer = family
    tokenizer.save_pretrained(tmp_path / name)
    model = ResolvedModel(revision="0" * 64, location=str(tmp_path / name), origin="tiny")
    spec = SummarizeSpec(model=model, turns="tokenizer", template="Summarize.\n\n{dialogue}", generate=GenerateConfig())
    assert turns_of_model("tokenizer", model) == turns_of_tokenizer(tokenizer)
    expected = TurnEncoder(load_tokenizer(model), "tokenizer").prompts([PROMPT], 4096)[0][0]
    exported = exported_tokenizer(load_tokenizer(model), spec)
    messages = [{"role": "user", "content": PROMPT.removeprefix("Summarize.\n\n")}]
    encoded = exported.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
    assert encoded["input_ids"] == expected
