"""Which requests are taken, and how the others are refused."""

import json
from typing import Any

import pytest

from flows.serving.api_errors import ApiError
from flows.serving.chat_request import parse_chat_request

MESSAGE = {"role": "user", "content": "Ann: Hi."}


def parsed(**content: Any) -> Any:
    return parse_chat_request(json.dumps({"messages": [MESSAGE]} | content).encode())


def test_defaults_and_what_is_used() -> None:
    request = parsed()
    assert (request.dialogue, request.model, request.max_tokens, request.stream) == (
        "Ann: Hi.",
        "champion",
        None,
        False,
    )
    parts = [{"type": "text", "text": "Ann: "}, {"type": "text", "text": "Hi."}]
    request = parsed(
        messages=[{"role": "user", "content": parts}],
        model="base",
        prompt="brief",
        format="colon",
        max_tokens=9,
        max_completion_tokens=7,
        stream=True,
        stream_options={"include_usage": True},
    )
    assert (request.dialogue, request.model, request.prompt, request.format) == ("Ann: Hi.", "base", "brief", "colon")
    assert (request.max_tokens, request.stream, request.include_usage) == (7, True, True)


@pytest.mark.parametrize(
    "content",
    [
        {"temperature": 0},
        {"temperature": None},
        {"top_p": 1.0, "n": 1, "stop": None, "tools": [], "tool_choice": "none"},
        {"user": "me", "seed": 3, "metadata": {"a": "b"}, "store": False},
        {"response_format": {"type": "text"}, "logprobs": False, "frequency_penalty": 0},
    ],
)
def test_harmless_parameters_are_taken(content: dict[str, Any]) -> None:
    assert parsed(**content).dialogue == "Ann: Hi."


SYSTEM = {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    ("content", "param", "words"),
    [
        ({"temperature": 0.7}, "temperature", "pass 0"),
        ({"top_p": 0.9}, "top_p", "pass 1"),
        ({"n": 2}, "n", "pass 1"),
        ({"stop": "."}, "stop", "not supported"),
        ({"tools": [{"type": "function"}]}, "tools", "not supported"),
        ({"response_format": {"type": "json_object"}}, "response_format", "not supported"),
        ({"best_of": 2}, "best_of", "best_of is not supported"),
        ({"max_tokens": 0}, "max_tokens", "at least 1"),
        ({"max_tokens": True}, "max_tokens", "whole number"),
        ({"stream": "yes"}, "stream", "not of type bool"),
        ({"model": 3}, "model", "not of type str"),
        ({"prompt": "breif"}, "prompt", "did you mean 'brief'"),
        ({"prompt": "/etc/passwd"}, "prompt", "no prompt '/etc/passwd'"),
        ({"prompt": "Say {dialogue}"}, "prompt", "no prompt"),
        ({"format": "docx"}, "format", "no format 'docx'"),
        ({"messages": [SYSTEM, MESSAGE]}, "messages", "no system message"),
        ({"messages": [MESSAGE, {"role": "assistant", "content": "Hi."}, MESSAGE]}, "messages", "no earlier turns"),
        ({"messages": []}, "messages", "one message"),
        ({"messages": "Hi"}, "messages", "list of objects"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages", "no dialogue"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages", "type text"),
        ({"messages": [{"role": "user"}]}, "messages", "type text"),
    ],
)
def test_others_are_refused_by_name(content: dict[str, Any], param: str, words: str) -> None:
    with pytest.raises(ApiError) as caught:
        parsed(**content)
    error = caught.value.content["error"]
    assert (caught.value.status, error["param"], error["type"]) == (400, param, "invalid_request_error")
    assert words in error["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError, match="the body is not"):
        parse_chat_request(body)
