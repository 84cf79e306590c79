"""A dialogue -> its summary, as `dialogsum summarize` makes it, text by text while it is generated."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

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
    limit = spec.generate.max_new_tokens
    prompts = _prompts(weights, spec)
    conversation = await asyncio.to_thread(parse_conversation, request.dialogue, request.format)
    text = conversation.text
    if not text:
        raise ApiError(400, f"the message has no dialogue ({conversation.reason})", param="messages")
    for _ in range(MAX_ROUNDS):
        (parts,) = await asyncio.to_thread(prompts.split, [text])
        if len(parts) == 1:
            break
        if not parts:
            raise _too_long(prompts)
        requests = [_prompt(prompts, part, limit, usage) for part in parts]
        summaries = await asyncio.gather(*(_whole(engine, weights, spec, part) for part in requests))
        usage.completion += sum(summary.tokens for summary in summaries)
        text = "\n".join(summary.text for summary in summaries)
    else:
        raise _too_long(prompts)
    final = _prompt(prompts, text, min(limit, request.max_tokens or limit), usage, request.stream)
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


def _prompts(weights: Weights, spec: SummarizeSpec) -> DialoguePrompts:
    encoder, decoding = TurnEncoder(weights.tokenizer, spec.turns), spec.generate
    context = weights.context or decoding.max_prompt_tokens
    room = min(decoding.max_prompt_tokens, context - decoding.max_new_tokens)
    try:
        return DialoguePrompts(encoder, spec.template, room)
    except RequestError as error:
        raise ApiError(400, str(error), param="prompt") from error


def _prompt(prompts: DialoguePrompts, text: str, limit: int, usage: Usage, stream: bool = False) -> GenerationRequest:
    (ids,) = prompts.token_ids([text])
    usage.prompt += len(ids)
    return GenerationRequest(row_id(text), ids, limit, stream)


async def _whole(
    engine: InferenceEngine, weights: Weights, spec: SummarizeSpec, request: GenerationRequest
) -> Generation:
    """The last generation of a request."""
    last = Generation("", 0, "limit")
    async with aclosing(engine.generate(weights, spec, request)) as generations:
        async for generation in generations:
            last = generation
    return last


def _too_long(prompts: DialoguePrompts) -> ApiError:
    return ApiError(
        400,
        f"the dialogue is longer than {MAX_PARTS} parts of {prompts.max_prompt_tokens} tokens: shorten it",
        param="messages",
        code="context_length_exceeded",
    )
