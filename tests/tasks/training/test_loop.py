"""The loop of either engine when something happens: kills, damage, lack of memory, no numbers, several processes."""

import math
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from artifacts.errors import StageError
from tasks.config import TrainConfig
from tasks.training import checkpoint
from tasks.training.loop import Loop, StoppedError
from tasks.training.memory import is_out_of_memory
from tasks.training.packing import LabelledRows
from tasks.training.schedule import StepSchedule
from tests.support.listeners import RecordingListener
from tests.support.models import peft_model, random_rows
from tests.support.training import (
    engine_loop,
    formatted_rows,
    run_to_end,
    start_worker,
    train,
    train_spec,
    worker_config,
    worker_result,
)

STEPS = 6
SETTINGS = TrainConfig(
    max_steps=STEPS, batch_size=4, learning_rate=1e-2, evaluations=3, weight_decay=0.1, max_gradient_norm=0.5
)


ENGINES = ("packed", "trl")


class Killed(BaseException):
    """Nothing may catch it, as with a real kill."""


def loop_of(
    models: dict[str, Path], engine: str, work: Path | None = None, dropout: float = 0.0, **more: Any
) -> tuple[Loop, RecordingListener]:
    heard = RecordingListener()
    model: Any = peft_model(models["llama"], lora_dropout=dropout)
    rows, held_out = random_rows(10), random_rows(3, seed=1)
    settings: dict[str, Any] = {
        "settings": SETTINGS,
        "train": LabelledRows(rows, [f"row{i}" for i in range(10)]),
        "validation": LabelledRows(held_out, ["a", "b", "c"]),
        "events": heard,
        "work": work,
        "identity": "this",
        "token_budget": 60,
    }
    loop = engine_loop(engine, model, models["llama"], **settings | more)
    loop.timer.seconds = 0.0
    return loop, heard


def at_step(loop: Loop, step: int, do: Callable[[], None]) -> None:
    """Call `do` in the middle of a step: after its gradients, before its update."""
    inner = loop.gradients.accumulate

    def gradients(*arguments: Any) -> Any:
        total = inner(*arguments)
        if loop.progress.steps_done == step:
            do()
        return total

    loop.gradients.accumulate = gradients  # type: ignore[method-assign]


def test_schedule_has_every_row_once_per_epoch_and_depends_on_seed_and_step_alone() -> None:
    settings = TrainConfig(batch_size=4, epochs=2.5, seed=3)
    plan, again = StepSchedule(10, settings), StepSchedule(10, settings)
    assert plan.steps == 8  # 2.5 epochs of 3 steps, rounded up
    forward = [plan.rows(step) for step in range(8)]
    assert [again.rows(step) for step in reversed(range(8))] == forward[::-1]
    for first in (0, 3):
        assert sorted(row for step in forward[first : first + 3] for row in step) == list(range(10))
    assert forward[:3] != forward[3:6]
    assert [StepSchedule(10, settings.model_copy(update={"seed": 4})).rows(s) for s in range(8)] != forward


@pytest.mark.parametrize(("engine", "dropout"), [("packed", 0.0), ("trl", 0.1)])
@pytest.mark.parametrize("step", range(STEPS))
def test_a_training_killed_in_any_step_resumes_to_the_same_bits(
    models: dict[str, Path], tmp_path: Path, step: int, engine: str, dropout: float
) -> None:
    """Adapter and curve equal those of an undisturbed run, with the same dropout where the engine supports it."""
    expected, curve = run_to_end(loop_of(models, engine, dropout=dropout)[0])
    loop, _ = loop_of(models, engine, tmp_path, dropout=dropout)

    def kill() -> None:
        raise Killed

    at_step(loop, step, kill)
    with pytest.raises(Killed):
        loop.run()
    second, heard = loop_of(models, engine, tmp_path, dropout=dropout)
    adapter, again = run_to_end(second)
    assert heard.steps == list(range(step + 1, STEPS + 1))
    assert any("resuming" in line for line in heard.lines) == (step > 0)
    assert torch.equal(adapter, expected)
    assert again == curve


@pytest.mark.parametrize("engine", ENGINES)
def test_what_a_training_reports_is_its_curve_also_after_it_was_resumed(
    models: dict[str, Path], engine: str, tmp_path: Path
) -> None:
    """A listener that starts with the resumed run gets the points before the checkpoint as well."""
    loop, heard = loop_of(models, engine, tmp_path)

    def kill() -> None:
        raise Killed

    at_step(loop, 4, kill)
    with pytest.raises(Killed):
        loop.run()
    before = dict(heard.points)
    second, heard = loop_of(models, engine, tmp_path)
    _, curve = run_to_end(second)
    expected = {row["step"]: {name: value for name, value in row.items() if name != "step"} for row in curve}
    assert {step: {**expected[step], **values} for step, values in before.items()} == {s: expected[s] for s in range(5)}
    assert heard.points == expected
    assert {step for step, values in heard.points.items() if "validation_loss" in values} == {0, 2, 4, 6}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.row(5, "damaged checkpoint, through the loop to the same bits")
@pytest.mark.parametrize("file", ["state.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    models: dict[str, Path], engine: str, tmp_path: Path, file: str, how: str
) -> None:
    expected, curve = run_to_end(loop_of(models, engine, tmp_path)[0])
    checkpoints = sorted(tmp_path.iterdir())
    assert [checkpoint.name for checkpoint in checkpoints] == ["step-00000005", "step-00000006"]
    victim = checkpoints[-1] / file
    content = victim.read_bytes()
    match how:
        case "cut":
            victim.write_bytes(content[: len(content) // 2])
        case "flipped":
            victim.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        case "gone":
            victim.unlink()
    loop, heard = loop_of(models, engine, tmp_path)
    adapter, again = run_to_end(loop)
    assert heard.lines[0].startswith("checkpoint step-00000006 is not used")
    assert heard.steps == [6]
    assert torch.equal(adapter, expected)
    assert again == curve


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.row(5, "checkpoint of another training, through the loop")
def test_the_checkpoint_of_another_training_is_refused(models: dict[str, Path], engine: str, tmp_path: Path) -> None:
    run_to_end(loop_of(models, engine, tmp_path, identity="other")[0])
    loop, heard = loop_of(models, engine, tmp_path)
    loop.run()
    assert "it belongs to another training" in heard.lines[0]
    assert heard.steps == list(range(1, STEPS + 1))
    assert checkpoint.load_newest(tmp_path, "this", heard.log) is not None


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("boundary", range(8))
def test_killed_while_a_checkpoint_is_written_the_one_before_stays(
    models: dict[str, Path], engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boundary: int
) -> None:
    """At every call that changes the disk: the run after it ends with the same bits."""
    expected, _ = run_to_end(loop_of(models, engine)[0])
    loop, _ = loop_of(models, engine, tmp_path)
    count, armed = iter(range(1 << 30)), []

    def breaking(inner: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if armed and next(count) == boundary:
                raise Killed
            return inner(*arguments, **named)

        return call

    monkeypatch.setattr(os, "fsync", breaking(os.fsync))
    monkeypatch.setattr(checkpoint.shutil, "rmtree", breaking(checkpoint.shutil.rmtree))
    monkeypatch.setattr(Path, "rename", breaking(Path.rename))
    at_step(loop, 2, lambda: armed.append(1))
    with pytest.raises(Killed):
        loop.run()
    monkeypatch.undo()
    second, heard = loop_of(models, engine, tmp_path)
    adapter, _ = run_to_end(second)
    assert heard.steps[0] in (3, 4)
    assert torch.equal(adapter, expected)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.row(9, "memory runs out in training, injected")
def test_out_of_memory_halves_what_goes_through_at_once_and_nothing_else(
    models: dict[str, Path], engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same rows, same rates, same adapter but for rounding; the model was halfway through a backward pass."""
    expected, curve = run_to_end(loop_of(models, engine, token_budget=1000)[0])
    loop, heard = loop_of(models, engine, token_budget=1000)
    inner, sizes = loop.model.loss, []

    def loss(pack: Any) -> Any:
        sizes.append(len(pack.ids))
        value = inner(pack)
        if torch.is_grad_enabled() and len(pack.ids) > 50:
            value.backward()
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return value

    monkeypatch.setattr(loop.model, "loss", loss)
    adapter, again = run_to_end(loop)
    assert torch.allclose(adapter, expected, rtol=0, atol=2e-5)
    assert [row["train_loss"] for row in again if row["step"]] == pytest.approx(
        [row["train_loss"] for row in curve if row["step"]], rel=1e-5
    )
    assert 1 <= sum("out of memory" in line for line in heard.lines) <= 3
    assert max(sizes[-6:]) <= 50


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.row(9, "other errors are not taken for want of memory")
def test_a_row_that_does_not_fit_alone_and_other_errors_are_not_swallowed(
    models: dict[str, Path], engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, expected, match in (
        (torch.OutOfMemoryError("CUDA out of memory."), StageError, "single row of .* train.max_length"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), RuntimeError, "mat1"),
        (KeyError("memory"), KeyError, "memory"),
    ):
        loop, heard = loop_of(models, engine)

        def loss(pack: Any, error: Exception = error) -> Any:
            raise error

        inner = loop.model.loss
        monkeypatch.setattr(loop.model, "loss", lambda p, i=inner, f=loss: f(p) if torch.is_grad_enabled() else i(p))
        with pytest.raises(expected, match=match):
            loop.run()
        assert len(heard.lines) <= 8
    assert not is_out_of_memory(RuntimeError("there is no memory of this"))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.row(8, "loss or gradient no number, infinite, exploding")
@pytest.mark.parametrize(
    ("where", "value"),
    [("loss", math.nan), ("loss", math.inf), ("loss", 5.0), ("gradient norm", math.nan), ("gradient norm", math.inf)],
)
def test_no_number_ends_the_run_in_its_step_and_leaves_the_checkpoint_before(
    models: dict[str, Path], engine: str, tmp_path: Path, where: str, value: float
) -> None:
    loop, heard = loop_of(models, engine, tmp_path)

    def spoil() -> None:
        loop.model.adapter.grads[7] = value

    if where == "loss":
        inner = loop.gradients.accumulate

        def accumulate(*rows: Any) -> Any:
            return inner(*rows) * (value if loop.progress.steps_done == 3 else 1)

        loop.gradients.accumulate = accumulate  # type: ignore[method-assign]
    else:
        at_step(loop, 3, spoil)
    rows = ", ".join(f"row{i}" for i in loop.schedule.rows(3))
    with pytest.raises(
        StageError, match=rf"{where} is (nan|inf|3\d\.\d+) at step 4 of 6 \(learning rate 0.00\d+\).*{rows}"
    ):
        loop.run()
    assert heard.steps == [1, 2, 3]
    saved = checkpoint.load_newest(tmp_path, "this", heard.log)
    assert saved is not None
    assert saved[0].steps_done == 3
    assert all(tensor.isfinite().all() for tensor in saved[1].values())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.row(3, "SIGTERM in a step of the loop, twenty places")
def test_sigterm_finishes_the_step_and_the_next_run_goes_on(
    models: dict[str, Path], engine: str, tmp_path: Path
) -> None:
    """In twenty random places."""
    expected, curve = run_to_end(loop_of(models, engine)[0])
    handler = signal.getsignal(signal.SIGTERM)
    for trial in range(20):
        step, folder = random.Random(trial).randrange(STEPS), tmp_path / str(trial)
        loop, heard = loop_of(models, engine, folder)
        loop.timer.seconds = 1e9
        at_step(loop, step, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(StoppedError, match=f"SIGTERM after step {step + 1} of 6") as stopped:
            loop.run()
        assert stopped.value.exit_code == 143
        assert heard.steps[-1] == step + 1
        adapter, again = run_to_end(loop_of(models, engine, folder)[0])
        assert torch.equal(adapter, expected)
        assert again == curve
    assert signal.getsignal(signal.SIGTERM) == handler


# -- real processes


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "how",
    [
        pytest.param(signal.SIGKILL, marks=pytest.mark.row(2, "SIGKILL of the trainer")),
        pytest.param(signal.SIGTERM, marks=pytest.mark.row(3, "SIGTERM of the trainer alone")),
    ],
)
@pytest.mark.usefixtures("workers_inline")
def test_a_process_killed_and_started_again_writes_the_same_bytes(
    models: dict[str, Path], data: Path, tmp_path: Path, how: signal.Signals, engine: str
) -> None:
    """A real kill somewhere in the steps; 143 after SIGTERM."""
    file = worker_config(models, data, tmp_path / "run", engine=engine)
    spec = train_spec(models["llama"], max_steps=12, evaluations=2, engine=engine)
    undisturbed = train(spec, formatted_rows(data))
    process = start_worker(file)
    checkpoints, ends = tmp_path / "run" / "work" / "checkpoints", time.monotonic() + 200
    while not (checkpoints.is_dir() and len(list(checkpoints.glob("step-*"))) >= 2):
        assert time.monotonic() < ends
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.002)
    process.send_signal(how)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == (143 if how == signal.SIGTERM else -signal.SIGKILL), output
    assert ("stopped by SIGTERM after step" in output) == (how == signal.SIGTERM)
    assert list((tmp_path / "run" / "out").iterdir()) == []
    measured = worker_result(start_worker(file))["measured"]
    assert 0 < measured["resumed_at"] < 12
    for name in ("adapter_model.safetensors", "curve.parquet", "settings.json", "adapter_config.json"):
        assert (tmp_path / "run" / "out" / name).read_bytes() == (undisturbed.payload / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.usefixtures("workers_inline")
def test_two_processes_train_what_one_does(models: dict[str, Path], data: Path, tmp_path: Path, engine: str) -> None:
    """gloo on the CPU: same curve and adapter but for rounding, one payload."""
    from artifacts.schemas import CURVE, read_table

    plain = {"ATEN_CPU_CAPABILITY": "avx2"}  # no bf16, so that rounding is small
    settings: dict[str, Any] = {"batch_size": 5, "max_steps": 4, "engine": engine}
    files = [worker_config(models, data, tmp_path / name, **settings) for name in ("one", "two")]
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    processes = [start_worker(files[0], **plain), start_worker(files[1], *launcher, **plain)]
    one, two = (worker_result(process)["measured"] for process in processes)
    assert (one["processes"], two["processes"]) == (1, 2)
    curves = [read_table(tmp_path / name / "out" / "curve.parquet", CURVE) for name in ("one", "two")]
    for mine, theirs in zip(*curves, strict=True):
        assert mine.keys() == theirs.keys()
        for key, value in mine.items():
            assert value == (None if theirs[key] is None else pytest.approx(theirs[key], rel=1e-3)), (key, mine["step"])
    from safetensors.torch import load_file

    first, second = (load_file(tmp_path / name / "out" / "adapter_model.safetensors") for name in ("one", "two"))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.allclose(tensor, second[name], rtol=0, atol=5e-5), name
