"""The exported chat template: one beginning of the text by every documented path, parts, and no message unseen."""

from pathlib import Path
from typing import Any

import pytest
from jinja2.exceptions import TemplateError
from transformers import AutoTokenizer

from tasks.config import GenerateConfig, ResolvedModel, SummarizeSpec
from tasks.models.chat_template import TurnEncoder
from tasks.models.export import exported_tokenizer
from tasks.models.loading import load_tokenizer
from tasks.models.prompt_template import fill

TEMPLATE = "Summarize.\n\n{dialogue}\n\nSummary:"
DIALOGUE = "#Person1#: Where is the key?\n#Person2#: In the drawer."


@pytest.fixture(params=["gemma", "chatml"])
def exported(request: pytest.FixtureRequest, models: dict[str, Path], tmp_path: Path) -> tuple[Any, SummarizeSpec]:
    folder = models["gemma" if request.param == "gemma" else "llama"]
    model = ResolvedModel(revision="0" * 64, location=str(folder), origin="tiny")
    spec = SummarizeSpec(model=model, turns=request.param, template=TEMPLATE, generate=GenerateConfig())
    exported_tokenizer(load_tokenizer(model), spec).save_pretrained(tmp_path / "tokenizer")
    return AutoTokenizer.from_pretrained(tmp_path / "tokenizer"), spec


def test_the_ids_are_those_that_the_pipeline_generates_from(exported: tuple[Any, SummarizeSpec]) -> None:
    """As text and as parts; the text of the template, tokenized with special tokens or without, has the same ids."""
    tokenizer, spec = exported
    expected = TurnEncoder(load_tokenizer(spec.model), spec.turns).prompts([fill(TEMPLATE, DIALOGUE)], 4096)[0][0]
    parts = [{"type": "text", "text": DIALOGUE[:9]}, {"type": "text", "text": DIALOGUE[9:]}]
    for content in (DIALOGUE, parts):
        messages = [{"role": "user", "content": content}]
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
        assert ids == expected
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == expected
        assert tokenizer(text)["input_ids"] == expected
    if spec.turns == "gemma":
        assert expected.count(tokenizer.bos_token_id) == 1


@pytest.mark.parametrize(
    "others",
    [
        [{"role": "system", "content": "Be brief."}],
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}],
    ],
    ids=["system message", "earlier turns"],
)
def test_messages_that_the_model_was_not_trained_with_are_refused(
    exported: tuple[Any, SummarizeSpec], others: list[dict[str, str]]
) -> None:
    with pytest.raises(TemplateError, match="pass one message of the user"):
        exported[0].apply_chat_template([*others, {"role": "user", "content": DIALOGUE}], tokenize=False)
