"""scores.json as records: every system under every protocol, differences, slices, diagnostics."""

import json
from pathlib import Path
from typing import Self

from pydantic import ConfigDict, Field

from artifacts.record import Record
from tasks.metrics.score_table import COMPARISON_SYSTEMS, System

Interval = tuple[float, float]
"""Lower and upper end of a 95 % interval."""


class RougeScore(Record):
    """Scores of one ROUGE type, x 100, with the interval of F1."""

    precision: float
    recall: float
    f1: float
    interval: Interval


class Difference(Record):
    """A paired difference in F1 x 100: tuned minus another system, over the same dialogues."""

    model_config = ConfigDict(populate_by_name=True)

    mean: float
    interval: Interval
    probability_better: float = Field(validation_alias="better", serialization_alias="better")
    """Share of the bootstrap resamples in which tuned is ahead; a tie counts half."""


class ScoringProtocol(Record):
    """How scores were computed, and on how many dialogues."""

    name: str
    package: str
    tokenizer: str = ""
    """The setting, and what it stands for here; empty in artifacts that were made before there was a choice."""
    split: str = "test"
    """The split whose dialogues were summarized."""
    references_per_row: int
    rows: int
    """Dialogues that were summarized, of `rows_in_split`."""
    rows_in_split: int
    interval: str
    """Method of the interval, in words."""

    @property
    def references(self) -> str:
        """`3 references`, of each dialogue."""
        return f"{self.references_per_row} reference{'s' * (self.references_per_row != 1)}"

    @property
    def method(self) -> str:
        """Aggregation, package and tokenizer: `mean of references, stemming, rouge-score 0.1.2, tokenizer unicode`."""
        return ", ".join([self.name, self.package, *([f"tokenizer {self.tokenizer}"] if self.tokenizer else [])])

    @property
    def dialogues(self) -> str:
        """`40`, or `8 of 40` where only a part of the split was summarized."""
        return f"{self.rows} of {self.rows_in_split}" if self.rows < self.rows_in_split else f"{self.rows}"


class ProtocolScores(Record):
    """Every system under one protocol."""

    protocol: ScoringProtocol
    systems: dict[str, dict[str, RougeScore]]
    """System -> ROUGE type -> score."""


class SliceScores(Record):
    """A part of the test dialogues, such as those with two speakers."""

    kind: str
    name: str
    rows: int
    scores: dict[str, dict[str, float]]
    """System -> ROUGE type -> F1 x 100."""
    differences: dict[str, dict[str, Difference]]


class ProbeShare(Record):
    """How often a system prefers the reference to its corruption, in percent, over dialogues."""

    share: float
    interval: Interval


class ProbeKindScores(Record):
    """One kind of wrong fact."""

    kind: str
    dialogues: int
    """Dialogues with a pair of this kind."""
    left_out: int
    """Dialogues of which no reference admits it."""
    shares: dict[str, ProbeShare]
    """System -> share."""
    differences: dict[str, Difference]
    """Compared system -> difference in percentage points, tuned minus it; empty without a tuned model."""


class ProbeScores(Record):
    """What the probes of all systems say together."""

    dialogues: int
    pairs: int
    preference: str
    """What is compared."""
    kinds: tuple[ProbeKindScores, ...]
    all_kinds: ProbeKindScores
    """The mean over the kinds of each dialogue."""
    not_applied: dict[str, str]
    """Kind -> why the data does not allow it."""


class JudgeScore(Record):
    """What a judge says of the summaries of one system, x 100, with the interval of the mean."""

    mean: float
    interval: Interval
    unsupported: float
    """Share of the summaries in which the judge names something unsupported."""


class JudgeScores(Record):
    """What a judge says of every system."""

    judge: str
    """Its short name."""
    dialogues: int
    """Dialogues whose summaries have a score in every system."""
    unreadable: int
    """Dialogues left out, because an answer of the judge could not be read."""
    systems: dict[str, JudgeScore]
    """By system, and by both ends of the judge's scale: human references, and references of other dialogues."""
    differences: dict[str, Difference]
    """Compared system -> tuned minus that system; empty without a tuned model."""


class Scores(Record):
    """The content of a score artifact."""

    model_config = ConfigDict(populate_by_name=True)

    headline: str
    """Name of the headline protocol."""
    protocols: dict[str, ProtocolScores]
    differences: dict[str, dict[str, Difference]]
    """Compared system -> ROUGE type -> difference under the headline protocol; empty without a tuned model."""
    slices: tuple[SliceScores, ...]
    diagnostics: dict[str, dict[str, float]] = Field(validation_alias="behaviour", serialization_alias="behaviour")
    """System -> measure -> value over all dialogues."""
    not_applied: dict[str, str] = Field(default_factory=dict)
    """Measure -> why the data does not allow it."""
    constant: str
    """The sentence that one of the trivial baselines repeats."""
    probe: ProbeScores | None = None
    """None without the probes of the systems, and in artifacts of earlier versions."""
    judge: JudgeScores | None = None
    """None without a judge."""

    @classmethod
    def load(cls, payload: Path) -> Self:
        """Read scores.json from the payload folder of a score artifact."""
        return cls.model_validate_json((payload / "scores.json").read_text(encoding="utf-8"))

    def save(self, folder: Path) -> None:
        """Write scores.json; the bytes depend on the content alone."""
        # without probes or a judge, the bytes are those from before there were any
        left_out = {name for name in ("probe", "judge") if getattr(self, name) is None}
        content = self.model_dump(by_alias=True, exclude=left_out)
        (folder / "scores.json").write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")

    @property
    def under_headline_protocol(self) -> ProtocolScores:
        return self.protocols[self.headline]

    @property
    def comparison_system(self) -> System | None:
        """The system that the tuned model is mainly compared with; None without a tuned model."""
        return next((system for system in COMPARISON_SYSTEMS if system in self.differences), None)
