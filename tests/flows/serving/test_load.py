"""Clients that ask while the champion changes, with smaller numbers than `dialogsum bench serve`."""

from pathlib import Path

import pytest

from flows.benchmarks.serve_load import Answer, Changes, latency, load, verdict
from tests.support.serving import DIALOGUE, TwoAdapters, ask, config_for, running

DIALOGUES = [DIALOGUE, DIALOGUE.replace("heating", "light"), "Ann: Bye.\nBob: Bye, Ann."]


def test_the_judgement_knows_which_models_the_log_named() -> None:
    """Between request and answer, the moments of writing included; by hand."""
    log = Changes([("a", 0, 0), ("b", 10, 11), ("a", 20, 21)])
    assert log.named(1, 9) == {"a"}
    assert log.named(1, 10) == log.named(10.5, 10.6) == log.named(11, 12) == {"a", "b"}
    assert log.named(12, 19) == {"b"}
    assert log.named(12, 20) == log.named(5, 25) == {"a", "b"}
    assert log.named(22, 99) == {"a"}
    expected = {"a": ["A"], "b": ["B"]}
    answers = [
        Answer(0, 12, 13, 200, "b", "B"),
        Answer(0, 12, 13, 200, "a", "A"),
        Answer(0, 12, 13, 200, "b", "A"),
        Answer(0, 12, 14, 503),
        Answer(0, 12, 14, "ReadError"),
    ]
    counts = {"requests": 5, "failed": 2, "wrong model": 1, "wrong text": 1, "one model possible": 3}
    assert verdict(answers, log, expected) == counts
    assert latency(answers, 2.0) == {"p50 s": 1.0, "p95 s": 1.0, "answers/s": 1.5}


@pytest.mark.slow
def test_no_request_fails_or_gets_another_model_while_the_champion_changes(adapters: TwoAdapters) -> None:
    """60 promotions and rollbacks under 20 clients."""
    import httpx

    state = [0]

    def change() -> str:
        state[0] = 1 - state[0]
        if state[0]:
            adapters.promote(1)
        else:
            adapters.roll_back()
        return adapters.ids[state[0]]

    with running(config_for(adapters.model)) as url:
        expected = {
            name: [
                httpx.post(f"{url}/v1/chat/completions", json=ask(text, model=name), timeout=60).json()["choices"][0][
                    "message"
                ]["content"]
                for text in DIALOGUES
            ]
            for name in adapters.ids
        }
        assert expected[adapters.ids[0]] != expected[adapters.ids[1]]
        answers, log, _ = load(url, DIALOGUES, clients=20, changes=60, change=change, first=adapters.ids[0], pause=0.06)
    counts = verdict(answers, log, expected)
    assert counts["requests"] > 60
    assert (counts["failed"], counts["wrong model"], counts["wrong text"]) == (0, 0, 0)
    assert counts["one model possible"] > 0
    assert {answer.artifact for answer in answers} == set(adapters.ids)


@pytest.mark.slow
def test_the_benchmark_has_a_row_for_each_server(models: dict[str, Path], tmp_path: Path) -> None:
    from flows.benchmarks.environment import BenchmarkSettings
    from flows.benchmarks.serve import PEERS, bench_serve

    overrides = ("model.turns=chatml", "runtime.device=cpu", "runtime.threads=1")
    settings = BenchmarkSettings(
        recipe="quickstart", model=str(models["llama"]), work=tmp_path / "work", overrides=overrides
    )
    rows, remark = bench_serve(settings, changes=5, clients=3, requests=6, new_tokens=4, pause=0.02)
    assert [row["system"] for row in rows] == ["ours, 5 changes", "ours", *PEERS]
    assert [row["failed"] for row in rows] == [0] * 4
    assert "wrong model: 0, wrong text: 0, " in rows[0]["note"]
    assert "3 clients" in remark
