"""The stage sample: the same candidates whatever the batches, processes and machines, also after interruptions."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from artifacts.artifact_store import Store
from artifacts.errors import RequestError, StageError
from artifacts.manifest import Provenance
from artifacts.schemas import CANDIDATES, FORMATTED_TRAIN, read_table, write_table
from tasks.config import Fold, GenerateConfig, ModelConfig, Runtime, SampleSpec
from tasks.decoding.sampling import draw_uniforms
from tasks.execution.stage import Artifact, Context, Shard, StageResult
from tasks.models.adapter_merging import load_merged_model
from tasks.sample import sample, sample_shard
from tasks.sources.resolve import resolve_model
from tasks.workers.events import NullListener
from tests.support.data import read_csv
from tests.support.models import random_adapter
from tests.support.paths import SAMPLE
from tests.support.worker_processes import worker_processes

inline = pytest.mark.usefixtures("workers_inline")
COUNT, SAMPLES, NEW_TOKENS = 7, 4, 10


class SamplingSetup:
    """Samples for one folder of rows, in a scratch folder that outlives a run."""

    def __init__(self, folder: Path, store: Store, model: Path) -> None:
        self.folder, self.store, self.model, self.work = folder, store, model, folder / "work"
        rows = read_csv(SAMPLE / "train.csv")[:COUNT]
        self.rows = [
            {"id": f"train_{i}", "prompt": row["dialogue"], "completion": row["summary"]} for i, row in enumerate(rows)
        ]
        self.rows[2]["prompt"] = "Hi."  # rows of very different lengths
        self.rows.insert(4, self.rows[3] | {"completion": "A second reference."})
        self.formatted = self.folder / "rows"
        self.formatted.mkdir()
        self.write()
        self.adapter = self.publish("train", random_adapter(model, folder / "adapter"))
        self.source = self.publish("format", self.formatted)

    def write(self) -> None:
        for split in ("train", "validation"):
            write_table(self.rows, FORMATTED_TRAIN, self.formatted / f"{split}.parquet")

    def publish(self, stage: str, out: Path, **measured: Any) -> Artifact:
        provenance = Provenance(at="2026-01-01T00:00:00", seconds=0, run="test", measured=measured)
        manifest = self.store.publish(
            out,
            stage=stage,
            variant=None,
            name="made",
            key="0" * 64,
            rows=len(self.rows),
            identity={},
            inputs={},
            facts={},
            provenance=provenance,
        )
        return Artifact(self.store.payload(manifest.path), manifest)

    def spec(self, **settings: Any) -> SampleSpec:
        own = {name: settings.pop(name) for name in ("stride", "fold", "split") if name in settings}
        decoding = {"max_new_tokens": NEW_TOKENS, "candidates": SAMPLES, "epsilon": 0.0} | settings
        model = resolve_model(ModelConfig(source=str(self.model)))
        return SampleSpec(model=model, turns="chatml", generate=GenerateConfig(**decoding), **own)

    def context(self, batch: int = 3, gpus: int = 1, events: Any = None, shard: Shard | None = None) -> Context:
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        self.work.mkdir(exist_ok=True)
        runtime = Runtime(device="cpu", threads=1, generate_batch_size=batch, gpus=gpus)
        listener = events or NullListener()
        return Context(out, self.work, runtime, listener, *([shard] if shard else []))

    def run(self, batch: int = 3, gpus: int = 1, events: Any = None, **settings: Any) -> StageResult:
        """The stage function; its scratch is kept, as after a run that was killed."""
        return sample(self.spec(**settings), self.context(batch, gpus, events), self.source, self.adapter)

    def afresh(self, *arguments: Any, **settings: Any) -> bytes:
        """The payload of a run that finds no scratch."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.run(*arguments, **settings)
        return self.payload()

    def payload(self) -> bytes:
        return (self.folder / "out" / "candidates.parquet").read_bytes()

    def table(self) -> list[dict[str, Any]]:
        return read_table(self.folder / "out" / "candidates.parquet", CANDIDATES)


@pytest.fixture
def setup(tmp_path: Path, store: Store, models: dict[str, Path]) -> SamplingSetup:
    return SamplingSetup(tmp_path, store, models["llama"])


@inline
def test_candidates_are_samples_of_the_adapter_one_by_one(setup: SamplingSetup) -> None:
    """By the inverse of the cumulated probabilities of transformers, with the numbers of seed, row and sample."""
    result = setup.run()
    table = setup.table()
    assert result.rows == COUNT
    assert [row["id"] for row in table] == [f"train_{i}" for i in range(COUNT)]
    tokenizer = AutoTokenizer.from_pretrained(setup.model)
    model = load_merged_model(setup.spec().model, setup.adapter.payload, torch.device("cpu"))
    stop = tokenizer.convert_tokens_to_ids("<|im_end|>")
    prompts = {row["id"]: row["prompt"] for row in setup.rows}
    for row in (table[2], table[3]):
        text = f"<|im_start|>user\n{prompts[row['id']]}<|im_end|>\n<|im_start|>assistant\n"
        for number in range(SAMPLES):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            length = len(ids)
            for uniform in draw_uniforms(0, row["id"], number, NEW_TOKENS):
                with torch.no_grad():
                    probabilities = model(torch.tensor([ids])).logits[0, -1].double().softmax(-1)
                ids.append(int((probabilities.cumsum(0) <= uniform).sum()))
                if ids[-1] == stop:
                    break
            assert row["candidates"][number] == tokenizer.decode(ids[length:], skip_special_tokens=True).strip()
            assert row["finished"][number] == (ids[-1] == stop)


@inline
def test_batches_and_rows_around_a_dialogue_change_nothing(setup: SamplingSetup) -> None:
    complete = setup.afresh()
    assert complete == setup.afresh(batch=1) == setup.afresh(batch=64)
    table = setup.table()
    setup.afresh(limit=5)
    assert setup.table() == table[:4]  # five rows, of which two are references of one dialogue
    setup.afresh(seed=1)
    assert all(mine["candidates"] != theirs["candidates"] for mine, theirs in zip(table, setup.table(), strict=True))


@inline
def test_folds_divide_the_dialogues(setup: SamplingSetup) -> None:
    setup.afresh()
    table = setup.table()
    for index in range(2):
        setup.afresh(fold=Fold(index=index, count=2))
        assert setup.table() == table[index::2]


@inline
def test_validation_dialogues_are_sampled_on_demand(setup: SamplingSetup) -> None:
    complete = setup.afresh()
    write_table(setup.rows[:2], FORMATTED_TRAIN, setup.source.payload / "train.parquet")
    assert setup.afresh(split="validation") == complete


@inline
def test_finished_batches_are_kept_and_the_bytes_are_the_same(setup: SamplingSetup) -> None:
    """Some parts are lost; the rest is not sampled again, whatever the batch size is now."""
    complete = setup.afresh(batch=2)
    first, *lost = sorted((setup.work / "parts").glob("*.parquet"))
    stamp = first.stat().st_mtime_ns
    for file in lost:
        file.unlink()
    setup.run(batch=3)
    assert setup.payload() == complete
    assert first.stat().st_mtime_ns == stamp


@inline
def test_machines_share_the_batches(setup: SamplingSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two shards leave their parts; whoever merges them samples nothing and writes the bytes of one machine."""
    complete = setup.afresh(batch=2)
    shutil.rmtree(setup.work)
    for index in range(2):
        context = setup.context(batch=2, shard=Shard(index, 2))
        sample_shard(setup.spec(), context, setup.source, setup.adapter)
    monkeypatch.setattr("tasks.sample.run_workers", lambda *_: pytest.fail("a worker was started"))
    setup.run(batch=2)
    assert setup.payload() == complete


@inline
def test_an_adapter_of_another_engine_is_refused_before_the_sampling(setup: SamplingSetup) -> None:
    engine = "trl (architecture qwen2)"
    setup.adapter = setup.publish("train", random_adapter(setup.model, setup.folder / "other"), engine=engine)
    with pytest.raises(RequestError, match=r"architecture qwen2.*train.distill.samples=0"):
        setup.run()


@pytest.mark.slow
def test_two_processes_write_the_bytes_of_one_also_after_one_was_killed(setup: SamplingSetup) -> None:
    """SIGKILL to one of two real processes; the run after it resumes."""
    long = [{"id": f"x{i}", "prompt": f"{setup.rows[i % COUNT]['prompt']} {i}", "completion": "y"} for i in range(300)]
    write_table(long, FORMATTED_TRAIN, setup.source.payload / "train.parquet")
    complete = setup.afresh(batch=2)
    shutil.rmtree(setup.work)
    killed: list[int] = []

    class Killer(NullListener):
        def progress(self, done: int, total: int, note: str = "") -> None:
            if done >= 2 and not killed:
                killed.append(worker_processes("tasks.sampling.worker")[0].pid)
                os.kill(killed[0], signal.SIGKILL)

    with pytest.raises(StageError, match="SIGKILL"):
        setup.run(batch=1, gpus=2, events=Killer())
    saved = {file: file.stat().st_mtime_ns for file in (setup.work / "parts").glob("*.parquet")}
    assert 2 <= len(saved) < len(long)
    result = setup.run(batch=1, gpus=2)
    assert result.measured["processes"] == 2
    assert {file: file.stat().st_mtime_ns for file in saved} == saved
    assert setup.payload() == complete
