"""The first screen of a report as text: is the model better, by how much, and how certain is that?"""

from typing import Literal

from pydantic import ConfigDict, Field

from artifacts.record import Record
from tasks.metrics.gate_decision import GateDecision
from tasks.metrics.percentages import probability
from tasks.metrics.score_table import COMPARISON_SYSTEMS, HEADLINE_LABEL, HEADLINE_TYPE, System
from tasks.metrics.scores import Scores, ScoringProtocol
from tasks.reporting.facts import facts_sentence


class Headline(Record):
    """The result of an evaluation in sentences; stored in the report's manifest under the aliases."""

    model_config = ConfigDict(populate_by_name=True)

    state: Literal["better", "worse", "inconclusive", "base_only"]
    headline: str = Field(validation_alias="head", serialization_alias="head")
    effect: str = Field(validation_alias="much", serialization_alias="much")
    """The difference to the main compared system, with its interval."""
    comparisons: tuple[str, ...] = Field(default=(), validation_alias="others", serialization_alias="others")
    """The differences to the other compared systems."""
    gate: str = ""
    """The gate's decision; empty if there is none."""
    facts: str = ""
    """How often the model prefers right facts; empty without probes."""
    caveats: str = Field(validation_alias="trust", serialization_alias="trust")
    """What the result is based on, and what the interval leaves out."""


def headline(
    scores: Scores,
    decision: GateDecision | None,
    seeds: list[float],
    prompt_differs: bool,
    names: tuple[str, dict[str, str]],
    weights: str = "",
) -> Headline:
    """Put the scores in words.

    seeds: ROUGE-1 of every training seed, the candidate's first; empty or one value if only one was trained.
    prompt_differs: the adapter is evaluated with another prompt than it was trained with.
    names: from `comparison_names`. weights: from `weights_sentence`.
    """
    new, others = names
    protocol, systems = scores.under_headline_protocol.protocol, scores.under_headline_protocol.systems
    compared = scores.comparison_system
    if compared is None:
        base = systems[System.BASE][HEADLINE_TYPE]
        return Headline(
            state="base_only",
            headline=f"The base model scores {base.f1:.1f} {HEADLINE_LABEL}.",
            effect=f"95 % interval {base.interval[0]:.1f} to {base.interval[1]:.1f}.",
            facts=facts_sentence(scores.probe, new, others, None),
            caveats=" ".join(filter(None, [f"Measured on {_basis(protocol)}.", weights])),
        )
    difference = scores.differences[compared][HEADLINE_TYPE]
    low, high = difference.interval
    state: Literal["better", "worse", "inconclusive"] = "better" if low > 0 else "worse" if high < 0 else "inconclusive"
    subject, other = new if compared == System.PREVIOUS else "the tuned model", others[compared]
    capitalized = f"{subject[0].upper()}{subject[1:]}"
    sentences = {
        "better": f"{capitalized} is better than {other}.",
        "worse": f"{capitalized} is worse than {other}.",
        "inconclusive": f"No significant difference between {subject} and {other}.",
    }
    caveats = [
        f"Both were measured on the same {_basis(protocol)}.",
        f"Probability of being better: {probability(difference.probability_better)}.",
        _seed_range(seeds),
        "This prompt differs from the one the adapter was trained with." if prompt_differs else "",
        weights,
    ]
    return Headline(
        state=state,
        headline=sentences[state],
        effect=_effect(scores, compared),
        comparisons=tuple(
            f"Compared with {others[system]}: {_effect(scores, system)}"
            for system in COMPARISON_SYSTEMS
            if system != compared and system in scores.differences
        ),
        gate=_gate(decision) if decision else "",
        facts=facts_sentence(scores.probe, subject, others, compared),
        caveats=" ".join(filter(None, caveats)),
    )


def _basis(protocol: ScoringProtocol) -> str:
    return f"{protocol.dialogues} test dialogues with {protocol.references} each"


def _effect(scores: Scores, compared: System) -> str:
    systems, difference = scores.under_headline_protocol.systems, scores.differences[compared][HEADLINE_TYPE]
    tuned, other = (systems[system][HEADLINE_TYPE].f1 for system in (System.TUNED, compared))
    low, high = difference.interval
    return (
        f"{HEADLINE_LABEL} {tuned:.1f} versus {other:.1f}: {difference.mean:+.1f} points "
        f"(95 % interval {low:+.1f} to {high:+.1f})."
    )


def _gate(decision: GateDecision) -> str:
    skipped = [check.name for check in decision.checks if not check.applied]
    rest = f" Not applied: {', '.join(skipped)}." if skipped else ""
    if decision.passed:
        return f"The tuned model passes the gate.{rest}"
    return f"The tuned model does not pass the gate. Failed checks: {'; '.join(decision.reasons)}.{rest}"


def _seed_range(seeds: list[float]) -> str:
    if len(seeds) < 2:
        return (
            "The interval reflects the choice of test dialogues, not the randomness of training: "
            "only one seed was trained."
        )
    return f"{HEADLINE_LABEL} ranges from {min(seeds):.1f} to {max(seeds):.1f} over {len(seeds)} training seeds."
