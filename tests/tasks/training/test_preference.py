"""Preference training against DPO written out with transformers and peft; kills; what it does to the probabilities."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from artifacts.errors import StageError
from artifacts.schemas import CANDIDATES, CURVE, FORMATTED_TRAIN, read_table, write_table
from tasks.config import DistillConfig, TrainConfig
from tasks.training.builder import build_packed
from tasks.training.cuda_graphs import GraphedPackedModel
from tasks.training.loop import Loop
from tasks.training.packed_model import PackedModel
from tasks.training.packing import IGNORED, LabelledRows, micro_batches
from tasks.training.preference import Pair, Preference
from tasks.training.process_group import ProcessGroup
from tasks.training.worker_records import TrainingWorkerConfig
from tests.support.listeners import RecordingListener
from tests.support.models import peft_model, random_adapter, random_rows
from tests.support.training import run_to_end, start_worker, worker_config, worker_result

ALONE = ProcessGroup(0, 1, torch.device("cpu"))
STEPS = 6


def random_pairs(count: int = 5, seed: int = 0) -> list[Pair]:
    """Pairs with a common prompt and completions of different lengths."""
    torch.manual_seed(seed)

    def tokens(low: int, high: int) -> list[int]:
        return torch.randint(3, 500, (int(torch.randint(low, high, ())),)).tolist()  # type: ignore[no-any-return]

    pairs = []
    for _ in range(count):
        prompt = tokens(3, 20)
        better, worse = (
            (prompt + completion, [IGNORED] * len(prompt) + completion) for completion in (tokens(2, 12), tokens(2, 12))
        )
        pairs.append((better, worse))
    return pairs


def objective_of(model: Any, pairs: list[Pair], **settings: Any) -> Preference:
    names = [f"pair{i}" for i in range(len(pairs))]
    return Preference(model, pairs, names, DistillConfig(samples=2, **settings))


def prepare(objective: Preference, token_budget: int = 60) -> None:
    objective.prepare(ALONE, lambda lengths: micro_batches(lengths, token_budget))


def plain_log_probabilities(model: Any, pair: Pair) -> list[torch.Tensor]:
    """Of each row of a pair, by transformers and peft: the sum over the completion's tokens."""
    sums = []
    for ids, labels in pair:
        logs = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        sums.append(sum(logs[i - 1, label] for i, label in enumerate(labels) if label != IGNORED))
    return sums  # type: ignore[return-value]


def shift(model: Any, seed: int = 3) -> None:
    """Change the adapter a little, as steps do."""
    generator = torch.Generator().manual_seed(seed)
    model.adapter.values.data.add_(torch.randn(model.adapter.values.shape, generator=generator), alpha=0.02)
    model.adapter.refresh()


@pytest.mark.parametrize("name", ["gemma", "llama"])
@pytest.mark.parametrize(("kind", "cross_entropy"), [("sigmoid", 0.0), ("sigmoid", 0.3), ("sigmoid_norm", 0.3)])
@pytest.mark.parametrize("graphs", [False, True])
def test_loss_and_gradients_are_those_of_dpo_by_transformers_and_peft(
    models: dict[str, Path], name: str, kind: str, cross_entropy: float, graphs: bool
) -> None:
    """After steps away from the start, so that margins differ; several pairs in one micro-batch."""
    peft, pairs, beta = peft_model(models[name]), random_pairs(), 0.7
    packed = PackedModel(peft, torch.float32)
    model: Any = GraphedPackedModel(packed, token_bucket=32) if graphs else packed
    objective = objective_of(model, pairs, beta=beta, cross_entropy=cross_entropy, loss=kind)
    with torch.no_grad():
        start = [[each.item() for each in plain_log_probabilities(peft, pair)] for pair in pairs]
    prepare(objective)
    assert torch.allclose(objective.reference, torch.tensor(start), rtol=1e-4, atol=1e-4)
    shift(packed)
    if graphs:
        lengths = objective.row_lengths(range(len(pairs)))
        model.select_warm_up([lengths, lengths])
        assert model.planned_keys
    loss, figures = objective.loss(range(len(pairs)))
    loss.backward()
    actual = {key: p.grad.clone() for key, p in peft.named_parameters() if "lora_" in key}
    packed.adapter.grads.zero_()
    expected, margins = torch.zeros(()), []
    for pair, (better, worse) in zip(pairs, start, strict=True):
        log_better, log_worse = plain_log_probabilities(peft, pair)
        count, other = (sum(label != IGNORED for label in labels) for _, labels in pair)
        if kind == "sigmoid_norm":
            margins.append(beta * ((log_better - better) / count - (log_worse - worse) / other))
        else:
            margins.append(beta * ((log_better - better) - (log_worse - worse)))
        expected = expected + torch.log(1 + torch.exp(-margins[-1])) - cross_entropy * log_better / count
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert figures.tolist() == pytest.approx(
        [sum(m.item() > 0 for m in margins), sum(m.item() for m in margins)], rel=1e-3, abs=1e-4
    )
    for key, parameter in peft.named_parameters():
        if "lora_" in key:
            largest = parameter.grad.abs().max().item()
            assert torch.allclose(actual[key], parameter.grad, rtol=1e-3, atol=1e-4 * largest), key


def test_before_the_first_step_no_pair_has_a_margin(models: dict[str, Path]) -> None:
    """Whatever the micro-batches are in which the reference was measured."""
    pairs = random_pairs()
    for budget in (1, 60, 10_000):
        objective = objective_of(PackedModel(peft_model(models["llama"]), torch.float32), pairs)
        prepare(objective, budget)
        loss, figures = objective.loss([3, 1, 2])
        assert loss.item() == pytest.approx(3 * math.log(2), rel=1e-4)
        assert figures[1].item() == pytest.approx(0, abs=1e-4)


def loop_of(models: dict[str, Path], work: Path | None = None, **more: Any) -> tuple[Loop, RecordingListener]:
    """A preference training that writes a checkpoint after every step."""
    heard = RecordingListener()
    model = build_packed(peft_model(models["llama"]), torch.float32)
    settings = TrainConfig(max_steps=more.pop("steps", STEPS), batch_size=4, learning_rate=5e-3, evaluations=2)
    held_out = LabelledRows(random_rows(3, seed=1), ["a", "b", "c"])
    objective = objective_of(model, random_pairs(10), beta=more.pop("beta", 0.1))
    more = {"token_budget": 90, "learning_rate_key": "train.distill.learning_rate"} | more
    loop = Loop(objective, settings, held_out, ALONE, heard, work=work, identity="this", **more)
    loop.timer.seconds = 0.0
    return loop, heard


class KilledError(BaseException):
    """Nothing may catch it, as with a real kill."""


def test_the_loss_falls_and_the_better_row_becomes_the_more_probable_one(models: dict[str, Path]) -> None:
    loop, heard = loop_of(models, steps=40, beta=1.0)
    objective: Any = loop.objective
    _, curve = run_to_end(loop)
    assert curve[1]["train_loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert curve[-1]["train_loss"] < 0.3
    assert {"validation_loss"} <= curve[0].keys() & curve[-1].keys()
    assert heard.points[40]["reward_accuracy"] == 1.0
    assert loop.final_figures()["reward_accuracy"] == 1.0
    with torch.no_grad():
        gains = objective.log_probabilities(range(10)) - objective.reference
    assert (gains[:, 0] > gains[:, 1]).all()


@pytest.mark.parametrize("step", [0, 3, 5])
def test_a_preference_training_killed_in_a_step_resumes_to_the_same_bits(
    models: dict[str, Path], tmp_path: Path, step: int
) -> None:
    """The reference is that of the start, not of the checkpoint."""
    expected, curve = run_to_end(loop_of(models)[0])
    loop, _ = loop_of(models, tmp_path)
    inner = loop.gradients.accumulate

    def accumulate(examples: list[int]) -> torch.Tensor:
        sums = inner(examples)
        if loop.progress.steps_done == step:
            raise KilledError
        return sums

    loop.gradients.accumulate = accumulate  # type: ignore[method-assign]
    with pytest.raises(KilledError):
        loop.run()
    second, heard = loop_of(models, tmp_path)
    adapter, again = run_to_end(second)
    assert heard.steps == list(range(step + 1, STEPS + 1))
    assert torch.equal(adapter, expected)
    assert again == curve


def test_micro_batches_keep_pairs_together_and_change_rounding_only(models: dict[str, Path]) -> None:
    """By tokens or by rows, of which a pair has two."""
    expected, _ = run_to_end(loop_of(models, token_budget=10_000)[0])
    for limits in ({"token_budget": 1}, {"token_budget": 10_000, "max_rows": 3}):
        loop, _ = loop_of(models, **limits)
        adapter, _ = run_to_end(loop)
        assert loop.gradients.largest_micro_batch[1] == 2
        assert torch.allclose(adapter, expected, rtol=0, atol=2e-5)


def test_memory_that_runs_out_halves_the_pairs(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    expected, _ = run_to_end(loop_of(models, token_budget=1000)[0])
    loop, heard = loop_of(models, token_budget=1000)
    model: Any = loop.model
    inner = model.token_losses

    def token_losses(pack: Any) -> Any:
        losses = inner(pack)
        if torch.is_grad_enabled() and len(pack.ids) > 90:
            losses.sum().backward()
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return losses

    monkeypatch.setattr(model, "token_losses", token_losses)
    adapter, _ = run_to_end(loop)
    assert torch.allclose(adapter, expected, rtol=0, atol=2e-5)
    assert any("out of memory" in line for line in heard.lines)


@pytest.mark.parametrize("value", [math.nan, 20.0])
def test_a_loss_that_diverges_ends_the_run_and_names_the_pairs(models: dict[str, Path], value: float) -> None:
    loop, heard = loop_of(models)
    inner = loop.gradients.accumulate

    def accumulate(examples: list[int]) -> torch.Tensor:
        return inner(examples) * (value if loop.progress.steps_done == 2 else 1)

    loop.gradients.accumulate = accumulate  # type: ignore[method-assign]
    pairs = ", ".join(f"pair{i}" for i in loop.schedule.rows(2))
    with pytest.raises(StageError, match=rf"loss is .* at step 3 of 6 .*lower train.distill.learning_rate.*{pairs}"):
        loop.run()
    assert heard.steps == [1, 2]


def worker_file(models: dict[str, Path], data: Path, folder: Path, **distill: Any) -> Path:
    """The config of a worker that trains on pairs of a table written here, from an adapter made by peft alone."""
    file = worker_config(models, data, folder, max_length=200)
    config = TrainingWorkerConfig.model_validate_json(file.read_text())
    settings = DistillConfig(samples=2, batch_size=5, max_steps=4, learning_rate=1e-3, max_new_tokens=20, **distill)
    names = dict.fromkeys(row["id"] for row in read_table(config.rows / "train.parquet", FORMATTED_TRAIN))
    rows = [
        {
            "id": name,
            "candidates": [f"Good {name}.", f"Bad is number {i} here."],
            "finished": [True, i % 3 > 0],
            "agreement": [0.9, 0.1],
            "reference_agreement": [0.0, 0.0],
        }
        for i, name in enumerate(names)
    ]
    write_table(rows, CANDIDATES, folder / "candidates.parquet")
    lora = config.spec.train.lora.model_copy(update={"alpha": 8})
    train = config.spec.train.model_copy(update={"lora": lora, "distill": settings})
    update = {
        "spec": config.spec.model_copy(update={"train": train, "preference": settings}),
        "start": random_adapter(models["llama"], folder / "start"),
        "candidates": (folder,),
    }
    file.write_text(config.model_copy(update=update).model_dump_json())
    return file


@pytest.mark.slow
def test_two_processes_prefer_what_one_does(models: dict[str, Path], data: Path, tmp_path: Path) -> None:
    """gloo on the CPU: same curve and adapter but for rounding."""
    plain = {"ATEN_CPU_CAPABILITY": "avx2"}  # no bf16, so that rounding is small
    files = [worker_file(models, data, tmp_path / name) for name in ("one", "two")]
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    processes = [start_worker(files[0], **plain), start_worker(files[1], *launcher, **plain)]
    results = [worker_result(process) for process in processes]
    assert [result["measured"]["processes"] for result in results] == [1, 2]
    assert results[0]["preference"]["pairs"] == results[1]["preference"]["pairs"] == results[0]["rows"] > 4
    curves = [read_table(tmp_path / name / "out" / "curve.parquet", CURVE) for name in ("one", "two")]
    losses = [[row["train_loss"] for row in curve[1:]] for curve in curves]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert losses[0][0] == pytest.approx(math.log(2), abs=1e-3)
    start = load_file(tmp_path / "one" / "start" / "adapter_model.safetensors")
    first, second = (load_file(tmp_path / name / "out" / "adapter_model.safetensors") for name in ("one", "two"))
    for name, tensor in first.items():
        assert torch.allclose(tensor, second[name], rtol=0, atol=5e-5), name
    assert any(not torch.allclose(tensor, start[name], rtol=0, atol=5e-4) for name, tensor in first.items())


@pytest.mark.slow
def test_the_loss_sft_is_the_cross_entropy_of_the_best_samples_alone(
    models: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    """The worst samples, which are another text, have no part in it: the losses are the same to the last bit."""
    curves = []
    for name, bad in (("one", "Bad is number"), ("two", "Quite another text about")):
        file = worker_file(models, data, tmp_path / name, loss="sft")
        rows = read_table(tmp_path / name / "candidates.parquet", CANDIDATES)
        for row in rows:
            row["candidates"][1] = f"{bad} {row['id']}."
        write_table(rows, CANDIDATES, tmp_path / name / "candidates.parquet")
        result = worker_result(start_worker(file))
        assert result["rows"] == result["preference"]["pairs"] == len(rows)
        assert "reward_accuracy" not in result["preference"]
        curves.append(read_table(tmp_path / name / "out" / "curve.parquet", CURVE))
    losses = [[row["train_loss"] for row in curve[1:]] for curve in curves]
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0]
