"""The report's section on facts: which share of right facts each system prefers, and examples of wrong ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from artifacts.schemas import read_table
from tasks.execution.stage import Artifact
from tasks.metrics.probe_kinds import KIND_DESCRIPTIONS, ProbeKind
from tasks.metrics.probe_scores import preferences
from tasks.metrics.probe_table import LIKELIHOODS
from tasks.metrics.score_table import System
from tasks.metrics.scores import ProbeKindScores, ProbeScores
from tasks.reporting.examples import highlight_changes

EXAMPLES_PER_KIND = 2
LONGEST_EXAMPLE = 600
"""Characters of a reference; longer ones are no example."""


@dataclass(frozen=True)
class FactExample:
    """A reference and its corruption, with their likelihoods under every system."""

    id: str
    kind: str
    reference: Markup
    """With the words in <mark> that the corruption does not have."""
    corruption: Markup
    likelihoods: dict[str, tuple[float, float]]
    """System -> log-probability per token of reference and corruption."""


@dataclass(frozen=True)
class FactsSection:
    """What the section shows."""

    scores: ProbeScores
    systems: list[System]
    descriptions: Mapping[str, str]
    """Kind -> what is wrong in it."""
    examples: list[FactExample]

    @property
    def rows(self) -> list[ProbeKindScores]:
        """Every kind, and all kinds together."""
        return [*self.scores.kinds, self.scores.all_kinds]


def facts_section(
    scores: ProbeScores | None, probes: Mapping[str, Artifact], systems: Sequence[System]
) -> FactsSection | None:
    """The section; None without probes. probes: system -> its probe. systems: in the order of the tables."""
    if scores is None:
        return None
    tables = {str(system): read_table(probes[system].payload / "probe.parquet", LIKELIHOODS) for system in systems}
    descriptions = {str(kind): text for kind, text in KIND_DESCRIPTIONS.items()}
    return FactsSection(scores, list(systems), descriptions, _examples(tables))


def facts_sentence(scores: ProbeScores | None, new: str, others: Mapping[str, str], compared: System | None) -> str:
    """The facts on the first screen, in one or two sentences; empty without probes.

    new: name of the tuned model in a sentence. others: names of the other systems. compared: the main one of them.
    """
    if scores is None:
        return ""
    subject = "the base model" if compared is None else new
    system = System.BASE if compared is None else System.TUNED
    rest = f", {others[compared]} in {scores.all_kinds.shares[compared].share:.0f} %" if compared is not None else ""
    weakest = min(scores.kinds, key=lambda kind: kind.shares[system].share)
    sentence = (
        f"Facts: shown a right summary and one with a wrong fact, {subject} prefers the right one in "
        f"{scores.all_kinds.shares[system].share:.0f} %{rest}."
    )
    if len(scores.kinds) > 1:
        sentence += f" It is least reliable in “{weakest.kind}” ({weakest.shares[system].share:.0f} %)."
    return sentence


def _examples(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[FactExample]:
    """Of each kind the first dialogue where the last system is wrong, and the first where it is right."""
    last = list(tables)[-1]
    chosen = preferences(tables[last])
    by_pair = {system: {(row["id"], row["kind"]): row for row in rows} for system, rows in tables.items()}
    examples = []
    for kind in map(str, ProbeKind):
        rows = [row for row in tables[last] if row["kind"] == kind and len(row["reference"]) <= LONGEST_EXAMPLE]
        wrong = [row for row in rows if chosen[row["id"], kind] < 1]
        right = [row for row in rows if chosen[row["id"], kind] == 1]
        for row in [*wrong[:1], *right][:EXAMPLES_PER_KIND]:
            pairs = {system: found[row["id"], kind] for system, found in by_pair.items()}
            examples.append(
                FactExample(
                    id=row["id"],
                    kind=kind,
                    reference=highlight_changes(row["reference"], row["corruption"]),
                    corruption=highlight_changes(row["corruption"], row["reference"]),
                    likelihoods={system: _per_token(pair) for system, pair in pairs.items()},
                )
            )
    return examples


def _per_token(row: Mapping[str, Any]) -> tuple[float, float]:
    return (
        row["logp_reference"] / max(row["tokens_reference"], 1),
        row["logp_corruption"] / max(row["tokens_corruption"], 1),
    )
