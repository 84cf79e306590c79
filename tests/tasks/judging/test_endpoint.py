"""The endpoint as a judge: what it is asked, what of its answers is read, and what happens when it fails."""

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artifacts.errors import RequestError, StageError
from tasks.config import JudgeEndpoint
from tasks.judging import endpoint as module
from tasks.judging.batches import finished
from tasks.judging.endpoint import KEY_VARIABLE, announcement, fill, judge_by_endpoint, parse
from tasks.judging.texts import JudgedText
from tasks.metrics.judgement import Kind
from tests.support.judges import Reply, judge_server
from tests.support.listeners import RecordingListener

KEY = "sk-" + "never-stored-" * 3
SOON = {"retry-after-ms": "5"}
"""The client waits this long instead of half a second."""


def settings(url: str, **more: Any) -> JudgeEndpoint:
    fields = {"url": url, "name": "some-model", "template": "D: {dialogue} S: {summary}", "temperature": 0.0}
    return JudgeEndpoint.model_validate(fields | {"max_new_tokens": 50, "requests_at_once": 2} | more)


def texts(count: int) -> list[JudgedText]:
    return [
        JudgedText(id=f"test_{i}", kind=Kind.PREDICTION, dialogue=f"A: number {i}", summary=f"It is {i}.")
        for i in range(count)
    ]


def score_of(prompt: str) -> int:
    """A score that depends on the summary alone."""
    return int(re.findall(r"\d+", prompt)[-1]) * 10


def good(number: int, prompt: str) -> Reply:
    return Reply(text=json.dumps({"unsupported": ["It"], "score": score_of(prompt)}))


def ask(tmp_path: Path, reply: Callable[[int, str], Reply], count: int = 5, **more: Any) -> tuple[Any, Any, list[str]]:
    """(server, judgements by id, log lines)"""
    events = RecordingListener()
    with judge_server(reply) as server:
        judge_by_endpoint(settings(server.url, **more), texts(count), tmp_path / "parts", events, retries=3)
    return server, {one.id: one for one in finished(tmp_path / "parts").values()}, events.lines


def test_every_summary_is_asked_once_with_the_prompt_and_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    server, judged, lines = ask(tmp_path, good, price_per_million_tokens=1e6)
    assert sorted(body["messages"][0]["content"] for body in server.requests) == [
        f"D: A: number {i} S: It is {i}." for i in range(5)
    ]
    assert {(body["model"], body["temperature"], body["max_completion_tokens"]) for body in server.requests} == {
        ("some-model", 0.0, 50)
    }
    assert server.keys == {f"Bearer {KEY}"}
    assert {name: one.score for name, one in judged.items()} == {f"test_{i}": i / 10 for i in range(5)}
    assert judged["test_3"].unsupported == ("It",)
    # 5 prompts of 26 characters, 4 per token: 32 tokens, at 1 each
    assert re.search(r"5 requests, about 32 prompt tokens, about 32\.\d\d for", lines[0])
    assert not any(KEY.encode() in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert not any(KEY in line for line in lines)


def test_no_temperature_is_left_to_the_endpoint(tmp_path: Path) -> None:
    server, *_ = ask(tmp_path, good, 1, temperature=None)
    assert "temperature" not in server.requests[0]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_request_that_may_succeed_later_is_repeated(tmp_path: Path, status: int) -> None:
    server, judged, _ = ask(tmp_path, lambda n, p: Reply(status, headers=SOON) if n < 3 else good(n, p))
    assert len(server.requests) == 5 + 3
    assert all(one.score is not None for one in judged.values())


def test_what_was_answered_before_a_failure_is_kept_and_not_asked_again(tmp_path: Path) -> None:
    """One request fails for good: the run ends with the state of the endpoint, and the next one asks the rest."""

    def failing(number: int, prompt: str) -> Reply:
        return Reply(503, headers=SOON) if "number 4" in prompt else good(number, prompt)

    with pytest.raises(StageError, match=r"127\.0\.0\.1 answers 503 also after 3 retries.*is kept"):
        ask(tmp_path, failing)
    kept = {one.id for one in finished(tmp_path / "parts").values()}
    assert kept
    assert "test_4" not in kept
    server, judged, lines = ask(tmp_path, good)
    assert len(server.requests) == 5 - len(kept)
    assert lines[0].startswith(f"{len(kept)} of 5 summaries were judged by an earlier run")
    assert {name: one.score for name, one in judged.items()} == {f"test_{i}": i / 10 for i in range(5)}


@pytest.mark.parametrize(("status", "key"), [(401, KEY), (403, KEY), (401, "")])
def test_a_refused_key_is_an_error_that_does_not_repeat_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, key: str
) -> None:
    """Also if the endpoint's message does; without a key, the error names the variable to set."""
    monkeypatch.setenv(KEY_VARIABLE, key)
    raw = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}})
    with pytest.raises(RequestError, match=rf"refuses .*\({status}\).*{KEY_VARIABLE}") as caught:
        ask(tmp_path, lambda *_: Reply(status, raw=raw))
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_refused_request_names_what_to_check(tmp_path: Path, status: int) -> None:
    with pytest.raises(RequestError, match=rf"refuses the request \({status}\).*judge.name"):
        ask(tmp_path, lambda *_: Reply(status))


def test_an_endpoint_that_cannot_be_reached_or_is_too_slow_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with judge_server(good) as server:
        gone = settings(server.url)
    with pytest.raises(StageError, match="cannot be reached"):
        judge_by_endpoint(gone, texts(1), tmp_path, RecordingListener(), retries=0)
    monkeypatch.setattr(module, "TIMEOUT", 0.05)
    release = threading.Event()

    def slow(number: int, prompt: str) -> Reply:
        release.wait(10)
        return good(number, prompt)

    with judge_server(slow) as server:
        try:
            with pytest.raises(StageError, match="does not answer in time"):
                judge_by_endpoint(settings(server.url), texts(1), tmp_path, RecordingListener(), retries=0)
        finally:
            release.set()


@pytest.mark.parametrize(
    "reply",
    [Reply(text="It is fine."), Reply(text=""), Reply(raw="{}"), Reply(raw='{"choices": []}'), Reply(raw="<html>")],
)
def test_an_answer_that_cannot_be_read_has_no_score(tmp_path: Path, reply: Reply) -> None:
    _, judged, _ = ask(tmp_path, lambda n, p: reply if n == 0 else good(n, p))
    assert sorted(one.score is None for one in judged.values()) == [False] * 4 + [True]


def test_an_empty_summary_is_not_asked(tmp_path: Path) -> None:
    empty = JudgedText(id="x", kind=Kind.PREDICTION, dialogue="A: Hi.", summary=" ")
    with judge_server(good) as server:
        judge_by_endpoint(settings(server.url), [empty], tmp_path, RecordingListener())
    assert server.requests == []
    assert [one.score for one in finished(tmp_path).values()] == [0.0]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"score": 70, "unsupported": []}', (0.7, ())),
        ('```json\n{"unsupported": ["He left."], "score": 0}\n```', (0.0, ("He left.",))),
        ('<think>{"score": 1}</think> So: {"score": 100}', (1.0, ())),
        ('{"score": 50, "unsupported": "He left."}', (0.5, ())),
        ('{"score": 50, "unsupported": [1, "a"]}', (0.5, ("a",))),
        ('{"result": {"score": 40}}', (0.4, ())),
        ('{"score": 101}', None),
        ('{"score": true}', None),
        ('{"score": NaN}', None),
        ('{"score": "high"}', None),
        ('{"score": 70', None),
        ("{" * 5000, None),
        ("", None),
    ],
)
def test_the_last_object_with_a_score_counts(answer: str, expected: Any) -> None:
    assert parse(answer) == expected


def test_braces_in_texts_are_not_filled() -> None:
    text = JudgedText(id="x", kind=Kind.PREDICTION, dialogue="A: {summary}", summary="{dialogue}")
    assert fill("{summary}|{dialogue}", text) == "{dialogue}|A: {summary}"


def test_the_announcement_has_no_cost_without_a_price() -> None:
    line = announcement(settings("https://api.example.org/v1"), texts(1000))
    assert line.startswith("asking some-model at api.example.org: 1,000 requests, about 7,")
    assert "for the prompts" not in line
