"""Credentials get into no override, parameter or recipe: refused at the command, in the flow and by the form's pattern.

tests/system/test_reverse_proxy.py has a real server refuse them in the form.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import ValidationError, validate
from prefect.utilities.callables import parameter_schema

from artifacts.errors import RequestError
from flows import pipeline
from flows.inference.prompt_library import names
from flows.inference.summarize_file import summarize_file
from flows.inference.summarize_flow import summarize
from flows.pipeline import evaluate, promote, resolve, retrain
from flows.recipe import PROMPTS, RECIPES, Recipe, all_keys, load_recipe
from flows.secrets_in_text import refuse_secrets
from flows.sweeps.space import parse_space
from flows.sweeps.sweep_flow import sweep
from tasks.summarization.request import SummarizeRequest
from tests.support.processes import call_cli

CANARY = "aGVsbG9UaGlzSXNBU2VjcmV0Cg"
SECRETS = [
    f"hf_{CANARY}",
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE",
    f"sk-proj-{CANARY}",
    f"sk-ant-api03-{CANARY}",
    f"ghp_{CANARY}",
    f"github_pat_11{CANARY}",
    f"glpat-{CANARY}",
    "xoxb-1234567890-abcdef",
    f"AIza{CANARY}{CANARY}",
    f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.{CANARY}",
    "-----BEGIN OPENSSH PRIVATE KEY-----",
    f"https://user:{CANARY}@host/path",
    f"s3://key:{CANARY}@bucket/data",
    f"postgresql+asyncpg://:{CANARY}@host/db",
    f"https://host/data?token={CANARY}",
    f"https://host/data?X-Amz-Signature={CANARY}",
    f"https://host/data?a=b&API_KEY={CANARY}",
    f"https://host/data?hf_token={CANARY}",
]
HARMLESS = [
    "owner/name",
    "/data/hf_home/dialogues.csv",
    "s3://bucket/risk-adjusted-returns-of-portfolios",
    "https://host:8080/path?page=2",
    "task-aaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "Summarize: {dialogue} He forgot his password = he says.",
    "mail me at user@host about s3://x",
    "train-1a2b3c4d",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_it_is_refused_wherever_a_text_is_given(secret: str, tmp_path: Path) -> None:
    """In one line that does not repeat it, before anything starts."""
    recipe = tmp_path / "own.yaml"
    recipe.write_text(f"model: {{source: x/y}}\ndata: {{source: {secret!r}}}\n")
    table = tmp_path / "calls.csv"
    attempts: dict[str, Callable[[], Any]] = {
        "override": lambda: load_recipe("quickstart", [f"data.source={secret}"]),
        "recipe": lambda: load_recipe(str(recipe)),
        "space": lambda: parse_space("quickstart", [], [f"data.source={secret},b"], False),
        "source": lambda: summarize_file(SummarizeRequest(source=secret), None),  # type: ignore[arg-type]
        "prompt": lambda: summarize_file(SummarizeRequest(source=str(table), prompt=f"{secret} {{dialogue}}"), None),  # type: ignore[arg-type]
    }
    for attempt in attempts.values():
        with pytest.raises(RequestError, match=r"what looks like a credential.*HF_TOKEN") as refused:
            attempt()
        assert secret not in str(refused.value)
        assert CANARY not in str(refused.value)
        assert str(refused.value).isprintable()


def test_the_command_does_not_repeat_it() -> None:
    """Exit 2, one line, for a known and for an unknown key."""
    for override in (f"data.source=hf_{CANARY}", f"hub.token={CANARY}", f"hf_{CANARY}"):
        refused = call_cli("plan", "quickstart", "--set", override)
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
        assert CANARY not in refused.stderr


def test_it_is_refused_in_the_prefect_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the name of the variable, and without a word in the log."""
    monkeypatch.setattr(pipeline, "is_deployment_run", lambda: True)
    monkeypatch.setattr(pipeline.Variable, "get", lambda *_: [f"data.source=hf_{CANARY}"])
    with pytest.raises(RequestError, match=r"dialogsum_overrides.*credential") as refused:
        resolve("quickstart", [])
    assert CANARY not in str(refused.value)


FIELDS: list[tuple[Any, str, Callable[[str], Any]]] = [
    *((flow, "overrides", lambda text: [f"data.source={text}"]) for flow in (retrain, evaluate, promote, sweep)),
    (sweep, "over", lambda text: [f"data.source={text},b"]),
    (evaluate, "prompt", lambda text: f"{text} {{dialogue}}"),
    (summarize, "overrides", lambda text: [f"data.source={text}"]),
    *((summarize, name, lambda text: text) for name in ("source", "column", "adapter", "prompt", "out")),
]


@pytest.mark.parametrize(("flow", "field", "value"), FIELDS)
def test_the_form_refuses_it_and_takes_all_else(flow: Any, field: str, value: Callable[[str], Any]) -> None:
    """By the schema with which Prefect's server validates the parameters of a deployment before it stores them."""
    schema = parameter_schema(flow).model_dump_for_openapi()
    schema["required"] = []
    for secret in SECRETS:
        with pytest.raises(ValidationError):
            validate({field: value(secret)}, schema)
    for text in HARMLESS:
        validate({field: value(text)}, schema)


def test_no_key_prompt_or_recipe_of_ours_is_taken_for_one() -> None:
    refuse_secrets([*HARMLESS, *(f"{key}=1" for key in all_keys(Recipe))], "a test")
    refuse_secrets([(PROMPTS / f"{name}.txt").read_text() for name in names()], "a test")
    for recipe in RECIPES.glob("*.yaml"):
        load_recipe(recipe.stem)
    assert len(SECRETS) > len({re.sub(r"\W.*", "", secret) for secret in SECRETS}) > 5


@pytest.mark.parametrize("text", ["a" * 200_000, "eyJ" * 50_000, "://" * 50_000, "-----BEGIN " * 20_000, "a:" * 90_000])
def test_a_long_text_is_searched_in_no_time(text: str) -> None:
    """A prompt of 200 kB; a pattern that backtracks would take minutes."""
    start = time.process_time()
    refuse_secrets([text], "a test")
    assert time.process_time() - start < 5
