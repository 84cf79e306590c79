"""The interface of an inference engine, which generates texts for prompts."""

import threading
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from tasks.config import SummarizeSpec
from tasks.summarization.request import SelectedModel


class Generation(NamedTuple):
    """What was generated so far; the last one of a request has a `stop`."""

    text: str
    """From the first token on; each text begins with the one before."""
    tokens: int
    stop: str = ""
    """`stop_token` or `limit`; empty: more follows."""


@dataclass(frozen=True)
class GenerationRequest:
    """One prompt."""

    row: str
    """Id of the text, on which the random numbers of sampled candidates depend."""
    prompt: list[int]
    max_tokens: int
    """At most that of the decoding settings."""
    stop_id: int
    """The token after a summary."""
    stream: bool = False
    """Whether texts before the last one are wanted."""


@dataclass(frozen=True)
class Weights:
    """A loaded model."""

    tokenizer: Any
    context: int | None
    """Most tokens of prompt and summary together; None: unknown."""
    model: Any
    """What the engine knows the model by."""
    encoding: threading.Lock = field(default_factory=threading.Lock)
    """Held while the tokenizer encodes: it keeps the options of a call, such as whether special tokens are text."""


class InferenceEngine(Protocol):
    """Loads models and generates with them. One engine serves all models of a server."""

    name: str

    def load(self, selected: SelectedModel) -> Weights:
        """Load a model; called in a thread. RequestError or StageError if it cannot be loaded."""

    def generate(
        self, weights: Weights, spec: SummarizeSpec, request: GenerationRequest
    ) -> AsyncGenerator[Generation, None]:
        """Generate under the decoding settings of `spec`. Closing the iterator ends the generation of the prompt."""

    def unload(self, weights: Weights) -> None:
        """Free a model that no request uses."""

    def close(self) -> None:
        """Stop the engine."""
