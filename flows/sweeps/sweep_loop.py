"""Runs the trials of a sweep one after another. What is finished is kept in the store and never paid again."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from artifacts.artifact_store import Store
from artifacts.errors import DiskFullError, RequestError, StageError
from artifacts.schemas import CURVE, read_table
from artifacts.text import one_line
from flows import dag
from flows.runner import PipelineRun
from flows.sweeps.cost import CostPlanner, left_to_run
from flows.sweeps.durations import duration
from flows.sweeps.setup import SweepSetup
from flows.sweeps.space import as_overrides
from flows.sweeps.trial_listener import PrunedError, PruneReason, TrialListener
from flows.sweeps.trials import Trial, TrialStore
from tasks.execution.decision import Input
from tasks.manifest_views import PredictionsView, ScoresView
from tasks.metrics.score_table import System
from tasks.prefect_task import current_listener, listening

MAX_FAILURES = 3
"""Trials in a row that may fail before a sweep ends: the cause is then hardly in their parameters."""
OTHER_LOSS = (
    *("prompt", "model.source", "model.revision", "model.turns"),
    *("train.loss_on", "train.max_length", "train.stop_token"),
)
"""Keys of a recipe that change which tokens the validation loss is measured on: such losses are not compared."""


@dataclass(frozen=True)
class Stop:
    """Why a sweep ended before all of its trials."""

    reason: str
    failed: bool = False


class SweepLoop:
    """One sitting of a sweep."""

    def __init__(self, setup: SweepSetup, run: PipelineRun, say: Callable[[str], None]) -> None:
        """RequestError if a package is missing. say: gets a line at the start and at the end of each trial."""
        setup.refuse_without_optuna()
        self.setup, self.request, self.run, self.say = setup, setup.request, run, say
        self.store = TrialStore(Store.current(), setup.id)
        self.begun = set[int]()
        """Trials that this sitting has worked on."""

    def run_trials(self) -> Stop | None:
        """Run what is left to run. None if nothing is left after it; RequestError if the recipe as it is is refused."""
        failures = 0
        while (trial := self._next()) is not None:
            if stop := self._beyond_budget(trial):
                return stop
            self.begun.add(trial.number)
            ended = self._run(trial.model_copy(update={"run": self.run.id, "state": "running", "reason": ""}))
            failures = failures + 1 if ended.state == "failed" else 0
            if failures == MAX_FAILURES:
                return Stop(f"{failures} trials in a row failed, the last one: {ended.reason}", failed=True)
        return None

    def _next(self) -> Trial | None:
        """A trial that was interrupted, or that this request takes up again; else a new one."""
        trials, final = self.store.trials(), self.request.final_states
        unfinished = (t for t in trials if t.state not in final and t.number not in self.begun)
        return next(unfinished, None) or self.setup.next_trial(trials)

    def _beyond_budget(self, trial: Trial) -> Stop | None:
        budget, paid = self.request.budget, sum(trial.seconds for trial in self.store.trials())
        if budget is None:
            return None
        planner = CostPlanner()
        with suppress(RequestError):  # parameters that exclude each other: the trial fails without a cost
            dag.trial(self.setup.resolved(trial.parameters), planner.step)
        expected = left_to_run(planner.take_stages()).seconds
        if paid + expected <= budget:
            return None
        return Stop(
            f"the budget is {duration(budget)}: {duration(paid)} are paid, and the next trial takes about "
            f"{duration(expected)}"
        )

    def _run(self, trial: Trial) -> Trial:
        note = ", the recipe as it is" if not trial.number else ""
        parameters = ", ".join(as_overrides(trial.parameters))
        self.say(f"trial {trial.number}, {self.setup.count} in all: {parameters}{note}")
        inner, pool = current_listener.get(), self.run.offload_gpu
        listener = TrialListener(trial, self.store, inner, self._prune_reason(trial), pool)
        try:
            ended = self._outcome(listener)
        except BaseException:  # such as a cancelled run: the trial stays unfinished, with the seconds paid so far
            listener.save()
            raise
        self.store.save(ended)
        score = f"F1 {ended.value:.2f}, {duration(ended.seconds)}" if ended.value is not None else ended.reason
        self.say(f"trial {trial.number}: {ended.state}: {score}")
        return ended

    def _outcome(self, listener: TrialListener) -> Trial:
        """Walk the DAG of a trial. RequestError if the recipe as it is is refused, DiskFullError from any trial."""
        trial = listener.trial
        try:
            with listening(listener):
                scores = self.run.walk(self.setup.resolved(trial.parameters), dag.trial)
        except PrunedError as pruned:
            return listener.save().model_copy(update={"state": "pruned", "reason": str(pruned)})
        except DiskFullError:
            raise
        except (RequestError, StageError) as error:
            if isinstance(error, RequestError) and not trial.number:
                raise
            return listener.save().model_copy(update={"state": "failed", "reason": one_line(error, 300)})
        return self._completed(listener.save(), scores)

    def _completed(self, trial: Trial, scores: Input) -> Trial:
        """The trial with its score. Its losses are those that its adapter records, also if it was trained before."""
        store, measure = Store.current(), self.setup.base.recipe.gate.measure
        view = ScoresView(store.by_id(scores.id))
        adapter = PredictionsView(store.by_id(view.predictions[System.TUNED].id)).adapter_id
        assert adapter is not None
        curve = read_table(store.payload(store.by_id(adapter).path) / "curve.parquet", CURVE)
        return trial.model_copy(
            update={
                "state": "complete",
                "value": view.headline[System.TUNED][measure],
                "interval": view.intervals[System.TUNED][measure],
                "adapter": adapter,
                "scores": scores.id,
                "dialogues": view.protocol.dialogues,
                "losses": {p["step"]: p["validation_loss"] for p in curve if p["validation_loss"] is not None},
            }
        )

    def _prune_reason(self, trial: Trial) -> PruneReason | None:
        """What may end the training of a trial: never that of the recipe as it is, with which all are compared."""
        if not self.request.prune or not trial.number:
            return None
        study, evaluations = self.setup.study, self.setup.base.recipe.train.evaluations
        keys = [key for key in self.setup.space.keys if key in OTHER_LOSS]
        others = [
            other
            for other in self.store.trials()
            if all(other.parameters[key] == trial.parameters[key] for key in keys)
        ]
        return lambda trial: study.prune_reason(trial, others, evaluations)
