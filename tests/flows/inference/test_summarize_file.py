"""A user's own dialogues: every row is returned in its place, with the summary that the model gives it alone."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from artifacts.artifact_store import Store
from artifacts.champions import Champion, Champions
from artifacts.errors import RequestError
from flows.inference.model_selection import select_model
from flows.inference.prompt_library import find_prompt
from flows.inference.summarize_file import summarize_file
from tasks.summarization import summarize_table as parent
from tasks.summarization.dialogue_prompts import split_in_two
from tasks.summarization.request import SummarizeRequest
from tasks.summarization.worker_records import SummarizationWorkerConfig
from tasks.transcripts.conversation import parse_conversation
from tasks.workers.events import NullListener
from tests.support.data import read_csv
from tests.support.models import publish_adapter, random_adapter
from tests.support.paths import ROOT, SAMPLE
from tests.support.pipelines import run_workers_inline
from tests.support.processes import run_cli

NEW_TOKENS = 10
PROMPT = "Sum up:\n{dialogue}"


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> list[SummarizationWorkerConfig]:
    """Run the worker's code in this process; returns the requests that it got."""
    calls: list[SummarizationWorkerConfig] = []

    def run(module: str, configs: Any, *rest: Any) -> list[Any]:
        calls.extend(configs)
        return run_workers_inline(module, configs, *rest)

    monkeypatch.setattr(parent, "run_workers", run)
    return calls


@pytest.fixture
def given_model(models: dict[str, Path]) -> list[str]:
    """Overrides that ask the tiny Llama."""
    return [
        f"model.source={models['llama']}",
        "model.turns=chatml",
        f"generate.max_new_tokens={NEW_TOKENS}",
        "runtime.device=cpu",
        "runtime.threads=1",
        "runtime.generate_batch_size=3",
    ]


def plain_summary(model: Path, prompt: str, adapter: Path | None = None) -> str:
    """The output of transformers' greedy generate for one prompt, with the adapter unmerged."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    loaded: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    if adapter:
        loaded = PeftModel.from_pretrained(loaded, adapter).eval()
    text = f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    stop = tokenizer.convert_tokens_to_ids("<|im_end|>")
    out = loaded.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=NEW_TOKENS,
        eos_token_id=stop,
        pad_token_id=0,
    )[0, ids.shape[1] :]
    return str(tokenizer.decode(out, skip_special_tokens=True).strip())


def summarize(**request: Any) -> dict[str, Any]:
    """`dialogsum summarize` under PROMPT, in this process."""
    request = {"prompt": PROMPT, "recipe": "quickstart"} | request
    return summarize_file(SummarizeRequest.model_validate(request), NullListener())


def write_rows(file: Path, dialogues: list[str]) -> None:
    with file.open("w", newline="") as f:
        csv.writer(f).writerows(
            [["id", "dialogue", "summary"], *[[str(i), text, f"mine {i}"] for i, text in enumerate(dialogues)]]
        )


def test_every_row_gets_what_the_model_alone_says(
    tmp_path: Path, models: dict[str, Path], inline: list[Any], given_model: list[str]
) -> None:
    """In order, beside all columns that were there; rows that cannot be done say why, and equal dialogues agree."""
    texts = [row["dialogue"] for row in read_csv(SAMPLE / "test.csv")[::3]][:7]
    texts = [texts[0], "", *texts[1:5], " \n", "Ann: Hi.\nBob: Ho.", texts[0], *texts[5:], "no speaker at all"]
    write_rows(tmp_path / "in.csv", texts)
    result = summarize(source=str(tmp_path / "in.csv"), adapter="none", overrides=given_model)
    rows = read_csv(Path(result["out"]))
    assert list(rows[0]) == ["id", "dialogue", "summary", "generated_summary", "tokens", "stop", "model"]
    assert [(row["id"], row["dialogue"], row["summary"]) for row in rows] == [
        (str(i), t, f"mine {i}") for i, t in enumerate(texts)
    ]
    for row, text in zip(rows, texts, strict=True):
        if text.strip():
            talk = parse_conversation(text)
            assert row["generated_summary"] == talk.restore_names(
                plain_summary(models["llama"], PROMPT.format(dialogue=talk.text))
            )
            assert row["stop"] in ("stop_token", "limit")
        else:
            assert (row["generated_summary"], row["tokens"], row["stop"]) == ("", "0", "skipped: no dialogue")
    assert {row["model"] for row in rows} == {"llama"}
    assert result["stops"]["skipped: no dialogue"] == 2


def test_dialogue_beyond_the_context_is_summarized_in_parts_and_says_so(
    tmp_path: Path, models: dict[str, Path], inline: list[Any], given_model: list[str]
) -> None:
    """Cut between turns; the summaries of the parts are summarized; a book is refused by name and not dropped."""
    turns = [f"#Person{1 + i % 2}#: Number {i} of many things that we have to talk about today." for i in range(16)]
    book = "\n".join(turns * 120)
    lines = [{"dialogue": text, "at": 1.50} for text in ("\n".join(turns), "#Person1#: Short.", book)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    overrides = [*given_model, "generate.max_prompt_tokens=400"]
    result = summarize(source=str(tmp_path / "in.jsonl"), adapter="none", overrides=overrides)
    long, short, refused = (json.loads(line) for line in Path(result["out"]).read_text().splitlines())
    tokenizer = AutoTokenizer.from_pretrained(models["llama"])
    count = int(long["stop"].split("(")[1].split(" ")[0])
    size = len(turns) // count
    parts = ["\n".join(turns[i : i + size]) for i in range(0, len(turns), size)]
    assert all(len(tokenizer(PROMPT.format(dialogue=part))["input_ids"]) <= 400 for part in parts)
    joined = "\n".join(plain_summary(models["llama"], PROMPT.format(dialogue=part)) for part in parts)
    assert long["summary"] == plain_summary(models["llama"], PROMPT.format(dialogue=joined))
    assert long["stop"] in (f"stop_token ({count} parts)", f"limit ({count} parts)")
    assert short["stop"] in ("stop_token", "limit")
    assert refused["stop"] == "skipped: longer than 64 contexts"


@given(st.text(min_size=2))
def test_halves_lose_no_word(text: str) -> None:
    """Only white space at the cut goes, and neither half is empty-handed forever."""
    first, second = split_in_two(text)
    assert "".join((first + second).split()) == "".join(text.split())
    assert max(len(first), len(second)) < len(text)


def test_halves_of_one_turn_both_have_its_tag() -> None:
    """The model has to know who speaks."""
    assert split_in_two("#Person2#: one two three four") == ["#Person2#: one", "#Person2#: two three four"]


def test_an_adapter_of_peft_summarizes_as_with_peft(
    tmp_path: Path, models: dict[str, Path], inline: list[Any], given_model: list[str]
) -> None:
    """A folder that peft alone wrote; the one conversation of a subtitle file, with names."""
    random_adapter(models["llama"], tmp_path / "mine")
    (tmp_path / "talk.srt").write_text(
        "1\n00:00:01,000 --> 00:00:02,000\nAnn: Hi.\n\n2\n00:00:02,000 --> 00:00:03,000\nBob: Ho.\n"
    )
    source, out, adapter = (str(tmp_path / name) for name in ("talk.srt", "talk.txt", "mine"))
    result = summarize(source=source, out=out, adapter=adapter, overrides=given_model)
    expected = plain_summary(
        models["llama"], PROMPT.format(dialogue="#Person1#: Hi.\n#Person2#: Ho."), tmp_path / "mine"
    )
    assert expected
    assert result["summary"] == parse_conversation("Ann: Hi.\nBob: Ho.").restore_names(expected)
    assert (tmp_path / "talk.txt").read_text() == result["summary"] + "\n"
    assert result["model"] == "llama mine"


def test_what_is_left_out_of_a_chat_is_counted(
    tmp_path: Path, inline: list[Any], given_model: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line before the summary; the model gets the words alone."""
    lines: list[str] = []
    monkeypatch.setattr(NullListener, "log", lambda self, line: lines.append(line))
    head = "[12.03.24, 18:05:4{}] {}: {}"
    messages = [("Ann", "Hi"), ("Bob", "\u200eimage omitted"), ("Bob", "Ho"), ("Ann", "\u200eMissed voice call")]
    (tmp_path / "chat.txt").write_text(
        "\n".join(head.format(n, *turn) for n, turn in enumerate(messages)), encoding="utf-8"
    )
    (tmp_path / "words.txt").write_text("Ann: Hi\nBob: Ho")
    answers = [
        summarize(source=str(tmp_path / name), adapter="none", overrides=given_model)
        for name in ("chat.txt", "words.txt")
    ]
    chat, words = answers
    assert chat["losses"] == ["1 system message left out", "1 media placeholder left out"]
    assert [line for line in lines if "left out" in line] == chat["losses"]
    assert (chat["format"], words["format"], words["losses"]) == ("whatsapp", "colon", [])
    assert chat["summary"] == words["summary"]


@pytest.mark.slow
def test_a_killed_run_goes_on_and_writes_the_same_bytes(tmp_path: Path, given_model: list[str]) -> None:
    """A killed run leaves no output; the next one writes the same table without summarizing finished rows again."""
    texts = [f"{row['dialogue']}\n#Person1#: {i}" for i in range(4) for row in read_csv(SAMPLE / "test.csv")[::3]]
    write_rows(tmp_path / "in.csv", texts)
    out, parts = tmp_path / "out.csv", lambda: list((tmp_path / "store").rglob("parts/*.parquet"))
    command = [
        "summarize",
        str(tmp_path / "in.csv"),
        "--adapter",
        "none",
        "--prompt",
        PROMPT,
        "--recipe",
        "quickstart",
        "--json",
        "--out",
        str(out),
        *[word for one in given_model for word in ("--set", one)],
        "--set",
        "generate.max_new_tokens=60",
    ]
    run = subprocess.Popen([sys.executable, "-m", "flows.cli", *command], cwd=ROOT, stdout=subprocess.PIPE)
    until = time.monotonic() + 120
    while len(parts()) < 2 and run.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    finished = {file: file.stat().st_mtime_ns for file in parts()}
    assert finished, "it ended before a chunk was done"
    assert not out.exists()
    again = run_cli(*command)
    assert again.returncode == 0, again.stderr
    answer = json.loads(again.stdout)
    assert 0 < answer["kept"] < answer["rows"] == len(texts)
    first = out.read_bytes()
    assert not parts()
    fresh = run_cli(*command)
    assert json.loads(fresh.stdout)["kept"] == 0
    assert out.read_bytes() == first


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """100,000 rows of a thousand characters (100 MB) need the memory of 2,000; the model gets one chunk at a time."""
    script = """
import resource, sys
from pathlib import Path
from tasks.summarization import summarize_table as summarize
from tasks.summarization import worker as summarization_worker
from tasks.config import GenerateConfig, ResolvedModel, Runtime, SummarizeSpec
from tasks.summarization.request import SelectedModel
from tasks.workers.events import NullListener
from tasks.summarization.summarizer import Summary
from tasks.summarization.table_files import open_table
class Quick:
    def __init__(self, *rest, **named): pass
    def summarize(self, values, told):
        return [Summary(v[:20], 1, "limit") for v in values]
summarization_worker.Summarizer = Quick
summarization_worker.TurnEncoder = lambda *rest: type("E", (), {"stop_id": 0})
summarization_worker.Engine = lambda *rest: None
summarization_worker.load_tokenizer = lambda model: None
summarization_worker.load_merged_model = lambda *rest: type("M", (), {"config": None})
summarize.run_workers = lambda module, configs, *rest: [summarization_worker.run(c, NullListener()) for c in configs]
model = ResolvedModel(revision="r", location="l", origin="o")
spec = SummarizeSpec(model=model, turns="none", template="{dialogue}", generate=GenerateConfig())
selected = SelectedModel(spec, None, "m", Runtime(device="cpu"))
source, out = map(Path, sys.argv[1:])
done = summarize.summarize_table(selected, open_table(source), "dialogue", out, NullListener())
print(done.rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
    peaks = {}
    for rows in (2_000, 100_000):
        with (tmp_path / "in.csv").open("w", newline="") as f:
            writer = csv.writer(f)
            writer.writerow(["id", "dialogue"])
            writer.writerows([i, f"#Person1#: {i} " + "word " * 200] for i in range(rows))
        result = subprocess.run(
            [sys.executable, "-c", script, tmp_path / "in.csv", tmp_path / "out.csv"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        assert result.returncode == 0, result.stderr
        count, peaks[rows] = map(int, result.stdout.split())
        assert count == rows
        assert len(read_csv(tmp_path / "out.csv")) == rows
    assert peaks[100_000] - peaks[2_000] < 40


def test_the_champion_summarizes_with_the_settings_of_its_evaluation(
    tmp_path: Path, store: Any, models: dict[str, Path]
) -> None:
    """With its prompt, chat template and decoding, without naming the base model; options take precedence."""
    first = publish_adapter(store, models["llama"], tmp_path / "a", PROMPT)
    second = publish_adapter(store, models["llama"], tmp_path / "b", "Later:\n{dialogue}", "cd" * 32)
    settings = [f"model.source={models['llama']}"]
    judged = Champion(
        adapter=first,
        template="Judged \u2028 by 😀\x85:\n{dialogue}",
        turns="smollm2",
        generate={"max_new_tokens": 33, "candidates": 4},
        rouge_tokenizer="characters",
    )
    base = store.by_id(first).identity["config"]["model"]["revision"]
    assert Champions(Store.current(), base).promote(judged, "score-00000000", "test")
    selected = select_model("champion", None, None, settings)
    assert (selected.spec.template, selected.spec.turns, selected.spec.generate.max_new_tokens) == (
        judged.template,
        "smollm2",
        33,
    )
    assert selected.spec.rouge_tokenizer == "characters"
    assert selected.name == f"llama {first}"
    assert selected.trained_template == PROMPT
    by_hand = select_model("champion", None, "title", [*settings, "evaluation.turns=none"])
    assert by_hand.spec.template == find_prompt("title").template
    assert (by_hand.spec.turns, by_hand.spec.generate.max_new_tokens) == ("none", 24)
    latest = select_model("latest", None, None, settings)
    assert (latest.name, latest.spec.template, latest.spec.turns) == (f"llama {second}", "Later:\n{dialogue}", "chatml")
    with pytest.raises(RequestError, match="trained on"):
        select_model(first, None, None, [f"model.source={models['gemma']}"])


@pytest.mark.parametrize("trained", ["none", "nf4"])
def test_an_adapter_summarizes_with_the_weights_that_it_was_trained_on(
    tmp_path: Path, store: Any, models: dict[str, Path], trained: str
) -> None:
    """A champion with those of its evaluation, a base model with the recipe's; an override takes precedence."""

    def quantization(adapter: str, *overrides: str) -> str:
        return select_model(
            adapter, None, None, [f"model.source={models['llama']}", *overrides]
        ).spec.generate.quantization

    made = publish_adapter(store, models["llama"], tmp_path / "a", PROMPT, quantization=trained)
    assert quantization(made) == quantization("latest") == trained
    assert quantization(made, "model.quantization=nf4") == trained
    assert [quantization(made, f"generate.quantization={name}") for name in ("none", "nf4")] == ["none", "nf4"]
    assert [quantization("none", f"model.quantization={name}") for name in ("none", "nf4")] == ["none", "nf4"]
    recorded = Champion(adapter=made, template=PROMPT, turns="chatml", generate={"max_new_tokens": 33})
    log = Champions(Store.current(), store.by_id(made).identity["config"]["model"]["revision"])
    assert log.promote(recorded, "score-00000000", "test")
    assert quantization("champion", "model.quantization=nf4") == "none"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("nowhere.csv", "cannot be read"),
        ("in.csv --column word", "did you mean 'words'"),
        ("in.csv", "which column holds the dialogues?"),
        ("in.csv --column words --out out.jsonl", "the format of INPUT: give it the suffix .csv"),
        ("in.csv --column words --out in.csv", "is INPUT itself"),
        ("in.csv --column words --out no/where.csv", "cannot be written"),
        ("in.csv --column words", "no champion in"),
        ("in.csv --column words --adapter latest", "no adapter in"),
        ("in.csv --column words --adapter train-00000000", "no artifact train-00000000"),
        ("in.csv --column words --adapter ./nowhere", "no folder"),
        ("in.csv --column words --adapter .", "no adapter_config.json in"),
        ("in.csv --column words --adapter none --prompt titel", "did you mean 'title'?"),
        ("in.xlsx", "expected one conversation"),
        ("in.json", "contains no messages"),
        ("empty.txt", "nobody says anything"),
        ("empty.txt --column words", "--column is only for tables"),
    ],
)
def test_a_wrong_request_is_refused_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, message: str
) -> None:
    """The error is one line with advice."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("words,more\nhi,1\n")
    (tmp_path / "in.xlsx").touch()
    (tmp_path / "in.json").write_text('{"a": 1}')
    (tmp_path / "empty.txt").write_text(" \n")
    source, *rest = arguments.split()
    named = dict(zip([word.strip("-") for word in rest[::2]], rest[1::2], strict=True))
    with pytest.raises(RequestError, match=message.replace("?", r"\?")) as caught:
        summarize_file(SummarizeRequest.model_validate(named | {"source": source}), NullListener())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_the_artifact_shows_the_first_rows_of_a_table_as_text(tmp_path: Path, suffix: str) -> None:
    """Dialogue, summary or why there is none; nothing in them becomes a link, a tag or a column of the table."""
    import pandas as pd
    from markdown_it import MarkdownIt

    from flows.inference.summarize_flow import SHOWN_ROWS, _summaries

    rows = [
        ("Ann: a | b\nBob: <b>bold</b>", "old", "A *link*: [x](http://e) | <script>alert(1)</script>", "stop_token"),
        ("", "old", None, "skipped: no dialogue"),
        *[(f"Ann: {i}", "old", f"said {i}", "limit") for i in range(6)],
    ]
    table, file = (
        pd.DataFrame(rows, columns=["dialogue", "summary", "generated_summary", "stop"]),
        tmp_path / f"out{suffix}",
    )
    write = {".csv": table.to_csv, ".parquet": table.to_parquet}.get(suffix)
    if write is None:
        table.to_json(file, orient="records", lines=True)
    else:
        write(file, index=False)
    page = "\n".join(_summaries({"rows": len(rows), "out": str(file)}, None))
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(page)
    cells = re.findall(r"<td>(.*?)</td>", html)
    assert len(cells) == 3 * SHOWN_ROWS
    assert not re.search("<a|<b>|<em>|<script", html)
    assert cells[:3] == [
        "1",
        "Ann: a | b Bob: &lt;b&gt;bold&lt;/b&gt;",
        "A *link*: [x](http://e) | &lt;script&gt;alert(1)&lt;/script&gt;",
    ]
    assert cells[5] == "skipped: no dialogue"
    assert "its first 5 of 8 rows" in html


def test_the_artifact_of_one_conversation_is_its_summary() -> None:
    """And where it was written to, if it was."""
    from flows.inference.summarize_flow import _summaries

    assert _summaries({"summary": "They <meet>.", "out": None}, None) == ["They &lt;meet&gt;\\."]
    assert _summaries({"summary": "x", "out": "/o"}, None)[0] == "Written to \\/o."
