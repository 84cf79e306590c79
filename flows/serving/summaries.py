"""A dialogue -> its summary, as `dialogsum summarize` makes it, text by text while it is generated."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from artifacts.errors import RequestError
from flows.serving.api_errors import ApiError
from flows.serving.chat_request import ChatRequest
from flows.serving.inference_engine import Generation, GenerationRequest, InferenceEngine, Weights
from tasks.config import SummarizeSpec
from tasks.models.chat_template import TurnEncoder
from tasks.summarization.dialogue_prompts import MAX_PARTS, MAX_ROUNDS, DialoguePrompts, row_id
from tasks.transcripts.conversation import Conversation, parse_conversation

_HALF_TAG = re.compile(r"#(P(e(r(s(o(n\d*)?)?)?)?)?)?$")
"""The end of a text that may become a speaker's tag."""


@dataclass
class Usage:
    """Tokens of all prompts and texts of one request, those of the parts of a long dialogue included."""

    prompt: int = 0
    completion: int = 0


@dataclass(frozen=True)
class Update:
    """What was added to the summary."""

    text: str
    stop: str = ""
    """`stop_token` or `limit` in the last one."""


async def summarize(
    request: ChatRequest, engine: InferenceEngine, weights: Weights, spec: SummarizeSpec, usage: Usage
) -> AsyncGenerator[Update, None]:
    """Yield the summary in pieces and count in `usage`. ApiError 400 if the dialogue cannot be summarized."""
    conversation = await asyncio.to_thread(parse_conversation, request.dialogue, request.format)
    text, limit = conversation.text, spec.generate.max_new_tokens
    if not text:
        raise ApiError(400, f"the message has no dialogue ({conversation.reason})", param="messages")
    for _ in range(MAX_ROUNDS):
        parts = await asyncio.to_thread(split_into_requests, weights, spec, text)
        usage.prompt += sum(len(part.prompt) for part in parts)
        if len(parts) == 1:
            break
        summaries = await asyncio.gather(*(_whole(engine, weights, spec, part) for part in parts))
        usage.completion += sum(summary.tokens for summary in summaries)
        text = "\n".join(summary.text for summary in summaries)
    else:
        raise _too_long(spec.generate.max_prompt_tokens)
    final = replace(parts[0], max_tokens=min(limit, request.max_tokens or limit), stream=request.stream)
    sent, tokens = "", 0
    async with aclosing(engine.generate(weights, spec, final)) as generations:
        async for generation in generations:
            usage.completion += generation.tokens - tokens
            tokens = generation.tokens
            shown = _shown(conversation, generation)
            if len(shown) > len(sent) or generation.stop:
                yield Update(shown[len(sent) :], generation.stop)
                sent = shown


def _shown(conversation: Conversation, generation: Generation) -> str:
    """The text with names; without its end if that may still become a tag."""
    text = conversation.restore_names(generation.text)
    return text if generation.stop else _HALF_TAG.sub("", text).rstrip()


def split_into_requests(weights: Weights, spec: SummarizeSpec, text: str) -> list[GenerationRequest]:
    """One request, or one for each part of a text that does not fit the context. Runs in a thread."""
    decoding = spec.generate
    context = weights.context or decoding.max_prompt_tokens
    room = min(decoding.max_prompt_tokens, context - decoding.max_new_tokens)
    with weights.encoding:
        encoder = TurnEncoder(weights.tokenizer, spec.turns)
        try:
            prompts = DialoguePrompts(encoder, spec.template, room)
        except RequestError as error:
            raise ApiError(400, str(error), param="prompt") from error
        (parts,) = prompts.split([text])
        if not parts:
            raise _too_long(room)
        ids = prompts.token_ids(parts)
    return [
        GenerationRequest(row_id(part), prompt, decoding.max_new_tokens, encoder.stop_id)
        for part, prompt in zip(parts, ids, strict=True)
    ]


async def _whole(
    engine: InferenceEngine, weights: Weights, spec: SummarizeSpec, request: GenerationRequest
) -> Generation:
    """The last generation of a request."""
    last = Generation("", 0, "limit")
    async with aclosing(engine.generate(weights, spec, request)) as generations:
        async for generation in generations:
            last = generation
    return last


def _too_long(room: int) -> ApiError:
    return ApiError(
        400,
        f"the dialogue is longer than {MAX_PARTS} parts of {room} tokens: shorten it",
        param="messages",
        code="context_length_exceeded",
    )
