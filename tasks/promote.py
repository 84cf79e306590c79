"""promote: scores of candidate, base and champion -> the decision of the gate, with its reasons.

Reads   scores; review of the candidate, if the gate requires one and it exists
Writes  decision.json (tasks/metrics/gate_decision.py)
Rerun   dialogsum promote [RECIPE] --adapter ID

This stage only decides. If the gate passes, the flow moves the champion pointer (artifacts/champions.py).
"""

from tasks.config import GateConfig, PromoteSpec
from tasks.execution.stage import Artifact, Context, Stage, StageResult
from tasks.metrics.gate_decision import GateCheck, GateDecision
from tasks.metrics.percentages import percent, probability
from tasks.metrics.probe_guard import probe_check
from tasks.metrics.review_result import Review
from tasks.metrics.score_table import NUMBERS_MEASURE, System
from tasks.metrics.scores import Scores


def promote(spec: PromoteSpec, context: Context, scores: Artifact, review: Artifact | None = None) -> StageResult:
    """Decide whether the candidate may replace the champion.

    review: votes on the summaries of the candidate and of the champion, or of the base model if there is no champion.
    """
    content = Scores.load(scores.payload)
    checks = gate(spec.gate, content)
    if spec.gate.least_win_rate is not None:
        opponent = "the champion" if System.CHAMPION in content.differences else "the base model"
        result = Review.load(review.payload) if review else None
        checks += _review_checks(spec.gate, spec.gate.least_win_rate, opponent, result, scores.manifest.id)
    if spec.withdrawn_at:
        time = spec.withdrawn_at[:16].replace("T", " ")
        sentence = f"rolled back by hand on {time} UTC; only `dialogsum promote` can reinstate it"
        checks.append(GateCheck(name="rollback", passed=False, observed=sentence, required=""))
    failed = [check for check in checks if not check.passed]
    reasons = tuple(check.reason for check in failed or checks)
    decision = GateDecision(passed=not failed, checks=tuple(checks), reasons=reasons)
    decision.save(context.out)
    context.events.log("the gate passes" if decision.passed else f"the gate does not pass: {reasons[0]}")
    return StageResult(rows=len(checks), facts={"passed": decision.passed, "reasons": list(reasons)})


def gate(config: GateConfig, scores: Scores) -> list[GateCheck]:
    """Every condition of the gate."""
    tuned = scores.diagnostics[System.TUNED]
    rows = scores.under_headline_protocol.protocol.rows
    low, high = config.length_ratio
    rival = System.CHAMPION if System.CHAMPION in scores.differences else System.BASE
    return [
        *(
            _better_than(system, config, scores)
            for system in (System.BASE, System.CHAMPION)
            if system in scores.differences
        ),
        GateCheck(
            name="test dialogues",
            passed=rows >= config.least_rows,
            observed=f"{rows}",
            required=f"at least {config.least_rows}",
        ),
        GateCheck(
            name="length ratio",
            passed=low <= tuned["length_ratio"] <= high,
            observed=f"{tuned['length_ratio']:.2f}",
            required=f"{low:g} to {high:g} of the references",
        ),
        _share_at_most("cut off at the token limit", tuned["at_limit"], config.most_at_limit),
        _share_at_most("empty", tuned["empty"], config.most_empty),
        _share_at_most("speaker errors", tuned["speaker_errors"], config.most_speaker_errors),
        *(  # scores of earlier versions do not have it
            _share_at_most("number errors", tuned[name], config.most_number_errors)
            for name in ("number_errors",)
            if name in tuned
        ),
        *(
            GateCheck(
                name=name,
                passed=True,
                observed=f"not applied: {reason}",
                required=f"at most {100 * _limit(name, config):g} %",
                applied=False,
            )
            for name, reason in scores.not_applied.items()
        ),
        probe_check(config.most_probe_loss, scores.probe, rival),
    ]


def _review_checks(
    config: GateConfig, least_win_rate: float, opponent: str, review: Review | None, scores_id: str
) -> list[GateCheck]:
    """Win rate and number of dialogues of a review; one condition that fails if there is no review."""
    if review is None:
        sentence = (
            f"no votes on these summaries against {opponent}: run `dialogsum review {scores_id}`, "
            "then `dialogsum review --votes FILE`, then `dialogsum promote`"
        )
        return [GateCheck(name="review", passed=False, observed=sentence, required="")]
    return [
        GateCheck(
            name="win rate",
            passed=review.interval[0] >= least_win_rate,
            observed=f"{review.rate_and_interval} against {opponent}, reviewers: {len(review.reviewers)}",
            required=f"lower end at least {100 * least_win_rate:g} %",
        ),
        GateCheck(
            name="dialogues with a vote",
            passed=review.dialogues >= config.least_reviewed,
            observed=f"{review.dialogues}",
            required=f"at least {config.least_reviewed}",
        ),
    ]


def _limit(measure: str, config: GateConfig) -> float:
    """The limit of a measure that was not applied."""
    return config.most_number_errors if measure == NUMBERS_MEASURE else config.most_speaker_errors


def _better_than(system: System, config: GateConfig, scores: Scores) -> GateCheck:
    difference = scores.differences[system][config.measure]
    low, high = difference.interval
    return GateCheck(
        name=f"better than {'the champion' if system == System.CHAMPION else 'the base model'}",
        passed=difference.probability_better >= config.probability,
        observed=f"probability {probability(difference.probability_better)}, "
        f"{config.measure} {difference.mean:+.2f} ({low:+.2f} to {high:+.2f})",
        required=f"at least {100 * config.probability:g} %",
    )


def _share_at_most(name: str, share: float, limit: float) -> GateCheck:
    return GateCheck(name=name, passed=share <= limit, observed=percent(share), required=f"at most {100 * limit:g} %")


PROMOTE = Stage(name="promote", version=1, function=promote, spec=PromoteSpec, label=lambda spec: "decision")
