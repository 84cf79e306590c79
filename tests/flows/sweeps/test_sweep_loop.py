"""A sweep tries what it was asked to, goes on where it was interrupted, and pays for nothing twice."""

import random
from collections import Counter
from pathlib import Path

import pytest

from artifacts.artifact_store import Store
from artifacts.errors import RequestError, StageError
from flows.sweeps import trial_listener
from tests.support.pipelines import expected_f1, patch_known_summaries
from tests.support.sweeps import KilledError, SweepListener, SweepRunner, by_number

pytestmark = pytest.mark.usefixtures("workers_inline", "prefect_server")


@pytest.fixture
def sweep(models: dict[str, Path], data: Path, monkeypatch: pytest.MonkeyPatch) -> SweepRunner:
    """Sweeps in which an adapter of rank r and seed s writes 4 + r + s of the ten words of every reference."""
    patch_known_summaries(monkeypatch, data)
    return SweepRunner(models["llama"], data)


def test_the_grid_finds_the_known_best_and_never_summarizes_a_test_dialogue(sweep: SweepRunner, store: Store) -> None:
    """Rank 1 and seed 0 are the recipe's: the other three points are compared with it, and four are counted."""
    summary = sweep("train.lora.rank=1,3", "train.seed=1,0")
    tried = [tuple(trial["parameters"].values()) for trial in by_number(summary)]
    assert tried == [(1, 0), (1, 1), (3, 1), (3, 0)]
    values = [trial["value"] for trial in by_number(summary)]
    assert values == pytest.approx([expected_f1(4 + rank + seed) for rank, seed in tried], abs=1e-3)
    assert summary["best"] == 2
    assert summary["trials"][0]["difference"]["mean"] == pytest.approx(expected_f1(8) - expected_f1(5), abs=1e-3)
    assert summary["sentence"].startswith(
        f"Of 4 tried the best is train.lora.rank=3, train.seed=1: ROUGE-1 {expected_f1(8):.2f}"
    )
    assert {(m.stage, m.variant) for m in store.manifests()} == {
        ("download", None),
        ("format", "train"),
        ("format", "validation"),
        ("train", "trial"),
        ("generate", "validation base"),
        ("generate", "validation tuned"),
        ("score", "validation"),
    }
    assert {m.facts["protocol"]["split"] for m in store.manifests("score")} == {"validation"}
    assert set(sweep.listener.made.values()) == {1}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_sweep_that_is_killed_anywhere_goes_on_as_if_nothing_had_happened(
    sweep: SweepRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Killed at two random events, inside of a training too: the same trials and artifacts, each made once."""
    over, events, made = "train.lora.rank=2,3", list[str](), Counter[str]()

    def count(event: str) -> bool:
        events.append(event)
        return False

    undisturbed = sweep(over, listener=SweepListener(count))
    monkeypatch.setenv("DIALOGSUM_STORE", str(tmp_path / "other"))
    draw = random.Random(seed)
    for _ in range(2):
        left = [draw.randrange(len(events))]

        def kill(event: str, left: list[int] = left) -> bool:
            left[0] -= 1
            return left[0] < 0

        killed = SweepListener(kill)
        try:
            sweep(over, listener=killed)
        except KilledError:
            assert [trial.state for trial in sweep.trials(over)[1]].count("running") <= 1
        made += killed.made
    resumed = SweepListener()
    summary = sweep(over, listener=resumed)
    made += resumed.made
    assert summary["sweep"] == undisturbed["sweep"]
    keys = ("number", "parameters", "state", "value", "interval", "adapter", "scores", "losses", "difference")
    assert [{key: trial[key] for key in keys} for trial in by_number(summary)] == [
        {key: trial[key] for key in keys} for trial in by_number(undisturbed)
    ]
    assert set(made.values()) == {1}
    assert len(made) == len(Store.current().manifests())
    assert sweep(over, listener=(again := SweepListener()))["trials"] == summary["trials"]
    assert not any(again.made)


@pytest.mark.slow
def test_the_training_that_was_interrupted_goes_on_first_from_its_checkpoint(
    sweep: SweepRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the last step of trial 1, with a checkpoint after each step; its seconds before that are paid."""
    from tasks.training.guards import CheckpointTimer

    monkeypatch.setattr(CheckpointTimer, "is_due", lambda self: True)
    trainings = iter([False, True])
    with pytest.raises(KilledError):
        sweep("train.lora.rank=2,3", listener=SweepListener(lambda event: event == "step 2" and next(trainings)))
    _, trials = sweep.trials("train.lora.rank=2,3")
    assert [trial.state for trial in trials] == ["complete", "running"]
    assert trials[1].seconds > 0
    sweep("train.lora.rank=2,3")
    first = [line for line in sweep.listener.lines if line.startswith(("trial ", "resuming"))][:2]
    assert first == ["trial 1, 3 in all: train.lora.rank=2", "resuming from the checkpoint after step 1 of 2"]


@pytest.mark.slow
def test_more_trials_go_on_from_those_that_are_there(sweep: SweepRunner) -> None:
    """20 and then 40 are the same sweep; proposals that repeat a trial are counted and cost nothing."""
    pytest.importorskip("optuna")
    over = "train.lora.rank=1,2,3,4"
    few = sweep(over, trials=2, sampler="random")
    summary = sweep(over, trials=9, sampler="random")
    assert (few["sweep"], len(few["trials"])) == (summary["sweep"], 2)
    assert by_number(summary)[1] == by_number(few)[1]
    assert sorted(trial["parameters"]["train.lora.rank"] for trial in summary["trials"]) == [1, 2, 3, 4]
    assert summary["best"] == next(t["number"] for t in by_number(summary) if t["parameters"]["train.lora.rank"] == 4)
    repeated = sum(trial["repeated"] for trial in summary["trials"])
    assert repeated > 0
    assert f"proposals that repeated an earlier trial and were replaced: {repeated}" in summary["remarks"]
    assert any("no more than 4 different trials" in remark for remark in summary["remarks"])
    assert sum(name.startswith("train") and count for name, count in sweep.listener.made.items()) == 4


@pytest.mark.slow
def test_the_budget_counts_what_earlier_sittings_paid(sweep: SweepRunner) -> None:
    """With an hour paid for trial 0, nothing starts within one hour, and the rest within a day."""
    over = "train.lora.rank=2,3"
    at = iter([False, True])
    with pytest.raises(KilledError):
        sweep(over, listener=SweepListener(lambda event: event == "stage download" and next(at)))
    store, trials = sweep.trials(over)
    store.save(trials[0].model_copy(update={"seconds": 3600.0}))
    summary = sweep(over, budget="1h")
    assert [trial["state"] for trial in by_number(summary)] == ["complete", "running"]
    (remark,) = [remark for remark in summary["remarks"] if remark.startswith("ended early")]
    assert remark.startswith("ended early: the budget is 1 h: 1 h are paid, and the next trial takes about ")
    assert remark.endswith("; not tried: 1 of 3 (train.lora.rank=3)")
    assert not any(sweep.listener.made)
    assert [trial["state"] for trial in by_number(sweep(over, budget="24h"))] == ["complete"] * 3


@pytest.mark.slow
def test_a_trial_that_fails_is_kept_with_its_reason_and_three_in_a_row_end_the_sweep(sweep: SweepRunner) -> None:
    """Learning rates that diverge; the same command goes on behind them, and --retry-failed runs them again."""
    over = "train.learning_rate=1e30,2e30,3e30,4e30"
    with pytest.raises(StageError, match=r"3 trials in a row failed, the last one: .*lower train.learning_rate"):
        sweep(over)
    summary = sweep(over)
    assert [trial["state"] for trial in by_number(summary)] == ["complete", *["failed"] * 4]
    assert all("learning rate" in trial["reason"] for trial in by_number(summary)[1:])
    assert "Of 5 tried (4 failed), none scores higher than the recipe as it is" in summary["sentence"]
    begun = len(sweep.listener.lines)
    with pytest.raises(StageError, match="in a row failed"):
        sweep(over, retry_failed=True)
    assert sum(line.startswith("trial 1, 5 in all") for line in sweep.listener.lines[begun:]) == 1


@pytest.mark.slow
def test_a_training_far_above_the_others_is_ended_half_way_and_can_be_finished(
    models: dict[str, Path], data: Path
) -> None:
    """With a learning rate that changes nothing: 4 of 8 steps; --no-prune finishes it; the recipe is never pruned."""
    pytest.importorskip("optuna")
    sweep = SweepRunner(models["llama"], data, "train.max_steps=8", "train.evaluations=4", "train.learning_rate=9e-3")
    over = "train.learning_rate=8e-3,7e-3,1e-2,1e-12"
    summary = sweep(over, prune=True)
    bad = by_number(summary)[4]
    assert [trial["state"] for trial in by_number(summary)] == [*["complete"] * 4, "pruned"]
    assert sweep.listener.steps == [1, 2, 3, 4]
    assert (bad["adapter"], [*bad["losses"]]) == (None, ["0", "2", "4"])
    assert bad["reason"].startswith("its lowest validation loss so far is ")
    assert by_number(sweep(over, prune=True))[4] == bad
    finished = by_number(sweep(over))
    assert [trial["state"] for trial in finished] == ["complete"] * 5
    assert [*finished[4]["losses"]] == ["0", "2", "4", "6", "8"]


def test_a_recipe_that_is_refused_ends_the_sweep_at_once(sweep: SweepRunner, data: Path) -> None:
    """Nothing about it could be different in another trial."""
    (data / "train.csv").write_text("id,dialogue,summary,topic\n")
    with pytest.raises(RequestError):
        sweep("train.lora.rank=2,3")


def test_seconds_on_the_gpu_pool_count_from_the_first_measurement(
    sweep: SweepRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it a training may have waited for a GPU."""
    clock = iter([100.0, 130.0, 130.0, 130.0])
    store, _ = sweep.trials("train.lora.rank=2")
    trial = sweep.setup("train.lora.rank=2").next_trial([])
    assert trial is not None
    listener = trial_listener.TrialListener(trial, store, SweepListener(), None, on_pool=True)
    monkeypatch.setattr(trial_listener.time, "monotonic", lambda: next(clock))  # type: ignore[attr-defined]
    listener.stage("train trial", "run", "", "train-1a2b3c4d")
    assert listener.save().seconds == 0
    listener.metrics(1, {"train_loss": 1.0})
    assert listener.save().seconds == 30.0
