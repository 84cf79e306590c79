"""Training on tiny models: what is trained, on which tokens, with which loss, and what is left behind."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from artifacts.artifact_store import Store
from artifacts.errors import StageError
from artifacts.schemas import CURVE, FORMATTED_TRAIN, read_table
from tasks.config import ModelConfig
from tasks.models.chat_template import TurnEncoder
from tasks.models.loading import load_tokenizer
from tasks.sources.resolve import resolve_model
from tasks.training import builder
from tasks.training import worker as training_worker
from tasks.training.schedule import StepSchedule
from tests.support.data import read_csv, write_csv
from tests.support.paths import ROOT
from tests.support.training import adapter_tensors, formatted_rows, train, train_spec

pytestmark = pytest.mark.usefixtures("workers_inline")


@pytest.mark.parametrize(("name", "quantization"), [("gemma", "nf4"), ("llama", "none")])
def test_training_publishes_a_complete_adapter(
    models: dict[str, Any], data: Path, name: str, quantization: str
) -> None:
    """An fp32 adapter that has learnt, its curve, and settings that name no place on this machine."""
    trained = train(train_spec(models[name], quantization), formatted_rows(data))
    assert {file.name for file in trained.payload.iterdir()} == {
        "adapter_model.safetensors",
        "adapter_config.json",
        "curve.parquet",
        "settings.json",
        "checks.json",
    }
    tensors = adapter_tensors(trained)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert len(tensors) == 2 * 2 * 7  # A and B of seven linears in two layers
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert all(tensor.any() for name, tensor in tensors.items() if "lora_B" in name)

    curve = read_table(trained.payload / "curve.parquet", CURVE)
    assert [row["step"] for row in curve] == [0, 1, 2, 3, 4]
    assert [row["train_loss"] is not None for row in curve] == [False, True, True, True, True]
    assert [row["validation_loss"] is not None for row in curve] == [True, False, True, False, True]
    losses = [value for row in curve for value in (row["train_loss"], row["validation_loss"]) if value is not None]
    assert all(math.isfinite(loss) and loss > 0 for loss in losses)
    assert curve[-1]["validation_loss"] < curve[0]["validation_loss"]

    for file in trained.payload.glob("*.json"):
        assert not [folder for folder in (models[name].parent, data.parent, ROOT) if str(folder) in file.read_text()]
    described = json.loads((trained.payload / "adapter_config.json").read_text())
    assert described["base_model_name_or_path"] == name
    assert trained.manifest.rows == 12


def test_plain_peft_loads_the_adapter(models: dict[str, Any], data: Path) -> None:
    """Nobody needs this project to use the adapter: peft loads the payload, and the model answers otherwise."""
    trained = train(train_spec(models["llama"]), formatted_rows(data))
    base = AutoModelForCausalLM.from_pretrained(models["llama"], dtype=torch.float32)
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        base_logits = base(ids).logits
        tuned = PeftModel.from_pretrained(base, trained.payload)
        tuned_logits = tuned(ids).logits
    loaded = {name.replace(".default", ""): tensor for name, tensor in tuned.named_parameters() if "lora_" in name}
    assert loaded.keys() == adapter_tensors(trained).keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in adapter_tensors(trained).items())
    assert (base_logits - tuned_logits).abs().max() > 1e-3


@pytest.mark.row(21, "the same training twice")
def test_same_training_gives_the_same_bytes(models: dict[str, Any], data: Path) -> None:
    """Training again writes the same files, so nothing after it has to run again; another seed does not."""
    rows = formatted_rows(data)
    first, again = (train(train_spec(models["llama"]), rows).manifest for _ in range(2))
    other = train(train_spec(models["llama"], seed=1), rows).manifest
    assert first.files == again.files
    assert first.provenance.at != again.provenance.at
    assert first.files["adapter_model.safetensors"] != other.files["adapter_model.safetensors"]


def test_micro_batch_does_not_change_the_adapter(
    models: dict[str, Any], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`runtime.train_batch_size` is no identity: rows one, two or four at a time give one adapter, in fp32."""
    monkeypatch.setattr(builder, "cpu_has_bf16", lambda: False)
    rows = formatted_rows(data)
    one, two, four = (
        adapter_tensors(train(train_spec(models["llama"]), rows, train_batch_size=size)) for size in (1, 2, 4)
    )
    for name, tensor in four.items():
        assert torch.allclose(one[name], tensor, rtol=0, atol=1e-5)
        assert torch.allclose(two[name], tensor, rtol=0, atol=1e-5)


class InOrder(SFTTrainer):
    """TRL's trainer, given the rows in the order of our plan."""

    order: list[int]

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        return self.order


@pytest.mark.parametrize("loss_on", ["completion", "all"])
@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_training_is_that_of_trl(
    models: dict[str, Any], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss_on: str, schedule: str
) -> None:
    """Rates, losses, gradient norms, validation and the adapter of five steps: TRL's SFTTrainer finds the same in fp32.

    Over an epoch's end, with a last batch of fewer rows, weight decay and a norm that is clipped.
    """
    monkeypatch.setattr(builder, "cpu_has_bf16", lambda: False)
    settings = {"batch_size": 5, "max_steps": 5, "weight_decay": 0.1, "max_gradient_norm": 0.05, "warmup": 0.3}
    spec = train_spec(models["llama"], loss_on=loss_on, schedule=schedule, evaluations=1, **settings)
    rows = formatted_rows(data)
    trained = train(spec, rows)
    ours = read_table(trained.payload / "curve.parquet", CURVE)

    tokenizer = load_tokenizer(spec.model)
    source = read_table(rows.payload / "train.parquet", FORMATTED_TRAIN)
    ready, _ = training_worker.encode_and_check(spec, TurnEncoder(tokenizer, spec.turns), source, len(source))
    plan = StepSchedule(len(source), spec.train)
    assert [len(plan.rows(step)) for step in range(5)] == [5, 5, 2, 5, 5]
    model = builder.load_peft_model(spec, torch.device("cpu"), torch.float32)
    trl: Any = InOrder(
        model=model,
        args=SFTConfig(
            output_dir=str(tmp_path / "trl"),
            per_device_train_batch_size=5,
            max_steps=5,
            logging_steps=1,
            bf16=False,
            learning_rate=spec.train.learning_rate,
            lr_scheduler_type=schedule,
            warmup_steps=plan.warmup_steps,
            weight_decay=0.1,
            max_grad_norm=0.05,
            optim="adamw_torch",
            use_cpu=True,
            gradient_checkpointing=False,
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_dict(
            {"input_ids": [ids for ids, _ in ready.rows], "labels": [labels for _, labels in ready.rows]}
        ),
        processing_class=tokenizer,
    )
    epochs = [[i for step in range(first, first + 3) for i in plan.rows(step)] for first in (0, 3)]
    orders = iter(epochs)

    class Epochs:
        def __iter__(self) -> Any:
            return iter(next(orders))

        def __len__(self) -> int:
            return len(source)

    trl.order = Epochs()
    trl.train()
    history = [entry for entry in trl.state.log_history if "loss" in entry]
    assert len(history) == 5
    for entry, row in zip(history, ours[1:], strict=True):
        assert row["learning_rate"] == pytest.approx(entry["learning_rate"], rel=1e-6)
        assert row["train_loss"] == pytest.approx(entry["loss"], abs=2e-4)
        assert row["gradient_norm"] == pytest.approx(entry["grad_norm"], rel=2e-3)
        assert row["epoch"] == pytest.approx(entry["epoch"], abs=1e-3)
    expected = {name.replace(".default", ""): p for name, p in model.named_parameters() if "lora_" in name}
    for name, tensor in adapter_tensors(trained).items():
        assert torch.allclose(tensor, expected[name], rtol=0, atol=2e-4), name


def test_first_validation_loss_is_that_of_the_base_model(
    models: dict[str, Any], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The curve begins at the untrained model: transformers alone finds the same loss on the validation rows."""
    monkeypatch.setattr(builder, "cpu_has_bf16", lambda: False)
    trained = train(train_spec(models["llama"], validation_limit=3), formatted_rows(data))
    base = AutoModelForCausalLM.from_pretrained(models["llama"], dtype=torch.float32)
    tokenizer = load_tokenizer(resolve_model(ModelConfig(source=str(models["llama"]))))
    total = count = 0.0
    for row in read_csv(data / "validation.csv")[:3]:
        prompt = f"<|im_start|>user\nSummarize.\n\n{row['dialogue'].strip()}<|im_end|>\n<|im_start|>assistant\n"
        prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        row_ids = tokenizer(f"{prompt}{row['summary']}<|im_end|>", add_special_tokens=False)["input_ids"]
        ids = torch.tensor([row_ids])
        labels = ids.clone()
        labels[:, : len(prompt_ids)] = -100
        with torch.no_grad():
            total += base(ids, labels=labels).loss.item() * (len(row_ids) - len(prompt_ids))
        count += len(row_ids) - len(prompt_ids)
    curve = read_table(trained.payload / "curve.parquet", CURVE)
    assert curve[0]["validation_loss"] == pytest.approx(total / count, abs=1e-4)


@pytest.mark.parametrize(("loss_on", "masked"), [("completion", True), ("all", False)])
def test_prompt_and_nothing_else_is_masked(models: dict[str, Any], data: Path, loss_on: str, masked: bool) -> None:
    """`loss_on: completion` puts -100 on the tokens of the prompt, and the labels of all others are the tokens."""
    spec = train_spec(models["gemma"], loss_on=loss_on)
    source = read_table(formatted_rows(data).payload / "train.parquet", FORMATTED_TRAIN)
    encoder = TurnEncoder(load_tokenizer(spec.model), spec.turns)
    ready, _ = training_worker.encode_and_check(spec, encoder, source, len(source))
    prompts, _ = encoder.prompts([row["prompt"] for row in source], 1 << 20)
    for (ids, labels), prompt in zip(ready.rows, prompts, strict=True):
        hidden = len(prompt) if masked else 0
        assert labels == [-100] * hidden + ids[hidden:]
        assert labels[-1] == encoder.stop_id


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({"stride": 3}, slice(None, None, 3)), ({"limit": 5}, slice(5)), ({"stride": 2, "limit": 4}, slice(0, 8, 2))],
)
def test_stride_and_limit_take_the_rows_they_say(
    models: dict[str, Any], data: Path, tmp_path: Path, settings: dict[str, int], expected: slice
) -> None:
    """Every n-th row, then the first of them: the adapter is that of a dataset with these rows alone."""
    picked = tmp_path / "picked"
    for split in ("train", "validation", "test"):
        rows = read_csv(data / f"{split}.csv")
        write_csv(picked / f"{split}.csv", rows[expected] if split == "train" else rows)
    short = {"max_steps": 2, "evaluations": 1}
    some = train(train_spec(models["llama"], **short, **settings), formatted_rows(data)).manifest
    same = train(train_spec(models["llama"], **short), formatted_rows(picked)).manifest
    assert some.rows == same.rows == len(range(12)[expected])
    for name in ("adapter_model.safetensors", "curve.parquet", "checks.json"):
        assert some.files[name] == same.files[name]


@pytest.mark.row(8, "training that diverges by its learning rate")
def test_loss_that_is_not_a_number_ends_the_run(models: dict[str, Any], data: Path) -> None:
    """A training that diverges fails with that reason and leaves no adapter in the store."""
    rows = formatted_rows(data)
    with pytest.raises(StageError, match=r"(nan|inf) at step \d of 4 .learning rate .*rows of the step: train_"):
        train(train_spec(models["llama"], learning_rate=1e30), rows)
    assert Store.current().manifests("train") == []


def test_failed_check_ends_the_run_before_training(models: dict[str, Any], data: Path) -> None:
    """Completions that do not fit are refused before any step; no adapter is left in the store."""
    rows = formatted_rows(data)
    with pytest.raises(StageError, match="length: "):
        train(train_spec(models["llama"], max_length=24), rows)
    assert Store.current().manifests("train") == []
