"""Typed views of manifests: the settings, facts and inputs that readers of an artifact look up.

`train` reads the manifest of its rows itself, so that no change here is part of the key of an adapter.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from artifacts.manifest import InputRef, Manifest
from tasks.metrics.score_table import MODELS, System
from tasks.metrics.scores import Interval, ScoringProtocol


def gpu_seconds(manifest: Manifest) -> float:
    """Seconds of all GPUs together that made an artifact; 0 if a CPU made it."""
    measured = manifest.provenance.measured
    if str(measured.get("device", "CPU")).startswith("CPU"):
        return 0.0
    return manifest.provenance.seconds * int(measured.get("processes") or 1)


@dataclass(frozen=True)
class ManifestView:
    """The manifest of an artifact of one stage. ValueError for an artifact of another stage."""

    manifest: Manifest
    STAGE: ClassVar[str]

    def __post_init__(self) -> None:
        if self.manifest.stage != self.STAGE:
            raise ValueError(f"{self.manifest.id} is no artifact of {self.STAGE}")

    @property
    def id(self) -> str:
        return self.manifest.id

    @property
    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = self.manifest.identity["config"]
        return config

    def _input_id(self, role: str) -> str | None:
        return self.manifest.inputs[role].id if role in self.manifest.inputs else None


class DatasetView(ManifestView):
    """A dataset, made by download."""

    STAGE = "download"

    @property
    def revision(self) -> str:
        return str(self._config["data"]["revision"])

    @property
    def references_without_ascii(self) -> int:
        """Test references in which the tokenizer `ascii` finds no token; 0 in artifacts that do not count them."""
        return int(self.manifest.facts.get("test_references_without_ascii", 0))


class FormattedRowsView(ManifestView):
    """Filled prompts, made by format."""

    STAGE = "format"

    @property
    def template(self) -> str:
        """Prompt text with {dialogue} in it."""
        return str(self._config["template"])

    @property
    def dataset(self) -> InputRef:
        return self.manifest.inputs["dataset"]


class ModelView(ManifestView):
    """An artifact that a model made, or that is one."""

    @property
    def base_revision(self) -> str:
        """Revision of the base model."""
        return str(self._config["model"]["revision"])

    @property
    def turns(self) -> str:
        """Turn template."""
        return str(self._config["turns"])


class AdapterView(ModelView):
    """A LoRA adapter, made by train."""

    STAGE = "train"

    @property
    def template(self) -> str:
        """Prompt text with {dialogue} in it that the adapter was trained with."""
        return str(self.manifest.facts["template"])

    @property
    def quantization(self) -> str:
        """`none`, or `nf4` if the frozen base weights were quantized in training."""
        return str(self._config.get("quantization", "none"))

    @property
    def train_settings(self) -> dict[str, Any]:
        """The recipe's section `train`; with `distill` if the adapter was distilled."""
        settings: dict[str, Any] = self._config["train"]
        return settings | ({"distill": self.preference} if self.preference else {})

    @property
    def preference(self) -> dict[str, Any] | None:
        """The settings of its preference training; None if it had a supervised one."""
        settings: dict[str, Any] | None = self._config.get("preference")
        return settings

    @property
    def preference_facts(self) -> dict[str, float] | None:
        """Counts of pairs and final figures of its preference training; None if it had a supervised one."""
        facts: dict[str, float] | None = self.manifest.facts.get("preference")
        return facts

    @property
    def batch_size(self) -> int:
        """Rows or pairs of an optimizer step."""
        return int((self.preference or self.train_settings)["batch_size"])

    @property
    def checks(self) -> list[dict[str, Any]]:
        """The checks before training, as `Check.as_dict` writes them."""
        checks: list[dict[str, Any]] = self.manifest.facts["checks"]
        return checks

    @property
    def rows(self) -> InputRef:
        return self.manifest.inputs["rows"]


class CandidatesView(ModelView):
    """Sampled summaries of the training dialogues by an adapter, made by sample."""

    STAGE = "sample"

    @property
    def candidates(self) -> int:
        """Samples of each dialogue."""
        return int(self._config["generate"]["candidates"])


class PredictionsView(ModelView):
    """Summaries of the test dialogues by one model, made by generate."""

    STAGE = "generate"

    @property
    def decoding(self) -> dict[str, Any]:
        """The recipe's section `generate`; older artifacts lack keys that did not exist then."""
        settings: dict[str, Any] = self._config["generate"]
        return settings

    @property
    def quantization(self) -> str:
        """`none`, or `nf4` if the summaries come from quantized base weights."""
        return str(self.decoding.get("quantization", "none"))

    @property
    def rows(self) -> InputRef:
        """The filled prompts."""
        return self.manifest.inputs["rows"]

    @property
    def adapter_id(self) -> str | None:
        """None for the base model."""
        return self._input_id("adapter")


class ProbeView(ModelView):
    """Which facts one model prefers, made by probe."""

    STAGE = "probe"

    @property
    def left_out(self) -> dict[str, int]:
        """Kind of wrong fact -> number of dialogues of which no reference admits it."""
        counts: dict[str, int] = self.manifest.facts["left_out"]
        return counts

    @property
    def not_applied(self) -> dict[str, str]:
        """Kind of wrong fact -> why the data does not allow it."""
        reasons: dict[str, str] = self.manifest.facts["not_applied"]
        return reasons

    @property
    def adapter_id(self) -> str | None:
        """None for the base model."""
        return self._input_id("adapter")


class ScoresView(ManifestView):
    """Scores of the compared systems, made by score."""

    STAGE = "score"

    @property
    def headline(self) -> dict[str, dict[str, float]]:
        """System -> ROUGE type -> F1 x 100 under the headline protocol."""
        scores: dict[str, dict[str, float]] = self.manifest.facts["headline"]
        return scores

    @property
    def intervals(self) -> dict[str, dict[str, Interval]]:
        """System -> ROUGE type -> 95 % interval; empty in artifacts that were made before there was a history."""
        intervals = self.manifest.facts.get("intervals", {})
        return {
            system: {name: (low, high) for name, (low, high) in by_type.items()}
            for system, by_type in intervals.items()
        }

    @property
    def protocol(self) -> ScoringProtocol:
        """The headline protocol."""
        return ScoringProtocol.model_validate(self.manifest.facts["protocol"])

    @property
    def split(self) -> str:
        """The split whose dialogues were summarized: test, or validation in a sweep."""
        return self.protocol.split

    @property
    def dataset(self) -> InputRef:
        return self.manifest.inputs["dataset"]

    @property
    def predictions(self) -> dict[System, InputRef]:
        """System -> its predictions, of the models among the systems."""
        return {System(role): ref for role, ref in self.manifest.inputs.items() if role in {*MODELS}}

    @property
    def preferred(self) -> dict[str, float]:
        """System -> how often it prefers right facts to wrong ones, in percent; empty without probes."""
        shares: dict[str, float] = self.manifest.facts.get("preferred", {})
        return shares

    @property
    def judge(self) -> dict[str, float]:
        """System -> score x 100 by the judge; empty without one."""
        judge: dict[str, Any] = self.manifest.facts.get("judge", {})
        return dict(judge.get("mean", {}))


class JudgeView(ManifestView):
    """Judgements of the summaries of one system, or of the references, made by judge."""

    STAGE = "judge"

    @property
    def judge(self) -> str:
        """Short name of the model that judged."""
        return str(self.manifest.facts["judge"])


class ReviewView(ManifestView):
    """Votes of people on the summaries of a candidate and an opponent, made by review."""

    STAGE = "review"

    @property
    def opponent(self) -> System:
        return System(self._config["opponent"])

    @property
    def predictions(self) -> tuple[InputRef, InputRef]:
        """Predictions of the candidate and of the opponent."""
        return self.manifest.inputs[System.TUNED], self.manifest.inputs[self.opponent]


class DecisionView(ManifestView):
    """A decision of the promotion gate, made by promote."""

    STAGE = "promote"

    @property
    def passed(self) -> bool:
        return bool(self.manifest.facts["passed"])

    @property
    def reasons(self) -> list[str]:
        """One sentence for each condition that the candidate fails, or for every condition if it passes."""
        reasons: list[str] = self.manifest.facts["reasons"]
        return reasons

    @property
    def scores_id(self) -> str:
        return self.manifest.inputs["scores"].id


class ReportView(ManifestView):
    """A report, made by report."""

    STAGE = "report"

    @property
    def scores_id(self) -> str:
        return self.manifest.inputs["scores"].id

    @property
    def decision_id(self) -> str | None:
        return self._input_id("decision")

    @property
    def adapter_id(self) -> str | None:
        return self._input_id("adapter")
