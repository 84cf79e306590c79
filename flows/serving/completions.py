"""Responses of `/v1/chat/completions` in the form of OpenAI's API."""

import json
import time
import uuid
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from flows.serving.models import ServedModel
from flows.serving.summaries import Update, Usage

ARTIFACT_HEADER = "x-dialogsum-artifact"


@dataclass(frozen=True)
class Completion:
    """One response: whole, or as the chunks of a stream."""

    served: ServedModel
    usage: Usage
    include_usage: bool = False
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def headers(self) -> dict[str, str]:
        """The artifact that answers."""
        return {ARTIFACT_HEADER: self.served.artifact}

    def whole(self, text: str, stop: str) -> dict[str, Any]:
        """The response to a request that does not stream."""
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": _reason(stop), "logprobs": None}
        return self._object("chat.completion", [choice]) | {"usage": self._usage()}

    def chunk(self, update: Update, first: bool) -> bytes:
        """An event of a stream."""
        delta = ({"role": "assistant"} if first else {}) | {"content": update.text}
        choice = {"index": 0, "delta": delta, "finish_reason": _reason(update.stop), "logprobs": None}
        usage = {"usage": None} if self.include_usage else {}
        return event(self._object("chat.completion.chunk", [choice]) | usage)

    def end(self) -> bytes:
        """The last events of a stream."""
        usage = self._object("chat.completion.chunk", []) | {"usage": self._usage()}
        return (event(usage) if self.include_usage else b"") + b"data: [DONE]\n\n"

    def _object(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.served.artifact,
            "system_fingerprint": _fingerprint(self.served),
            "choices": choices,
        }

    def _usage(self) -> dict[str, int]:
        prompt, completion = self.usage.prompt, self.usage.completion
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def event(content: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n".encode()


def _reason(stop: str) -> str | None:
    return {"stop_token": "stop", "limit": "length", "": None}[stop]


def _fingerprint(served: ServedModel) -> str:
    """Changes with anything that an answer depends on: adapter, base model, prompt, chat template, decoding."""
    settings = f"{served.artifact}\n{served.selected.spec.model_dump_json()}"
    return f"fp_{sha256(settings.encode()).hexdigest()[:12]}"
