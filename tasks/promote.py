"""promote: scores of candidate, base and champion -> the decision of the gate, with its reasons.

Reads   scores
Writes  decision.json
Rerun   dialogsum promote [RECIPE] --adapter ID

The stage decides only; the flow moves the champion pointer (artifacts/champions.py) when the decision is a yes.
"""

import json
from typing import Any

from tasks.config import GateConfig, PromoteSpec
from tasks.execution.stage import Artifact, Context, Done, Stage
from tasks.metrics.rounding import percent, probability


def promote(spec: PromoteSpec, context: Context, scores: Artifact) -> Done:
    """Decide whether the candidate may replace the champion."""
    content = json.loads((scores.payload / "scores.json").read_text())
    checks = gate(spec.gate, content)
    if spec.withdrawn_at:
        at = spec.withdrawn_at[:16].replace("T", " ")
        rollback = f"rolled back by hand on {at} UTC; only `dialogsum promote` can reinstate it"
        checks.append(_check("rollback", False, rollback, ""))
    passed = all(check["passed"] for check in checks)
    failed = [check for check in checks if not check["passed"]]
    reasons = [sentence(check) for check in failed or checks]
    decision = {"passed": passed, "checks": checks, "reasons": reasons}
    (context.out / "decision.json").write_text(json.dumps(decision, indent=1, sort_keys=True) + "\n")
    context.events.log("the gate is passed" if passed else f"the gate is not passed: {reasons[0]}")
    return Done(rows=len(checks), facts={"passed": passed, "reasons": reasons})


def sentence(check: dict[str, Any]) -> str:
    """A condition with what was found and wanted; `got` alone where it is a sentence of its own."""
    return f"{check['name']}: {check['got']} (wanted: {check['wanted']})" if check["wanted"] else str(check["got"])


def gate(config: GateConfig, scores: dict[str, Any]) -> list[dict[str, Any]]:
    """Every condition with what was found and what was wanted; `applied` is false where the data does not allow it."""
    acted = scores["behaviour"]["tuned"]
    rows = scores["protocols"][scores["headline"]]["protocol"]["rows"]
    low, high = config.length_ratio
    checks = [
        _better(config, scores["differences"][name][config.measure], name)
        for name in ("base", "champion")
        if name in scores["differences"]
    ]
    return [
        *checks,
        _check("test dialogues", rows >= config.least_rows, f"{rows}", f"at least {config.least_rows}"),
        _check("length ratio", low <= acted["length_ratio"] <= high, f"{acted['length_ratio']:.2f}", f"{low:g} to {high:g} of the references"),
        _share("cut at the token limit", acted["at_limit"], config.most_at_limit),
        _share("empty", acted["empty"], config.most_empty),
        _share("speaker errors", acted["speaker_errors"], config.most_speaker_errors),
        *(_not_applied(name, reason, config.most_speaker_errors) for name, reason in scores.get("not_applied", {}).items()),
    ]  # fmt: skip


def _better(config: GateConfig, found: dict[str, Any], name: str) -> dict[str, Any]:
    low, high = found["interval"]
    return _check(
        f"better than {'the champion' if name == 'champion' else 'the base model'}",
        found["better"] >= config.probability,
        f"probability {probability(found['better'])}, {config.measure} {found['mean']:+.2f} ({low:+.2f} to {high:+.2f})",
        f"at least {100 * config.probability:g} %",
    )


def _share(name: str, share: float, most: float) -> dict[str, Any]:
    return _check(name, share <= most, percent(share), f"at most {100 * most:g} %")


def _not_applied(name: str, reason: str, most: float) -> dict[str, Any]:
    """A condition that the data does not allow to judge: it stops nobody, and is listed with the reason."""
    return _check(name, True, f"not applied: {reason}", f"at most {100 * most:g} %") | {"applied": False}


def _check(name: str, passed: bool, got: str, wanted: str) -> dict[str, Any]:
    return {"name": name, "passed": bool(passed), "got": got, "wanted": wanted, "applied": True}


PROMOTE = Stage(
    name="promote", version=1, function=promote, spec=PromoteSpec, label=lambda spec: "decision",
)  # fmt: skip
