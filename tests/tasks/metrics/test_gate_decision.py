"""decision.json as records: what is written is read back, also as earlier versions wrote it."""

import json
from pathlib import Path

from tasks.metrics.gate_decision import GateCheck, GateDecision

CONTENT = {
    "passed": False,
    "checks": [
        {"name": "empty", "passed": False, "got": "9.0 %", "wanted": "at most 1 %", "applied": True},
        {"name": "rollback", "passed": False, "got": "rolled back by hand", "wanted": "", "applied": True},
    ],
    "reasons": ["empty: 9.0 % (required: at most 1 %)", "rolled back by hand"],
}


def test_keys_of_the_file_stay_as_they_were(tmp_path: Path) -> None:
    """`run --json` and automations read them."""
    (tmp_path / "decision.json").write_text(json.dumps(CONTENT))
    decision = GateDecision.load(tmp_path)
    assert decision.as_json() == CONTENT
    decision.save(tmp_path)
    assert json.loads((tmp_path / "decision.json").read_text()) == CONTENT
    assert [check.reason for check in decision.checks] == CONTENT["reasons"]


def test_a_decision_of_an_earlier_version_is_read() -> None:
    """Its checks do not say whether they were applied: all were."""
    check = GateCheck.model_validate({"name": "empty", "passed": True, "got": "0 %", "wanted": "at most 1 %"})
    assert check.applied
