"""TRL as an engine: it learns what the packed engine learns, and trains what that one does not support."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from artifacts.schemas import CURVE, read_table
from tasks.config import LoraConfig, ModelConfig, TrainConfig
from tasks.models.adapter_merging import load_merged_model
from tasks.sources.resolve import resolve_model
from tasks.training import builder
from tasks.training.packing import LabelledRows, pack
from tests.support.listeners import RecordingListener
from tests.support.models import peft_model, random_rows
from tests.support.tiny_architectures import tiny_model
from tests.support.training import adapter_tensors, engine_loop, formatted_rows, run_to_end, train, train_spec


@pytest.mark.parametrize("name", ["gemma", "llama"])
def test_200_steps_have_the_curve_of_the_packed_engine(models: dict[str, Path], name: str) -> None:
    """Losses, gradient norms and validation within 1 %; learning rates, epochs and events are equal."""
    rows, held_out = random_rows(20), random_rows(4, seed=1)
    settings = TrainConfig(max_steps=200, batch_size=8, learning_rate=1e-2, evaluations=5, weight_decay=0.1)
    curves, heard = [], []
    for engine in ("packed", "trl"):
        heard.append(RecordingListener())
        loop = engine_loop(
            engine,
            peft_model(models[name], r=8, lora_alpha=16),
            models[name],
            settings=settings,
            train=LabelledRows(rows, [f"row{i}" for i in range(20)]),
            validation=LabelledRows(held_out, list("abcd")),
            events=heard[-1],
            token_budget=100,
        )
        curves.append(run_to_end(loop)[1])
    packed, trl = curves
    assert len(packed) == 201
    assert packed[-1]["train_loss"] < 0.95 * packed[1]["train_loss"]
    for ours, theirs in zip(packed, trl, strict=True):
        assert ours.keys() == theirs.keys()
        for column, value in ours.items():
            measured = column in ("train_loss", "validation_loss", "gradient_norm")
            assert theirs[column] == (pytest.approx(value, rel=0.01) if measured else value), (column, ours["step"])
    assert heard[0].steps == heard[1].steps
    assert heard[0].points.keys() == heard[1].points.keys()


def test_each_step_has_the_rows_and_labels_of_the_packed_engine(models: dict[str, Path]) -> None:
    """Token for token, over the end of an epoch whose last step has fewer rows."""
    seen: list[list[Any]] = []
    for engine in ("packed", "trl"):
        loop = engine_loop(
            engine,
            peft_model(models["llama"]),
            models["llama"],
            settings=TrainConfig(max_steps=8, batch_size=4),
            train=LabelledRows(random_rows(10), [f"row{i}" for i in range(10)]),
            token_budget=60,
        )
        inner, packs = loop.model.loss, list[Any]()

        def loss(pack: Any, inner: Any = inner, packs: list[Any] = packs) -> torch.Tensor:
            packs.append((pack.ids.tolist(), pack.labels.tolist(), pack.target_positions.tolist()))
            return inner(pack)  # type: ignore[no-any-return]

        loop.model.loss = loss  # type: ignore[method-assign]
        loop.run()
        seen.append(packs)
    assert len(seen[0]) > 8
    assert seen[0] == seen[1]


@pytest.mark.parametrize("name", ["qwen2", "qwen3", "gemma2", "gemma3"])
def test_other_architectures_have_the_loss_of_transformers(models: dict[str, Path], tmp_path: Path, name: str) -> None:
    """With biases, softcaps, sliding windows and norms of heads; rows of different lengths beside one another."""
    model, tokenizer = tiny_model(name, models["llama"])
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path)
    rows = random_rows()
    trained = peft_model(tmp_path)
    loop = engine_loop("trl", trained, tmp_path, train=LabelledRows(rows, list("abcde")))
    with torch.no_grad():
        actual = loop.model.loss(pack(rows)).item()
        expected = 0.0
        for ids, labels in rows:
            logits = trained(input_ids=torch.tensor([ids])).logits[0, :-1]
            expected += torch.nn.functional.cross_entropy(logits, torch.tensor(labels[1:]), reduction="sum").item()
    assert actual == pytest.approx(expected, rel=1e-5)


@pytest.mark.usefixtures("workers_inline")
@pytest.mark.parametrize(("name", "quantization"), [("gemma", "nf4"), ("llama", "none")])
def test_a_dora_adapter_loads_in_plain_peft_and_generates(
    models: dict[str, Path], data: Path, monkeypatch: pytest.MonkeyPatch, name: str, quantization: str
) -> None:
    """Two trainings write the same bytes; every part has learnt; merged, it generates what peft alone generates."""
    monkeypatch.setattr(builder, "cpu_has_bf16", lambda: False)
    lora = LoraConfig(rank=4, dora=True, dropout=0.1)
    spec, rows = train_spec(models[name], quantization, lora=lora, label_smoothing=0.1), formatted_rows(data)
    first, again = train(spec, rows), train(spec, rows)
    assert first.manifest.files == again.manifest.files
    curve = read_table(first.payload / "curve.parquet", CURVE)
    assert curve[-1]["validation_loss"] < curve[0]["validation_loss"]
    tensors = adapter_tensors(first)
    assert sum("lora_magnitude_vector" in key for key in tensors) == 14
    assert all(tensor.any() for key, tensor in tensors.items() if "lora_B" in key)

    base = AutoModelForCausalLM.from_pretrained(models[name], dtype=torch.float32)
    norms = {key: module.weight.norm(dim=1) for key, module in base.named_modules() if key.endswith("_proj")}
    tuned: Any = PeftModel.from_pretrained(base, first.payload)
    loaded = {key.replace(".default", ""): p for key, p in tuned.named_parameters() if "lora_" in key}
    magnitudes = {key.split("model.model.")[1]: p for key, p in loaded.items() if "magnitude" in key}
    assert all((p - norms[key.split(".lora_")[0]]).abs().max() > 1e-4 for key, p in magnitudes.items())
    settings: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False}
    prompt = torch.arange(3, 40)[None]
    expected = tuned.generate(input_ids=prompt, **settings).tolist()
    model = resolve_model(ModelConfig(source=str(models[name])))
    merged = load_merged_model(model, first.payload, torch.device("cpu"))
    assert merged.generate(input_ids=prompt, **settings).tolist() == expected
