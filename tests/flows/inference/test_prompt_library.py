"""The prompt library: every prompt states its purpose, and the model gets exactly what the preview shows."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from artifacts.errors import RequestError
from flows.inference.prompt_library import EXAMPLE_DIALOGUE, find_prompt, names, preview, preview_text, prompt_rows
from tasks.models.chat_template import TurnEncoder
from tasks.models.prompt_template import PLACEHOLDER, fill
from tasks.transcripts.conversation import parse_conversation
from tests.support.data import read_csv
from tests.support.paths import ROOT, SAMPLE
from tests.support.processes import run_cli

CONTEXT = 2048
"""Tokens that the models of the tests have, and the default of generate.max_prompt_tokens."""
every = pytest.mark.parametrize("name", names())


@every
def test_a_prompt_states_its_purpose_and_takes_one_dialogue(name: str) -> None:
    """Purpose, form and limit of the answer; one {dialogue}; nothing that could end or open a turn."""
    prompt = find_prompt(name)
    assert len(prompt.metadata.purpose.split()) > 2
    assert prompt.metadata.output
    assert 8 <= (prompt.metadata.tokens or 0) <= 256
    assert prompt.template.count(PLACEHOLDER) == 1
    assert "---" not in prompt.template
    assert not any(marker in prompt.template for marker in ("<|", "<start_of_turn>", "<end_of_turn>", "<bos>", "<eos>"))


@every
@pytest.mark.parametrize(("model", "turns"), [("gemma", "gemma"), ("llama", "smollm2")])
def test_prompt_fits_the_context_with_the_longest_dialogue_of_the_sample(
    models: dict[str, Path], name: str, model: str, turns: Any
) -> None:
    """With the answer it allows; the stop token is one token and nowhere in the prompt's own text."""
    encoder, prompt = TurnEncoder(AutoTokenizer.from_pretrained(models[model]), turns), find_prompt(name)
    longest = max((row["dialogue"] for row in read_csv(SAMPLE / "test.csv")), key=len)
    (ids,), cut = encoder.prompts([fill(prompt.template, longest)], CONTEXT - (prompt.metadata.tokens or 0))
    assert cut == 0
    assert encoder.stop_id not in ids[len(encoder.opening) : len(ids) - len(encoder.closing)]


def test_prompts_that_artifacts_depend_on_keep_their_exact_text() -> None:
    """A changed letter would rerun training and generation."""
    assert {name: find_prompt(name).template for name in ("article", "brief", "highlight")} == {
        "article": "Write the highlight of this dialogue in one sentence:\n{dialogue}",
        "brief": "Read the dialogue and say in one short sentence who wants what and how it ends.\n\n{dialogue}",
        "highlight": "Summarize the following dialogue in one or two sentences.\n\n{dialogue}",
    }


def test_preview_shows_what_the_model_gets(models: dict[str, Path]) -> None:
    """Its ids are those of the shown text, tokenized in one go; the markers are the ends of it."""
    settings = [f"model.source={models['llama']}", "model.turns=smollm2"]
    seen = preview(find_prompt("title"), EXAMPLE_DIALOGUE, "quickstart", settings)
    tokenizer = AutoTokenizer.from_pretrained(models["llama"])
    ids = tokenizer(seen["text"], add_special_tokens=False)["input_ids"]
    assert seen["tokens"] == len(ids)
    prefix, suffix, stop = ([number for number, _ in marker["ids"]] for marker in seen["markers"])
    assert ids[: len(prefix)] == prefix
    assert ids[-len(suffix) :] == suffix
    assert stop == [tokenizer.convert_tokens_to_ids("<|im_end|>")]
    assert seen["answer_tokens"] == find_prompt("title").metadata.tokens
    assert parse_conversation(EXAMPLE_DIALOGUE).text in seen["text"]
    assert seen["text"] in preview_text(seen)


@pytest.mark.slow
def test_a_prompt_file_outside_the_library_works_the_same(tmp_path: Path, models: dict[str, Path]) -> None:
    """With front matter or without; through the command line, on a dialogue of one's own."""
    (tmp_path / "mine.txt").write_text("---\ntokens: 12\n---\nIs anybody angry?\n{dialogue}\n")
    (tmp_path / "bare.txt").write_text("Who?\n{dialogue}")
    (tmp_path / "talk.txt").write_text("Ann: Hi\nBob: Ho\n")
    assert find_prompt(str(tmp_path / "bare.txt")).metadata.tokens is None
    process = run_cli(
        "prompts",
        "--show",
        str(tmp_path / "mine.txt"),
        "--dialogue",
        str(tmp_path / "talk.txt"),
        "--json",
        "--set",
        f"model.source={models['gemma']}",
        "--set",
        "model.turns=gemma",
    )
    assert process.returncode == 0, process.stderr
    assert "loading the tokenizer of recipe quickstart" in process.stderr  # it takes seconds
    seen = json.loads(process.stdout)
    assert seen["text"] == (
        "<bos><start_of_turn>user\nIs anybody angry?\n#Person1#: Hi\n#Person2#: Ho<end_of_turn>\n<start_of_turn>model\n"
    )
    assert seen["answer_tokens"] == 12


@pytest.mark.parametrize(
    ("matter", "message"),
    [("tokens: many", "tokens: Input should be a valid integer"), ("purpos: x", "purpos"), ("a: [", "is invalid")],
)
def test_front_matter_that_is_invalid_is_refused(tmp_path: Path, matter: str, message: str) -> None:
    """The error names the problem and the keys that a file may have."""
    (tmp_path / "mine.txt").write_text(f"---\n{matter}\n---\n{{dialogue}}\n")
    with pytest.raises(RequestError, match=message):
        find_prompt(str(tmp_path / "mine.txt"))


def test_every_prompt_is_listed() -> None:
    """By `dialogsum prompts`, from the files alone."""
    files = {file.stem for file in (ROOT / "flows" / "prompts").glob("*.txt")}
    assert {row["prompt"] for row in prompt_rows()} == files
    assert {"article", "summary", "key-points", "sentiment", "who-said-what", "title", "actions"} <= files
