"""The body of `/v1/chat/completions`: which parameters of OpenAI's API are used, ignored or refused."""

import json
from typing import Any

from artifacts.record import Record
from artifacts.text import did_you_mean, one_line
from flows.inference.prompt_library import names
from flows.serving.api_errors import ApiError
from tasks.transcripts.formats import FORMAT_NAMES

IGNORED = {"user", "seed", "metadata", "store", "safety_identifier", "prompt_cache_key", "service_tier"}
"""Parameters that change no answer: a summary is always the same for the same model, prompt and dialogue."""
HARMLESS: dict[str, tuple[Any, ...]] = {
    "temperature": (0,),
    "top_p": (1,),
    "n": (1,),
    "stop": ([],),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none",),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
}
"""Parameters that only these values, or null, are accepted for: they ask for what happens anyway."""
USED = {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "prompt", "format"}


class ChatRequest(Record):
    """A request for one summary."""

    dialogue: str
    model: str = "champion"
    prompt: str | None = None
    """Name in the prompt library; None: the prompt of the model."""
    format: str | None = None
    """Format of the dialogue; None: detected."""
    max_tokens: int | None = None
    stream: bool = False
    include_usage: bool = False


def parse_chat_request(body: bytes) -> ChatRequest:
    """The request in a body. ApiError 400 names the parameter that is wrong or not supported."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is not valid JSON ({one_line(error, 100)})") from error
    if not isinstance(content, dict):
        raise ApiError(400, "the body is not a JSON object")
    content = {name: value for name, value in content.items() if value is not None}
    for name in content.keys() - USED - IGNORED:
        _refuse_unless_harmless(name, content[name])
    options = _typed(content, "stream_options", dict, {})
    return ChatRequest(
        dialogue=_dialogue(content.get("messages")),
        model=_typed(content, "model", str, "champion"),
        prompt=_choice(content, "prompt", names()),
        format=_choice(content, "format", FORMAT_NAMES),
        max_tokens=_max_tokens(content),
        stream=_typed(content, "stream", bool, False),
        include_usage=_typed(options, "include_usage", bool, False),
    )


def _dialogue(messages: Any) -> str:
    """The text of the only message, as the chat template of an export takes it."""
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise ApiError(400, "messages is not a list of objects with role and content", param="messages")
    if len(messages) != 1 or messages[0].get("role", "user") != "user":
        roles = ", ".join(one_line(message.get("role"), 20) for message in messages[:5]) or "none"
        raise ApiError(
            400,
            "this model summarizes one dialogue: pass one message with role user and the dialogue in it, no system "
            f"message and no earlier turns (roles: {roles})",
            param="messages",
        )
    content = messages[0].get("content")
    if isinstance(content, list):
        parts = [
            part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in content
        ]
        content = "".join(parts) if all(isinstance(part, str) for part in parts) else None  # type: ignore[arg-type]
    if not isinstance(content, str):
        raise ApiError(400, "the content of a message is a text, or a list of parts of type text", param="messages")
    if not content.strip():
        raise ApiError(400, "the message has no dialogue", param="messages")
    return content


def _refuse_unless_harmless(name: str, value: Any) -> None:
    accepted = HARMLESS.get(name)
    if accepted is None:
        raise ApiError(400, f"the parameter {one_line(name, 60)} is not supported", param=name, code="unsupported")
    if value not in accepted:
        raise ApiError(
            400,
            f"{name} is not supported: the model decodes as it was evaluated; leave it out or pass "
            f"{json.dumps(accepted[0])}",
            param=name,
            code="unsupported",
        )


def _typed(content: dict[str, Any], name: str, kind: type, default: Any) -> Any:
    value = content.get(name, default)
    if not isinstance(value, kind):
        raise ApiError(400, f"{name} is not of type {kind.__name__}", param=name)
    return value


def _choice(content: dict[str, Any], name: str, known: Any) -> str | None:
    value = content.get(name)
    if value is not None and (not isinstance(value, str) or value not in known):
        raise ApiError(400, f"no {name} {one_line(value, 60)!r}{did_you_mean(str(value), known)}", param=name)
    return value


def _max_tokens(content: dict[str, Any]) -> int | None:
    """The lower of `max_completion_tokens` and its older name."""
    values = []
    for name in ("max_completion_tokens", "max_tokens"):
        value = content.get(name)
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ApiError(400, f"{name} is not a whole number of at least 1", param=name)
            values.append(value)
    return min(values) if values else None
