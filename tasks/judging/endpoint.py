"""A model behind an OpenAI-compatible API as a judge: one request per summary, whose answer has a score in JSON.

The key of the API is read from the environment when requests are sent; no record, file or message has it.
"""

import json
import os
import re
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from artifacts.errors import RequestError, StageError
from tasks.config import JudgeEndpoint
from tasks.judging.batches import batches, finished, save
from tasks.judging.texts import JudgedText, empty_summary
from tasks.metrics.judgement import Judgement
from tasks.workers.events import Events

KEY_VARIABLE = "DIALOGSUM_JUDGE_KEY"
RETRIES = 6
"""How often a request is repeated after 429, a server error or a timeout; the client waits as Retry-After says, up to
two minutes, else half a second, doubled each time up to 8 s."""
TIMEOUT = 120.0
"""Seconds until a request without an answer is repeated."""
CHARACTERS_PER_TOKEN = 4
"""To estimate the tokens of a prompt: no tokenizer of the endpoint's model is known."""
MOST_SAVED = 2000
"""Characters of an answer that are kept."""


def judge_by_endpoint(
    endpoint: JudgeEndpoint, texts: Sequence[JudgedText], parts: Path, events: Events, retries: int = RETRIES
) -> dict[str, Any]:
    """Judge the texts whose judgements are not in `parts` yet. Returns measurements.

    RequestError if the endpoint refuses the key, the model or the request; StageError if it fails after all retries.
    What was answered is kept in `parts`.
    """
    done = finished(parts)
    remaining = [text for text in texts if text.key not in done]
    if done:
        events.log(f"{len(done)} of {len(texts)} summaries were judged by an earlier run; resuming")
    asked = [text for text in remaining if text.summary.strip()]
    if asked:
        events.log(announcement(endpoint, asked))
    started, completed = time.perf_counter(), len(texts) - len(remaining)
    client = _Client(endpoint, retries)
    with ThreadPoolExecutor(endpoint.requests_at_once) as pool:
        for batch in batches(remaining):
            requests = [pool.submit(client.judge, text) for text in batch]
            wait(requests, return_when=FIRST_EXCEPTION)
            for request in requests:
                request.cancel()  # those that have not begun when another one failed
            wait(requests)
            if succeeded := [one for one in requests if not one.cancelled() and one.exception() is None]:
                save([one.result() for one in succeeded], parts)
            for failed in (one for one in requests if not one.cancelled()):
                failed.result()
            completed += len(batch)
            events.progress(completed, len(texts), f"{completed / (time.perf_counter() - started):.1f} summaries/s")
    return {
        "judging_seconds": round(time.perf_counter() - started, 2),
        "requests": len(asked),
        "prompt_tokens": client.prompt_tokens or None,
        "answer_tokens": client.answer_tokens or None,
        "answered_by": ", ".join(sorted(client.models)) or None,
    }


def announcement(endpoint: JudgeEndpoint, texts: Sequence[JudgedText]) -> str:
    """What is about to be asked, and what it costs if a price is known."""
    characters = sum(len(fill(endpoint.template, text)) for text in texts)
    tokens = round(characters / CHARACTERS_PER_TOKEN)
    cost = ""
    if endpoint.price_per_million_tokens is not None:
        cost = f", about {tokens / 1e6 * endpoint.price_per_million_tokens:.2f} for the prompts, without the answers"
    return (
        f"asking {endpoint.name} at {urlsplit(endpoint.url).hostname}: {len(texts):,} requests, about {tokens:,} "
        f"prompt tokens{cost}; each answer has at most {endpoint.max_new_tokens:,} tokens"
    )


def fill(template: str, text: JudgedText) -> str:
    """The prompt for one summary. Braces in dialogue and summary are not filled."""
    values = {"dialogue": text.dialogue, "summary": text.summary}
    return re.sub(r"\{(dialogue|summary)\}", lambda match: values[match[1]], template)


def parse(answer: str) -> tuple[float, tuple[str, ...]] | None:
    """Score (0 to 1) and unsupported statements of an answer; None if it has no JSON object with a score from 0 to 100.

    The last such object counts: a model may think aloud before it.
    """
    decoder, found = json.JSONDecoder(), None
    position = answer.find("{")
    while position >= 0:
        try:
            value, end = decoder.raw_decode(answer, position)
        except (ValueError, RecursionError):
            value, end = None, position + 1
        score = value.get("score") if isinstance(value, dict) else None
        if isinstance(score, int | float) and not isinstance(score, bool) and 0 <= score <= 100:
            statements = value.get("unsupported")
            listed = statements if isinstance(statements, list) else []
            found = score / 100, tuple(each for each in listed if isinstance(each, str))
        else:
            end = position + 1  # an object in it may have a score
        position = answer.find("{", end)
    return found


class _Client:
    """Asks the endpoint, and counts what it reports."""

    def __init__(self, endpoint: JudgeEndpoint, retries: int) -> None:
        try:
            import openai
        except ImportError as error:
            raise RequestError(
                "judge.endpoint needs the package openai: pip install 'dialogsum-pipeline[judge]'"
            ) from error
        self.openai, self.endpoint = openai, endpoint
        self.client = openai.OpenAI(
            base_url=endpoint.url,
            api_key=os.environ.get(KEY_VARIABLE) or "none",  # servers of one's own ask for no key
            max_retries=retries,
            timeout=TIMEOUT,
        )
        self.lock = Lock()
        self.models: set[str] = set()
        self.prompt_tokens = self.answer_tokens = 0

    def judge(self, text: JudgedText) -> Judgement:
        """The judgement of one summary; its score is None if the answer cannot be read."""
        if (judgement := empty_summary(text)) is not None:
            return judgement
        answer = self._ask(fill(self.endpoint.template, text))
        parsed = parse(answer)
        score, unsupported = parsed if parsed is not None else (None, ())
        return Judgement(id=text.id, kind=text.kind, score=score, unsupported=unsupported, answer=answer[:MOST_SAVED])

    def _ask(self, prompt: str) -> str:
        openai, endpoint = self.openai, self.endpoint
        host = urlsplit(endpoint.url).hostname
        # messages have no text of the endpoint: it may repeat the key
        try:
            response = self.client.chat.completions.create(
                model=endpoint.name,
                messages=[{"role": "user", "content": prompt}],
                temperature=openai.omit if endpoint.temperature is None else endpoint.temperature,
                max_completion_tokens=endpoint.max_new_tokens,
            )
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            key = f"the key in {KEY_VARIABLE}" if os.environ.get(KEY_VARIABLE) else "requests without a key"
            raise RequestError(
                f"judge.endpoint: {host} refuses {key} ({error.status_code}): set {KEY_VARIABLE} to a valid key"
            ) from None
        except (openai.RateLimitError, openai.InternalServerError, openai.ConflictError) as error:
            raise StageError(
                f"{host} answers {error.status_code} also after {self.client.max_retries} retries: what it answered is "
                "kept; run again later, or with fewer judge.requests_at_once"
            ) from None
        except openai.APIStatusError as error:
            raise RequestError(
                f"judge.endpoint: {host} refuses the request ({error.status_code}): check judge.endpoint, judge.name "
                f"({endpoint.name}) and judge.max_new_tokens"
            ) from None
        except openai.APIConnectionError as error:
            kind = "does not answer in time" if isinstance(error, openai.APITimeoutError) else "cannot be reached"
            raise StageError(f"{host} {kind}: what it answered is kept; run again to go on") from None
        except (openai.APIError, ValueError):  # a response that is not in the form of the API, or no JSON
            return ""
        return self._text(response)

    def _text(self, response: Any) -> str:
        """The text of a response; empty if it has none."""
        usage = getattr(response, "usage", None)
        with self.lock:
            self.models.add(str(getattr(response, "model", None) or self.endpoint.name))
            self.prompt_tokens += getattr(usage, "prompt_tokens", None) or 0
            self.answer_tokens += getattr(usage, "completion_tokens", None) or 0
        choices = getattr(response, "choices", None)
        return str(choices[0].message.content or "") if choices else ""
