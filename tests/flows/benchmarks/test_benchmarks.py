"""The benchmarks on a tiny random model: which systems take part, and that every figure in a table is correct."""

import importlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from artifacts.errors import RequestError
from flows.benchmarks import child_process, environment, flops
from flows.benchmarks.environment import BenchmarkSettings
from flows.benchmarks.flops import Shape
from flows.benchmarks.generate import bench_generate
from flows.benchmarks.generate import in_columns as generate_columns
from flows.benchmarks.greedy import REFERENCE, bench_greedy, compare_decoders
from flows.benchmarks.parity import bench_parity, compare_curves
from flows.benchmarks.pipeline import REST, bench_pipeline, ledger
from flows.benchmarks.train import bench_train
from flows.benchmarks.train import in_columns as train_columns
from flows.benchmarks.unchanged import bench_unchanged
from tests.support.data import read_csv
from tests.support.processes import run_cli

SHORT = (
    "data.allow_overlap=true",
    "train.batch_size=4",
    "score.bootstrap_resamples=200",
    "generate.max_new_tokens=4",
    "train.validation_limit=2",
    "runtime.device=cpu",
    "runtime.threads=1",
)


@pytest.fixture
def settings(
    models: dict[str, Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers_inline: None
) -> BenchmarkSettings:
    """Tiny Gemma shape, tiny data; every child's `measure` is called here instead of in a process of its own."""

    def inline(module: str, config: Any, folder: Path, timeout: float, only_path: Any = None, **more: str) -> Any:
        file = folder / f"{module}-inline.json"
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in more.items():
            monkeypatch.setenv(name, value)
        module = importlib.import_module(f"flows.benchmarks.{module}")
        started = time.perf_counter()
        config = json.loads(json.dumps(config | {"result_file": str(file)}))
        try:
            result = json.loads(json.dumps(module.measure(config)))
        except Exception as error:
            raise child_process.ChildFailedError(f"{type(error).__name__}: {error}") from error
        return result | {"wall_seconds": time.perf_counter() - started, "peak_ram_gib": 0.5}

    monkeypatch.setattr(environment, "run_child", inline)
    monkeypatch.setattr("flows.benchmarks.children.random_model.run_child", inline)
    return BenchmarkSettings(
        shape="tiny", tokenizer=models["gemma"], data=str(data), work=tmp_path / "bench", overrides=SHORT
    )


def test_flop_a_token_by_hand() -> None:
    """Two layers: linears 2 x 120 weights, adapters 2 x 58, head 40, attention 2 x 2 x 2 wide."""
    shape = Shape(layers=2, hidden=4, heads=2, key_value_heads=1, head_size=2, intermediate=6, vocabulary=10)
    assert flops.flop_per_token(shape, rank=1, labelled=0.5, context=3) == 4 * 240 + 6 * 116 + 6 * 40 * 0.5 + 6 * 8 * 3
    assert flops.mfu(2000.0, 1e9, 4.0) == 0.5


def test_flop_a_token_counts_the_weights_that_are_there(models: dict[str, Path]) -> None:
    """Against torch's and peft's own count of a built model."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(models["gemma"])
    weights = sum(
        m.weight.numel() for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n != "lm_head"
    )
    head = model.lm_head.weight.numel()
    peft = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    adapters = peft.get_nb_trainable_parameters()[0]
    shape = Shape.from_folder(models["gemma"])
    assert flops.flop_per_token(shape, 4, 1.0, 0) == 4 * weights + 6 * adapters + 6 * head


def test_gemma_2b_is_8_55_gflop_a_token() -> None:
    """research: 12,460 rows of 220 tokens, 16 % of them labelled, rank 8."""
    shape = Shape(18, 2048, 8, 1, 256, 16384, 256000)
    assert flops.flop_per_token(shape, 8, 0.16, 220) / 1e9 == pytest.approx(8.55, abs=0.02)
    assert flops.peak_tflops("NVIDIA H200", None) == 790
    assert flops.peak_tflops("CPU, 2 threads", None) is None


@pytest.mark.slow
def test_train_table_holds_each_system_and_its_ratio(
    settings: BenchmarkSettings, models: dict[str, Path], data: Path
) -> None:
    """Ratio and MFU follow from the real tokens a second, which follow from rows whose tokens are counted here."""
    from transformers import AutoTokenizer

    table, remark = bench_train(settings, "ours,trl-tuned,unsloth-bf16,trl-default", steps=3, peak=2.0)
    rows = {row["system"]: row for row in table}
    assert list(rows) == ["ours", "trl-tuned", "unsloth-bf16", "trl-default"]
    if "failed" in rows["unsloth-bf16"]:
        assert "not installed" in rows["unsloth-bf16"]["failed"]
    flop = float(remark.split("real tok/s x ")[1].split(" GFLOP")[0]) * 1e9
    tokenizer: Any = AutoTokenizer.from_pretrained(models["gemma"])
    template = (
        "<bos><start_of_turn>user\nWrite the highlight of this dialogue in one sentence:\n{dialogue}<end_of_turn>\n"
        "<start_of_turn>model\n{summary}<end_of_turn>"
    )
    texts = [template.format(**row) for row in read_csv(data / "train.csv")]
    lengths = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    mean = sum(lengths) / len(lengths)
    for name in ("ours", "trl-tuned", "trl-default"):
        row = rows[name]
        assert row["ratio"] == pytest.approx(rows["ours"]["tokens_per_second"] / row["tokens_per_second"])
        assert row["mfu"] == pytest.approx(row["tokens_per_second"] * flop / 2e12, rel=0.01)  # the remark is rounded
        # whole batches of 12 rows, or 4 + 8 of them: the mean differs by chance only, padding would add a third
        assert row["tokens_per_second"] / row["samples_per_second"] == pytest.approx(mean, rel=0.12)
    assert len({tuple(row) for row in train_columns(table)}) == 1
    assert not [row for row in settings.work.iterdir() if row.name.startswith("run-") and (row / "store").exists()]


@pytest.mark.slow
def test_two_processes_take_part_and_learn_the_same(
    settings: BenchmarkSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks import train
    from tasks.workers import launcher

    monkeypatch.setattr(train, "run_workers", launcher.run_workers)
    settings = replace(settings, overrides=(*SHORT, "runtime.device=auto"))
    table, _ = bench_train(settings, "ours,ours-x2", steps=2)
    assert [row["gpus"] for row in table] == [1, 2]
    assert table[1]["last_loss"] == pytest.approx(table[0]["last_loss"], rel=1e-4)


@pytest.mark.slow
def test_the_other_engine_is_measured_beside_ours(settings: BenchmarkSettings) -> None:
    ours, trl = bench_train(settings, "ours,ours-trl", steps=2)[0]
    assert (ours["stage"]["engine"], trl["stage"]["engine"]) == ("packed", "trl (train.engine)")
    assert trl["last_loss"] == pytest.approx(ours["last_loss"], rel=1e-2)
    assert trl["ratio"] == pytest.approx(ours["tokens_per_second"] / trl["tokens_per_second"])


def test_a_failing_system_is_a_row_with_its_reason(
    settings: BenchmarkSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others run on; a ratio needs ours."""
    from flows.benchmarks.children import peer_training

    def broken(*_: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(peer_training, "load", broken)
    table, _ = bench_train(settings, "trl-tuned,ours", steps=2)
    assert table[0]["failed"] == "MemoryError: no room"
    assert table[1]["ratio"] == 1
    assert "no room" in train_columns(table)[0]["note"]


@pytest.mark.slow
def test_greedy_says_what_generate_says(
    settings: BenchmarkSettings, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In fp32 to the letter, whatever batches the rows come in; a decoder that exchanges two rows is seen."""
    from tasks.decoding.engine import Engine

    overrides = (*SHORT, "runtime.generate_batch_size=3", "model.turns=chatml")
    settings = replace(settings, recipe="smollm2-135m", model=str(models["llama"]), overrides=overrides)
    table, _ = bench_greedy(settings, limit=4, new_tokens=6)
    assert [(row["precision"], row["rows"]) for row in table] == [("float32", 4)] * 3 + [("bfloat16", 4)] * 3
    assert [(row["same"], row["difference"]) for row in table[:3]] == [(4, 0)] * 3
    predict = Engine.predict

    def predict_exchanged(engine: Engine, rows: Any) -> Any:
        return predict(engine, list(zip("0123", [ids for _, ids in reversed(rows)], strict=False)))

    monkeypatch.setattr(Engine, "predict", predict_exchanged)
    assert [row["same"] for row in bench_greedy(settings, limit=4, new_tokens=6)[0][:3]][-1] < 4


def test_greedy_sees_other_texts() -> None:
    """Figures by rouge_score itself."""
    from rouge_score.rouge_scorer import RougeScorer

    references = [["the cat sat on the mat", "a cat sat"], ["he runs", "a man runs home"]]
    texts_of = {REFERENCE: ["the cat sat", "he runs home"], "ours": ["the cat sat", "nobody runs"]}
    plain, ours, rough = compare_decoders({"float32": texts_of, "bfloat16": {REFERENCE: texts_of["ours"]}}, references)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    for row, texts in ((plain, texts_of[REFERENCE]), (ours, texts_of["ours"])):
        for column, kind in (("ROUGE-1", "rouge1"), ("ROUGE-2", "rouge2"), ("ROUGE-L", "rougeL")):
            pairs = [(one, text) for text, both in zip(texts, references, strict=True) for one in both]
            f1 = [scorer.score(reference, text)[kind].fmeasure for reference, text in pairs]
            assert row[column] == round(100 * sum(f1) / len(f1), 2)
    assert [(row["same"], row["same as fp32"]) for row in (plain, ours, rough)] == [(2, 2), (1, 1), (2, 1)]
    assert (rough["difference"], rough["to fp32"]) == (0, ours["difference"])
    largest = max(plain[kind] - ours[kind] for kind in ("ROUGE-1", "ROUGE-2", "ROUGE-L"))
    assert ours["difference"] == pytest.approx(largest, abs=0.011)


@pytest.mark.slow
def test_generate_table(settings: BenchmarkSettings) -> None:
    """The number of tokens is as requested, the article's loop is marked as extrapolated, ratios compare seconds."""
    systems = "ours,transformers,article,ours-stage,ours-stage-x2"
    table, remark = bench_generate(settings, systems, limit=4, new_tokens=3, article_rows=2)
    ours, peer, article, stage, again = table
    assert [row["rows"] for row in table] == [4] * 5
    assert again["note"].endswith("the same bytes as ours-stage")
    assert stage["tokens"] == ours["tokens"]
    assert peer["tokens"] == article["tokens"] == 12
    assert ours["tokens"] <= 12
    assert peer["ratio"] == pytest.approx(peer["seconds"] / ours["seconds"])
    assert "2 dialogues timed" in article["note"]
    assert "extrapolated to 4" in article["note"]
    assert "4 test dialogues" in remark
    assert len(generate_columns(table)) == 5


@pytest.mark.slow
def test_training_learns_what_trl_learns(settings: BenchmarkSettings) -> None:
    """Loss of every step, ours beside plain TRL with fp32 adapters, the same rows in every batch; and it does learn."""
    rows, _ = bench_parity(replace(settings, overrides=(*SHORT, "train.learning_rate=1e-2")), steps=12)
    assert rows[-1]["ours"] < rows[0]["ours"] - 0.05
    assert max(row["largest difference %"] for row in rows) < 1.0


@pytest.mark.slow
def test_both_engines_of_the_stage_learn_the_same(settings: BenchmarkSettings) -> None:
    settings = replace(settings, overrides=(*SHORT, "train.learning_rate=1e-2"))
    rows, remark = bench_parity(settings, steps=12, engines="packed,trl")
    assert rows[-1]["packed"] < rows[0]["packed"] - 0.05
    assert max(row["largest difference %"] for row in rows) < 1.0
    assert "packed" in remark
    with pytest.raises(RequestError, match="--engines packed: give two"):
        bench_parity(settings, steps=12, engines="packed")


def test_parity_says_how_far_curves_are_apart() -> None:
    """Constant curves, one a tenth above the other."""
    rows, remark = compare_curves([1.1] * 30, [1.0] * 30)
    assert "largest difference 10 %, in step 1;" in remark
    assert len(rows) == 10
    assert {row["largest difference %"] for row in rows} == {10.0}
    assert "difference 10.00 %" in remark


@pytest.mark.slow
def test_unchanged_retraining_is_timed_beside_an_empty_flow(
    settings: BenchmarkSettings, models: dict[str, Path], prefect_server: None
) -> None:
    """All stages of the timed runs are reused; the ratio is that of the medians."""
    overrides = (*SHORT, "model.turns=gemma", "train.max_steps=1")
    settings = replace(settings, recipe="quickstart", model=str(models["gemma"]), overrides=overrides)
    rows, remark = bench_unchanged(settings, repeats=1)
    empty, again = rows
    assert "all 9 stages reused" in remark
    assert again["x an empty flow"] == pytest.approx(again["fastest"] / empty["fastest"], abs=0.01)


def test_unchanged_wants_a_server(settings: BenchmarkSettings) -> None:
    with temporary_settings({PREFECT_API_URL: None}), pytest.raises(RequestError, match="make serve"):
        bench_unchanged(settings, repeats=1)


def test_ledger_rows_sum_to_the_wall_time() -> None:
    """By hand: a stage of 10 s loads for 2, trains for 5 (1 of it validation) and ends 1 s after its last event."""
    measured = {"loading_seconds": 2.0, "training_seconds": 5.0, "validation_seconds": 1.0, "compile_seconds": 0.5}
    provenance = {"at": "1970-01-01T00:00:20+00:00", "seconds": 10.0, "measured": measured}
    result = {
        "wall_seconds": 30.0,
        "sealing": 0.5,
        "importing": 1.0,
        "hashing": 0.25,
        "started": 5.0,
        "stages": [{"label": "train", "artifact": "train-1", "started": 7.0, "last_event": 19.0}],
        "manifests": {"train-1": {"made": provenance}},
    }
    rows = {row["part"]: row["seconds"] for row in ledger(result)}
    assert rows.pop("wall") == 29.5
    assert sum(rows.values()) == pytest.approx(29.5)
    assert rows == {
        "import: command line and Prefect": 1.0,
        "hashing: base model": 0.25,
        "Prefect: until the first stage": 2.0,
        "train: import": 1.5,
        "train: load": 2.0,
        "train: warm-up": 0.5,
        "train: train": 4.0,
        "train: evaluate": 1.0,
        "train: save and end": 1.0,
        "hashing: artifacts": 0.5,
        REST: 15.75,
    }


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_pipeline_accounts_for_every_second(settings: BenchmarkSettings) -> None:
    """A complete run: every stage has its rows, none is negative, and they sum to the wall time."""
    rows, _ = bench_pipeline(replace(settings, overrides=(*SHORT, "train.max_steps=2", "model.quantization=none")))
    seconds = {row["part"]: row["seconds"] for row in rows}
    wall = seconds.pop("wall")
    assert sum(seconds.values()) == pytest.approx(wall)
    assert min(seconds.values()) > -0.05
    for part in ("download", "train: train", "generate base: decode", "generate tuned: load", "score", "report"):
        assert part in seconds


@pytest.mark.slow
def test_random_model_is_reused_and_a_timeout_is_a_reason(models: dict[str, Path], tmp_path: Path) -> None:
    """Real processes."""
    from flows.benchmarks.children.random_model import random_model

    with pytest.raises(RequestError, match=r"stopped after 0\.2 s"):
        random_model("tiny", models["gemma"], tmp_path, timeout=0.2)
    model = random_model("tiny", models["gemma"], tmp_path)
    stamp = (model / "model.safetensors").stat().st_mtime_ns
    assert random_model("tiny", models["gemma"], tmp_path) == model
    assert (model / "model.safetensors").stat().st_mtime_ns == stamp
    assert Shape.from_folder(model).layers == 2
    with pytest.raises(RequestError, match="tokenizer"):
        random_model("gemma-2b", tmp_path / "nothing", tmp_path)


@pytest.mark.slow
def test_command_line(models: dict[str, Path], data: Path, tmp_path: Path) -> None:
    """Real processes, one JSON object; a wrong request is refused with exit 2."""
    common = ["--model", str(models["gemma"]), "--data", str(data), "--work", str(tmp_path), "--json"]
    short = [word for setting in SHORT for word in ("--set", setting)]
    process = run_cli(
        "bench", "generate", *common, *short, "--limit", "2", "--new-tokens", "3", "--systems", "ours,transformers"
    )
    assert process.returncode == 0, process.stderr
    rows = json.loads(process.stdout)["rows"]
    assert [row["system"] for row in rows] == ["ours", "transformers"]
    assert all("failed" not in row for row in rows), rows
    assert all(row["peak_gib"] > 0.1 and row["wall_seconds"] > row["seconds"] for row in rows)
    refused = run_cli("bench", "train", *common, "--systems", "trl-tune")
    assert refused.returncode == 2
    assert "trl-tuned" in refused.stderr
