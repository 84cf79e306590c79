"""The server as clients see it: OpenAI's own client, health, metrics, token, host names, and the same summaries."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from starlette.testclient import TestClient

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from flows.inference.summarize_file import summarize_file
from flows.serving.application import application
from flows.serving.config import ServeConfig
from tasks.summarization import summarize_table
from tasks.summarization.request import SummarizeRequest
from tasks.workers.events import NullListener
from tests.support.data import read_csv
from tests.support.paths import SAMPLE
from tests.support.pipelines import run_workers_inline
from tests.support.servers import until
from tests.support.serving import DIALOGUE, TwoAdapters, ask, config_for, overrides_for, running


def client(url: str, token: str = "unused") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=token, max_retries=0)


def summarized(text: str, model: Path, folder: Path, adapter: str, *more: str, prompt: str | None = None) -> str:
    """What `dialogsum summarize` says of a dialogue."""
    file = folder / "dialogue.txt"
    file.write_text(text)
    overrides = overrides_for(model, *more)
    request = SummarizeRequest(
        source=str(file), adapter=adapter, recipe="quickstart", overrides=overrides, prompt=prompt
    )
    return str(summarize_file(request, NullListener())["summary"])


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summarize_table, "run_workers", run_workers_inline)


def test_the_official_client_gets_the_summary_whole_and_as_a_stream(served: tuple[str, TwoAdapters]) -> None:
    """Equal texts and usage; the model is the artifact; the list has every name."""
    url, adapters = served
    api = client(url)
    messages: Any = [{"role": "user", "content": DIALOGUE}]
    whole = api.chat.completions.create(model="champion", messages=messages, temperature=0, seed=1, user="me")
    assert whole.model == adapters.ids[0]
    assert whole.usage is not None
    assert whole.choices[0].finish_reason in ("stop", "length")
    assert whole.usage.completion_tokens <= 12
    chunks = list(
        api.chat.completions.create(
            model="champion", messages=messages, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert text
    assert sum(bool(chunk.choices and chunk.choices[0].delta.content) for chunk in chunks) > 3
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == whole.choices[0].finish_reason
    assert (chunks[-1].choices, chunks[-1].usage) == ([], whole.usage)
    assert {chunk.system_fingerprint for chunk in chunks} == {whole.system_fingerprint}
    assert [model.id for model in api.models.list()] == ["champion", "latest", "base", *adapters.ids]
    assert api.models.retrieve("champion").id == "champion"
    with pytest.raises(openai.BadRequestError) as caught:
        api.chat.completions.create(model="champion", messages=messages, temperature=0.7)
    assert (caught.value.param, caught.value.code) == ("temperature", "unsupported")
    with pytest.raises(openai.NotFoundError, match="no model 'gpt'"):
        api.chat.completions.create(model="gpt", messages=messages)


@pytest.mark.slow
def test_every_model_and_prompt_says_what_summarize_says(
    served: tuple[str, TwoAdapters], tmp_path: Path, inline: None
) -> None:
    """Champion, base, latest, an id; a prompt of the library; a format; names come back; a stream is the same."""
    url, adapters = served
    texts = [row["dialogue"] for row in read_csv(SAMPLE / "test.csv")[:3]] + [DIALOGUE]
    for name, adapter, prompt in (
        ("champion", "champion", None),
        ("base", "none", None),
        ("latest", "latest", None),
        (adapters.ids[0], adapters.ids[0], "brief"),
    ):
        for text in texts:
            body = ask(text, model=name) | ({"prompt": prompt} if prompt else {})
            answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60)
            expected = summarized(text, adapters.model, tmp_path, adapter, prompt=prompt)
            assert answer.json()["choices"][0]["message"]["content"] == expected, (name, text)
            streamed = httpx.post(f"{url}/v1/chat/completions", json=body | {"stream": True}, timeout=60).text
            events = [json.loads(line[6:]) for line in streamed.split("\n\n") if line.startswith("data: {")]
            assert "".join(event["choices"][0]["delta"]["content"] for event in events) == expected


@pytest.mark.parametrize("decoding", [pytest.param("candidates=3", marks=pytest.mark.slow), "beams=2"])
def test_candidates_beams_and_long_dialogues_say_what_summarize_says(
    adapters: TwoAdapters, tmp_path: Path, inline: None, decoding: str
) -> None:
    """Also a dialogue of several contexts, which is summarized in parts; a stream has one piece of text."""
    more = (f"generate.{decoding}", "generate.max_prompt_tokens=200")
    text = "\n".join(row["dialogue"] for row in read_csv(SAMPLE / "test.csv")[:2])
    with running(config_for(adapters.model, *more)) as url:
        for dialogue in (DIALOGUE, text):
            answer = httpx.post(f"{url}/v1/chat/completions", json=ask(dialogue), timeout=100)
            expected = summarized(dialogue, adapters.model, tmp_path, "champion", *more)
            assert answer.json()["choices"][0]["message"]["content"] == expected
        streamed = httpx.post(f"{url}/v1/chat/completions", json=ask(stream=True), timeout=100).text
        assert streamed.count("chat.completion.chunk") == 1


def test_a_lower_limit_of_tokens_is_kept_and_a_higher_one_is_not(served: tuple[str, TwoAdapters]) -> None:
    url, _ = served

    def usage(**more: Any) -> Any:
        return httpx.post(f"{url}/v1/chat/completions", json=ask(**more), timeout=60).json()

    full = usage()["usage"]["completion_tokens"]
    assert usage(max_tokens=3)["usage"]["completion_tokens"] == 3
    assert usage(max_completion_tokens=2, max_tokens=9)["choices"][0]["finish_reason"] == "length"
    assert usage(max_tokens=500)["usage"]["completion_tokens"] == full


@pytest.mark.slow
def test_health_and_metrics_tell_the_champion_and_its_failure(adapters: TwoAdapters, models: dict[str, Path]) -> None:
    """A damaged champion is not answered for by the old one: 503 with the reason, until a change of the log."""
    with running(config_for(models["llama"])) as url:
        assert httpx.get(f"{url}/health").json()["champion"] == adapters.ids[0]
        damaged = adapters.store.payload(adapters.store.by_id(adapters.ids[1]).path) / "adapter_model.safetensors"
        damaged.chmod(0o644)
        damaged.write_bytes(b"no weights")
        adapters.promote(1)
        answer = httpx.post(f"{url}/v1/chat/completions", json=ask(), timeout=60)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "champion_unavailable")
        assert "damaged" in answer.json()["error"]["message"]
        assert httpx.post(f"{url}/v1/chat/completions", json=ask(model="base"), timeout=60).status_code == 200
        until(lambda: httpx.get(f"{url}/health").status_code == 503, "health", 10)
        assert "damaged" in httpx.get(f"{url}/health").json()["problem"]
        assert "dialogsum_champion_available 0.0" in httpx.get(f"{url}/metrics").text
        adapters.roll_back()
        answer = httpx.post(f"{url}/v1/chat/completions", json=ask(), timeout=60)
        assert answer.headers["x-dialogsum-artifact"] == answer.json()["model"] == adapters.ids[0]
        until(lambda: httpx.get(f"{url}/health").status_code == 200, "health", 15)
        adapters.roll_back()
        answer = httpx.post(f"{url}/v1/chat/completions", json=ask(), timeout=60)
        assert (answer.status_code, "no adapter is champion" in answer.text) == (503, True)


def test_a_token_is_needed_for_all_but_page_and_health(adapters: TwoAdapters, monkeypatch: pytest.MonkeyPatch) -> None:
    """And without one, no address but the loopback interface is served."""
    with pytest.raises(RequestError, match="DIALOGSUM_SERVE_TOKEN"):
        application(config_for(adapters.model, host="0.0.0.0"))
    monkeypatch.setenv("DIALOGSUM_SERVE_TOKEN", "s3cret")
    with TestClient(application(config_for(adapters.model, host="0.0.0.0"))) as web:
        for path in ("/v1/models", "/v1/chat/completions", "/metrics", "/nothing"):
            answer = web.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert web.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert adapters.ids[0] not in web.get("/").text + web.get("/health").text
        right = {"Authorization": "Bearer s3cret"}
        assert web.get("/v1/models", headers=right).status_code == 200
        assert web.post("/v1/chat/completions", json=ask(), headers=right).status_code == 200


def test_other_host_names_and_unknown_paths_are_refused(adapters: TwoAdapters) -> None:
    with TestClient(application(config_for(adapters.model)), base_url="http://127.0.0.1:8000") as web:
        assert web.get("/health", headers={"Host": "evil.example"}).status_code == 400
        for origin, status in (("https://evil.example", 403), ("http://localhost:8000", 200)):
            assert web.get("/v1/models", headers={"Origin": origin}).status_code == status
        assert web.get("/nothing").json()["error"]["message"].startswith("GET /nothing")
        assert web.post("/v1/models").status_code == 405


def test_the_page_allows_only_its_own_style_and_script(adapters: TwoAdapters) -> None:
    """The hashes in its policy are those of what it contains."""
    with TestClient(application(config_for(adapters.model)), base_url="http://127.0.0.1:8000") as web:
        answer = web.get("/")
    for tag in ("style", "script"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in answer.headers["Content-Security-Policy"]


def test_a_server_without_a_recipe_takes_that_of_the_newest_champion(adapters: TwoAdapters, store: Store) -> None:
    config = ServeConfig(overrides=overrides_for(adapters.model))
    assert application(config).state.chat.models.recipe == "quickstart"
