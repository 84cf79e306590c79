"""The summary of a run: its JSON is part of the command line's interface."""

from flows.run_summary import DecisionSummary, RunSummary
from tasks.data.change_records import DataComparison
from tasks.execution.listener import StageEntry
from tasks.metrics.gate_decision import GateCheck


def entry(stage: str, variant: str | None, artifact: str) -> StageEntry:
    return StageEntry(
        stage=stage,
        variant=variant,
        status="run",
        reason="first run",
        artifact=artifact,
        path="/x",
        rows=1,
        seconds=2.5,
    )


def summary(**more: object) -> RunSummary:
    stages = [entry("score", "seed 2", "score-2"), entry("score", None, "score-1")]
    scores = {"base": {"rouge1": 20.0}}
    return RunSummary.model_validate(
        {"recipe": "r", "store": "/s", "stages": stages, "scores": scores, "report": "/r.html"} | more
    )


def test_json_has_the_keys_that_readers_know_and_no_others() -> None:
    check = GateCheck(name="rows", passed=True, observed="40", required="30")
    decision = DecisionSummary(adapter="train-1", state="promoted", reasons=["rows: 40"], checks=[check])
    data = DataComparison(champion="train-0", sentence="Since train-0 was trained: 1 training dialogue added.")
    more = {"seeds": [{"rouge1": 30.0}], "decision": decision, "data_changes": data}
    plain, full = summary().to_json(), summary(**more).to_json()
    assert set(plain) == {"recipe", "store", "stages", "scores", "report"}
    assert plain["stages"][0] == {
        "stage": "score",
        "of": "seed 2",
        "status": "run",
        "reason": "first run",
        "artifact": "score-2",
        "path": "/x",
        "rows": 1,
        "seconds": 2.5,
    }
    assert full["seeds"] == [{"rouge1": 30.0}]
    assert full["decision"] == {
        "adapter": "train-1",
        "state": "promoted",
        "reasons": ["rows: 40"],
        "checks": [{"name": "rows", "passed": True, "got": "40", "wanted": "30", "applied": True}],
    }
    assert full["data_changes"] == {"champion": "train-0", "sentence": data.sentence, "changes": None}
    assert RunSummary.model_validate(full) == summary(**more)


def test_the_artifact_of_a_stage_is_found_by_stage_and_variant() -> None:
    assert summary().artifact_of("score") == "score-1"
    assert summary().artifact_of("score", "seed 2") == "score-2"
