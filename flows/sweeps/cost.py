"""What trials will cost, from the measurements of earlier artifacts of the same base model.

Trainings, samplings and generations are predicted; the other stages take seconds on a CPU.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from artifacts.artifact_store import Store
from artifacts.manifest import Manifest
from artifacts.record import Record
from flows.planner import Planner
from tasks.config import Fold, FormatSpec, GenerateSpec, SampleSpec, TrainSpec
from tasks.execution.decision import Input
from tasks.execution.stage import Stage
from tasks.manifest_views import AdapterView, CandidatesView, PredictionsView, gpu_seconds
from tasks.training.schedule import StepSchedule


@dataclass(frozen=True)
class Rate:
    """How long an artifact took: a fixed part, such as loading the model, and a part for each row."""

    artifact: str
    fixed: float
    per_row: float
    gpus: float
    """GPUs that worked on it on average; 0 on a CPU."""


class Estimate(Record):
    """Predicted time of stages that would run."""

    seconds: float = 0.0
    gpu_seconds: float = 0.0
    stages: int = 0
    """Trainings, samplings and generations that would run."""
    unknown: tuple[str, ...] = ()
    """Those of them whose time was not measured yet, or whose number of rows is not known."""
    measured: tuple[str, ...] = ()
    """Artifacts whose measurements were used."""

    def __add__(self, other: "Estimate") -> "Estimate":
        return Estimate(
            seconds=self.seconds + other.seconds,
            gpu_seconds=self.gpu_seconds + other.gpu_seconds,
            stages=self.stages + other.stages,
            unknown=(*self.unknown, *other.unknown),
            measured=tuple(dict.fromkeys((*self.measured, *other.measured))),
        )

    def times(self, count: int) -> "Estimate":
        return sum([self] * count, Estimate())


@dataclass(frozen=True)
class PredictedStage:
    """A training, a sampling or a generation of a planned trial."""

    estimate: Estimate
    """As if it had to run."""
    runs: bool
    """False if its artifact exists, or if a trial that was planned before it makes it."""
    shared: bool
    """Whether trials with other adapters share it: the summaries of the base model."""


def left_to_run(stages: Sequence[PredictedStage]) -> Estimate:
    """The prediction for the stages that have to run."""
    return sum((stage.estimate for stage in stages if stage.runs), Estimate())


class CostPlanner:
    """Plans trials, and predicts their trainings and generations."""

    def __init__(self) -> None:
        self.planner = Planner()
        self.rates = Rates()
        self.rows: dict[str, int | None] = {}
        """Artifact -> its rows, as far as they are known."""
        self.counts: dict[str, int] = {}
        """Split -> dialogues of the dataset, if it is in the store."""
        self.seen = set[str]()
        self.stages: list[PredictedStage] = []

    def take_stages(self) -> list[PredictedStage]:
        """What was planned since the last call."""
        taken, self.stages = self.stages, []
        return taken

    def step(self, stage: Stage, variant: str | None, spec: Record, **inputs: Input) -> Input:
        """A `Step` for the functions of flows/dag.py."""
        planned = self.planner.step(stage, variant, spec, **inputs)
        entry = self.planner.entries[-1]
        self.rows[planned.id] = entry.rows
        if stage.name == "download" and entry.artifact:
            self.counts = Store.current().by_id(entry.artifact).facts
        elif isinstance(spec, FormatSpec) and entry.rows is None:
            split = "test" if spec.rows == "eval" else spec.rows
            self.rows[planned.id] = self.counts.get(split)
        elif isinstance(spec, TrainSpec | SampleSpec | GenerateSpec):
            estimate = self._predict(entry.label, spec, self.rows.get(inputs["rows"].id), "adapter" in inputs)
            runs = entry.status == "run" and planned.id not in self.seen
            shared = isinstance(spec, GenerateSpec) and "adapter" not in inputs
            self.stages.append(PredictedStage(estimate, runs, shared))
        self.seen.add(planned.id)
        return planned

    def _predict(
        self, label: str, spec: TrainSpec | SampleSpec | GenerateSpec, rows: int | None, tuned: bool
    ) -> Estimate:
        if isinstance(spec, TrainSpec):
            rate, work = self.rates.of_training(spec), rows and trained_rows(spec, rows)
        elif isinstance(spec, SampleSpec):
            used = rows and len(range(0, rows, spec.stride)[: spec.generate.limit])
            dialogues = used and (_in_fold(used, spec.fold) if spec.fold else used)
            rate, work = self.rates.of_sampling(spec), dialogues and dialogues * spec.generate.candidates
        else:
            rate, work = self.rates.of_generation(spec, tuned), rows and min(rows, spec.generate.limit or rows)
        if rate is None or work is None:
            return Estimate(stages=1, unknown=(label,))
        seconds = rate.fixed + rate.per_row * work
        return Estimate(seconds=seconds, gpu_seconds=seconds * rate.gpus, stages=1, measured=(rate.artifact,))


class Rates:
    """Measurements in the store; the newest artifact counts, since the hardware may have changed."""

    def __init__(self) -> None:
        store = Store.current()
        self.adapters = [m for m in reversed(store.manifests("train")) if m.provenance.measured]
        self.samples = [m for m in reversed(store.manifests("sample")) if m.provenance.measured]
        self.predictions = [m for m in reversed(store.manifests("generate")) if m.provenance.measured]

    def of_training(self, spec: TrainSpec) -> Rate | None:
        """Of a training of the same base model and the same kind, quantized in the same way."""

        def is_like(manifest: Manifest) -> bool:
            view = AdapterView(manifest)
            same_model = view.base_revision == spec.model.revision
            same_kind = (view.preference is None) == (spec.preference is None)
            return same_model and same_kind and manifest.identity["config"]["quantization"] == spec.quantization

        return _newest(self.adapters, is_like, "training_seconds", _trained)

    def of_sampling(self, spec: SampleSpec) -> Rate | None:
        """Of a sampling from the same base model, for each sample."""

        def is_like(manifest: Manifest) -> bool:
            return CandidatesView(manifest).base_revision == spec.model.revision

        def samples(manifest: Manifest) -> int:
            return manifest.rows * CandidatesView(manifest).candidates

        return _newest(self.samples, is_like, "generating_seconds", samples)

    def of_generation(self, spec: GenerateSpec, tuned: bool) -> Rate | None:
        """Of a generation by the same base model, with an adapter or without, that decoded in the same way."""
        wanted = {name: getattr(spec.generate, name) for name in ("beams", "candidates")}

        def is_like(manifest: Manifest) -> bool:
            view = PredictionsView(manifest)
            same_model = view.base_revision == spec.model.revision and (view.adapter_id is not None) == tuned
            return same_model and all(view.decoding.get(name, 1) == value for name, value in wanted.items())

        return _newest(self.predictions, is_like, "generating_seconds", lambda manifest: manifest.rows)


def trained_rows(spec: TrainSpec, rows: int) -> int:
    """Rows or pairs of all optimizer steps together, of a training split with so many rows; at most one pair a row."""
    used = len(range(0, rows, spec.train.stride)[: spec.train.limit])
    used -= _in_fold(used, spec.without) if spec.without else 0
    return StepSchedule(used, spec.step_settings).steps * min(spec.step_settings.batch_size, used)


def _in_fold(rows: int, fold: Fold) -> int:
    """Of so many rows, those in the fold, if each is a dialogue of its own."""
    return len(range(fold.index, rows, fold.count))


def _trained(manifest: Manifest) -> int:
    """Rows of the steps that took the measured time: without those before a checkpoint that was resumed."""
    steps = int(manifest.facts["steps"]) - int(manifest.provenance.measured.get("resumed_at") or 0)
    return steps * min(AdapterView(manifest).batch_size, int(manifest.facts["train_rows"]))


def _newest(
    newest_first: list[Manifest], is_like: Callable[[Manifest], bool], timed: str, rows_of: Callable[[Manifest], int]
) -> Rate | None:
    """The rate of the newest artifact that is alike. `timed`: the measurement that grows with the rows, s."""
    manifest = next((m for m in newest_first if timed in m.provenance.measured and is_like(m)), None)
    if manifest is None:
        return None
    seconds, measured = manifest.provenance.seconds, manifest.provenance.measured
    growing = min(float(measured[timed]) - float(measured.get("validation_seconds") or 0), seconds)
    return Rate(
        artifact=manifest.id,
        fixed=seconds - growing,
        per_row=growing / max(1, rows_of(manifest)),
        gpus=gpu_seconds(manifest) / seconds if seconds else 0.0,
    )


def price(gpu_seconds: float, per_hour: float | None) -> float | None:
    """Cost in the currency of `report.price_per_gpu_hour`; None if that is not set, or if no GPU is used."""
    return gpu_seconds / 3600 * per_hour if per_hour is not None and gpu_seconds else None
