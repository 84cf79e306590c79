"""The gate's guard on facts: the candidate may not lose the preference for right facts that its rival has."""

from tasks.metrics.gate_decision import GateCheck
from tasks.metrics.score_table import System
from tasks.metrics.scores import ProbeKindScores, ProbeScores

NAME = "preferred facts"


def probe_check(most_loss: float, probe: ProbeScores | None, rival: System) -> GateCheck:
    """Reject a candidate that loses more than `most_loss` against `rival` on some kind of wrong fact beyond doubt.

    A kind fails if the upper end of the 95 % interval of its paired difference is below -most_loss. The estimate alone
    would reject equal models by chance: there are several kinds, and a small kind moves by tens of points.
    """
    required = f"no interval below -{100 * most_loss:g} points"
    if probe is None:
        observed = "not applied: these scores have no probe"
        return GateCheck(name=NAME, passed=True, observed=observed, required=required, applied=False)
    opponent = "the champion" if rival == System.CHAMPION else "the base model"
    failed = [kind for kind in probe.kinds if kind.differences[rival].interval[1] < -100 * most_loss]
    if failed:
        losses = ", ".join(_difference(kind, rival) for kind in failed)
        observed = f"prefers right facts less often than {opponent}: {losses}"
    else:
        lowest = min(probe.kinds, key=lambda kind: kind.differences[rival].mean)
        observed = f"lowest of {len(probe.kinds)} kinds against {opponent}: {_difference(lowest, rival)}"
    return GateCheck(name=NAME, passed=not failed, observed=observed, required=required)


def _difference(kind: ProbeKindScores, rival: System) -> str:
    difference = kind.differences[rival]
    low, high = difference.interval
    return f"{kind.kind} {difference.mean:+.1f} points ({low:+.1f} to {high:+.1f}, dialogues: {kind.dialogues})"
