"""Load on a server of the champion: clients that ask while promotions and rollbacks change the champion log.

Each answer is checked: its artifact was named by the log at a moment between request and answer, and its text is the
one that this artifact gives alone.
"""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

PATH = "/v1/chat/completions"


@dataclass
class Answer:
    """One request and what came of it."""

    dialogue: int
    started: float
    ended: float
    status: int | str
    artifact: str = ""
    text: str = ""


@dataclass
class Changes:
    """Changes of the champion log, each with the time before and after it was written."""

    entries: list[tuple[str, float, float]] = field(default_factory=list)
    """Artifact, and the interval in which it became champion."""

    def make(self, change: Callable[[], str]) -> None:
        """Change the log; `change` returns the new champion."""
        started = time.monotonic()
        self.entries.append((change(), started, time.monotonic()))

    def named(self, start: float, end: float) -> set[str]:
        """The artifacts that the log may have named between two times."""
        ends = [after for _, _, after in self.entries[1:]] + [float("inf")]
        return {
            artifact
            for (artifact, began, _), ended in zip(self.entries, ends, strict=True)
            if began <= end and ended >= start
        }


def load(
    url: str,
    dialogues: Sequence[str],
    *,
    clients: int,
    requests: int | None = None,
    changes: int = 0,
    change: Callable[[], str] | None = None,
    first: str = "",
    pause: float = 0.0,
    model: str = "champion",
    **body: Any,
) -> tuple[list[Answer], Changes, float]:
    """Ask from `clients` clients at once: `requests` times, or until `changes` changes are made.

    Returns the answers, the changes and the seconds. change: makes the next change and returns the new champion.
    first: the champion at the beginning. pause: mean seconds between changes.
    """
    log, done = Changes([(first, 0.0, 0.0)]), threading.Event()

    def make_changes() -> None:
        assert change is not None
        chance = random.Random(0)  # noqa: S311  # no secret
        for number in range(changes):
            log.make(change)
            # now and then long enough for requests that only one model may answer
            time.sleep(40 * pause if number % 25 == 0 else chance.uniform(0, 2 * pause))
        done.set()

    started = time.monotonic()
    changer = threading.Thread(target=make_changes) if change else None
    if changer:
        changer.start()
    answers = asyncio.run(_ask_all(url, dialogues, clients, requests, done, {"model": model} | body))
    seconds = time.monotonic() - started
    if changer:
        changer.join()
    return answers, log, seconds


async def _ask_all(
    url: str, dialogues: Sequence[str], clients: int, requests: int | None, done: threading.Event, body: dict[str, Any]
) -> list[Answer]:
    answers: list[Answer] = []
    numbers = iter(range(requests if requests is not None else 10**9))
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)

    async def ask(client: httpx.AsyncClient) -> None:
        for number in numbers:
            if done.is_set():
                return
            answers.append(await _ask(client, number % len(dialogues), dialogues[number % len(dialogues)], body))

    async with httpx.AsyncClient(base_url=url, timeout=600, limits=limits) as client:
        await asyncio.gather(*(ask(client) for _ in range(clients)))
    return answers


async def _ask(client: httpx.AsyncClient, index: int, dialogue: str, body: dict[str, Any]) -> Answer:
    content = body | {"messages": [{"role": "user", "content": dialogue}]}
    started = time.monotonic()
    try:
        response = await client.post(PATH, json=content)
    except httpx.HTTPError as error:
        return Answer(index, started, time.monotonic(), type(error).__name__)
    ended = time.monotonic()
    if response.status_code != 200:
        return Answer(index, started, ended, response.status_code)
    answer = response.json()
    text = answer["choices"][0]["message"]["content"]
    return Answer(index, started, ended, 200, answer["model"], text)


def verdict(answers: Sequence[Answer], log: Changes, expected: dict[str, list[str]]) -> dict[str, int]:
    """What was wrong with the answers. expected: artifact -> the text of each dialogue."""
    good = [answer for answer in answers if answer.status == 200]
    allowed = [log.named(answer.started, answer.ended) for answer in good]
    return {
        "requests": len(answers),
        "failed": len(answers) - len(good),
        "wrong model": sum(a.artifact not in names for a, names in zip(good, allowed, strict=True)),
        "wrong text": sum(a.text != expected[a.artifact][a.dialogue] for a in good if a.artifact in expected),
        "one model possible": sum(len(names) == 1 for names in allowed),
    }


def latency(answers: Sequence[Answer], seconds: float) -> dict[str, float]:
    """Seconds of the median and of the slowest twentieth, and answers per second."""
    times = [answer.ended - answer.started for answer in answers if answer.status == 200]
    p50, p95 = np.percentile(times, (50, 95)) if times else (float("nan"), float("nan"))
    return {"p50 s": round(float(p50), 3), "p95 s": round(float(p95), 3), "answers/s": round(len(times) / seconds, 2)}
