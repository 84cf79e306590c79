"""What the tests share: a store of their own, tiny data, tiny random models with a tokenizer trained on the sample.

Nothing here touches the network, and no test sees the user's store or Prefect profile.
"""

import csv
import json
import os
import sys
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "TOKENIZERS_PARALLELISM": "false",
}

import pytest

from artifacts.artifact_store import Store
from artifacts.manifest import Made
from artifacts.schemas import DATASET, PREDICTIONS, write_table
from tasks.config import Runtime, ScoreConfig
from tasks.execution.stage import Artifact, Context
from tasks.workers.events import Silent
from tests.faults.fault_table import (
    pytest_collection_modifyitems,
    pytest_runtest_makereport,
    pytest_terminal_summary,
    tally,
)
from tests.support.servers import S3

__all__ = ["pytest_collection_modifyitems", "pytest_runtest_makereport", "pytest_terminal_summary", "tally"]

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "tasks" / "sources" / "sample"


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """What a test sets in the environment, a command called in this process for one, ends with the test."""
    with patch.dict(os.environ):
        yield


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store that DIALOGSUM_STORE names."""
    monkeypatch.setenv("DIALOGSUM_STORE", str(tmp_path / "store"))
    return Store.current()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """One S3 server, with a bucket called `bucket`, for all tests that only read and write there."""
    server = S3(tmp_path_factory.mktemp("s3"))
    yield server
    server.kill()


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of an empty place there; this process has its credentials."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://bucket/{uuid.uuid4().hex}"


def write_csv(file: Path, rows: list[dict[str, str]]) -> None:
    """Rows in DialogSum's layout."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, ["id", "dialogue", "summary", "topic"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_csv(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def tiny_data(folder: Path) -> Path:
    """12 training, 4 validation and 4 test dialogues (three references each) of the bundled sample, cut short."""
    for split, count in (("train", 12), ("validation", 4), ("test", 12)):
        rows = read_csv(SAMPLE / f"{split}.csv")[:count]
        for row in rows:
            row["dialogue"] = "\n".join(row["dialogue"].split("\n")[:3])
        write_csv(folder / f"{split}.csv", rows)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with tiny data that the test may change."""
    return tiny_data(tmp_path / "data")


class Bench:
    """Runs plain stage functions on constructed artifacts."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store, self.made = folder, store, 0

    def context(self) -> Context:
        self.made += 1
        out, work = self.folder / f"stage{self.made}" / "out", self.folder / f"stage{self.made}" / "work"
        out.mkdir(parents=True)
        work.mkdir()
        return Context(out, work, Runtime(), Silent())

    def artifact(self, stage: str, table: str, rows: list[dict[str, Any]], schema: Any) -> Artifact:
        """An artifact with one table."""
        out = self.context().out
        write_table(rows, schema, out / f"{table}.parquet")
        manifest = self.store.publish(
            out, stage=stage, of=None, name="made", key=f"{self.made:08x}", rows=len(rows), identity={}, inputs={},
            facts={}, made=Made(at="2026-01-01T00:00:00", seconds=0, run="test"),
        )  # fmt: skip
        return Artifact(self.store.payload(manifest.path), manifest)

    def dataset(
        self, references: list[list[str]], dialogues: list[str] | None = None, topics: list[list[str]] | None = None
    ) -> Artifact:
        rows = [
            {"id": f"test_{i}", "dialogue": dialogues[i] if dialogues else f"#Person1#: {i}", "references": texts,
             "topics": topics[i] if topics else [""] * len(texts)}
            for i, texts in enumerate(references)
        ]  # fmt: skip
        return self.artifact("download", "test", rows, DATASET)

    def predictions(self, texts: list[str], cut: Collection[int] = ()) -> Artifact:
        """Those of the rows in `cut` ended at the token limit."""
        rows = [
            {"id": f"test_{i}", "prediction": text, "tokens": 1, "stop": "limit" if i in cut else "stop_token"}
            for i, text in enumerate(texts)
        ]
        return self.artifact("generate", "predictions", rows, PREDICTIONS)

    def score(self, dataset: Artifact, *systems: Artifact, **settings: int) -> tuple[dict[str, Any], Path]:
        """scores.json of base and, if given, tuned, champion and before; and the folder it lies in."""
        from tasks.score import score

        context = self.context()
        score(ScoreConfig(**{"bootstrap_resamples": 1000} | settings), context, dataset, *systems)
        return json.loads((context.out / "scores.json").read_text()), context.out


@pytest.fixture
def bench(tmp_path: Path, store: Store) -> Bench:
    return Bench(tmp_path, store)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny random models, real classes: `gemma` and `llama`, with Gemma's and SmolLM2's special tokens."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GemmaConfig, GemmaForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    texts = [row["dialogue"] + row["summary"] for row in read_csv(SAMPLE / "train.csv")]
    special = {
        "gemma": ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"],
        "llama": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    }
    roles = {
        "gemma": {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"},
        "llama": {"eos_token": "<|im_end|>", "bos_token": "<|im_start|>", "pad_token": "<|endoftext|>"},
    }
    folder = tmp_path_factory.mktemp("models")
    found = {}
    for name in special:
        bpe = Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=600,
            special_tokens=special[name],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        bpe.train_from_iterator(texts, trainer)
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, **roles[name])
        shape = {
            "vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "max_position_embeddings": 2048,
            "pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id,
            "bos_token_id": tokenizer.bos_token_id,
        }  # fmt: skip
        torch.manual_seed(0)
        model: Any = (
            GemmaForCausalLM(GemmaConfig(**shape)) if name == "gemma" else LlamaForCausalLM(LlamaConfig(**shape))
        )
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
        found[name] = folder / name
    return found


def random_adapter(model: Path, out: Path) -> Path:
    """An adapter that changes much, written by peft alone."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    linears = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    torch.manual_seed(1)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    tuned = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=linears, task_type="CAUSAL_LM"))
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter.data, std=0.2)
    tuned.save_pretrained(out)
    (out / "README.md").unlink(missing_ok=True)
    return out


def trained_adapter(store: Store, model: Path, folder: Path, template: str, key: str = "ab" * 32) -> str:
    """Id of a train artifact of the Llama `model` under chatml, of the recipe quickstart, with a random adapter in it."""
    from artifacts.manifest import InputRef
    from tasks.config import ModelConfig
    from tasks.sources.resolve import resolve_model

    revision = resolve_model(ModelConfig(source=str(model))).revision
    return store.publish(
        random_adapter(model, folder), stage="train", of=None, name="made", key=key, rows=1,
        identity={"config": {"model": {"revision": revision}, "turns": "chatml", "train": {"epochs": 1}}},
        inputs={"rows": InputRef(id="format-00000000", digest="0" * 64)}, facts={"template": template},
        made=Made(at="2026-01-01T00:00:00", seconds=0, run="test", origin={"recipe": "quickstart 00000000"}),
    ).id  # fmt: skip


def shrunk(recipe: str, model: Path, data: Path, *more: str) -> list[str]:
    """Overrides that make a real recipe run in seconds: tiny model, tiny data, two steps."""
    turns = "gemma" if model.name == "gemma" else "chatml"
    return [
        f"model.source={model}", f"data.source={data}", f"model.turns={turns}", "train.max_steps=2", "train.batch_size=4",
        "train.max_length=256", "train.lora.rank=4", "train.evaluations=1", "generate.max_new_tokens=6",
        "generate.candidates=1",         "score.bootstrap_resamples=200", "runtime.device=cpu", *more,
    ]  # fmt: skip


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """One ephemeral Prefect server for all tests that run flows."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


def put_workers_inline(patch: pytest.MonkeyPatch) -> None:
    """The workers' own code, called here instead of in a process of its own: torch is imported once for all tests.

    tests/system/test_quickstart.py runs the real processes.
    """
    from tasks import generate, train
    from tasks.decoding import worker as decoding_worker
    from tasks.training import worker as training_worker

    def trained(command: Any, config: Any, folder: Any, events: Any) -> dict[str, Any]:
        return training_worker.work(json.loads(json.dumps(config)), events)

    def generated(command: Any, configs: Any, folder: Any, events: Any, environments: Any) -> list[dict[str, Any]]:
        return [decoding_worker.work(json.loads(json.dumps(config)), events) for config in configs]

    patch.setattr(train, "run_worker", trained)
    patch.setattr(generate, "run_workers", generated)


@pytest.fixture
def workers_inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """See `put_workers_inline`."""
    put_workers_inline(monkeypatch)


def run_cli(*arguments: str, root: Path = ROOT, **environment: str) -> Any:
    """The command line in a process of its own, from the code under `root`."""
    import subprocess

    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        capture_output=True, text=True, check=False, cwd=root, env=os.environ | {"PYTHONPATH": str(root)} | environment,
    )  # fmt: skip
