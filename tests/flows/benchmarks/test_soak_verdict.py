"""A soak fails if a promotion is lost, invented or taken from the log, or if a run does not end."""

from typing import Any

import pytest

from artifacts.artifact_store import Store
from artifacts.champions import Champion, Champions
from artifacts.errors import StageError
from flows.benchmarks.soak_verdict import Verdict

BASE = "0" * 64
ONE, TWO = "train-00000001", "train-00000002"


def promote(adapter: str, run: str) -> None:
    champion = Champion(adapter=adapter, template="{dialogue}", turns="none", generate={})
    assert Champions(Store.current(), BASE).promote(champion, "score-00000000", run)


def run(name: str, message: str, state: str = "COMPLETED") -> dict[str, Any]:
    """A run as the server describes it; messages are those of flows/publishing.py."""
    return {"id": name, "state_type": state, "state": {"message": message}}


@pytest.fixture
def verdict(store: Store) -> Verdict:
    """After one promotion that the log has."""
    verdict = Verdict(store, BASE)
    promote(ONE, "first")
    verdict.add(run("first", f"{ONE} promoted; 40 dialogues; reused 0 of 9 stages"))
    return verdict


def test_what_runs_report_and_the_log_has_is_accepted(verdict: Verdict, store: Store) -> None:
    """A rejection, an unchanged run, a run that was killed after it had promoted, its repetition, and a rollback."""
    verdict.add(run("second", f"{TWO} rejected (better with 0.4); {ONE} remains champion; 40 dialogues"))
    verdict.add(run("third", f"nothing changed: all 9 stages reused; {ONE} remains champion"))
    promote(TWO, "killed")
    verdict.add(run("killed", "Flow run process exited with status -9", "CRASHED"))
    assert verdict.decided() == "promoted"
    verdict.add(run("again", f"{TWO} remains champion; reused 8 of 9 stages"))
    assert verdict.decided() == "promoted"
    Champions(store, BASE).roll_back("by hand")
    verdict.rolled_back()
    verdict.add(run("last", f"{TWO} rejected (it was rolled back); {ONE} remains champion"))
    assert verdict.decided() == "rejected"
    assert verdict.decisions == ["promoted", "rejected", "remains champion", "remains champion", "rejected"]


@pytest.mark.parametrize(
    ("message", "state"),
    [
        (f"{TWO} promoted", "COMPLETED"),
        (f"{TWO} remains champion", "COMPLETED"),
        (f"{ONE} promoted", "COMPLETED"),
        (f"{ONE} rejected (worse); {ONE} remains champion", "COMPLETED"),
        ("nothing changed", "COMPLETED"),
        (f"{ONE} remains champion", "RUNNING"),
    ],
    ids=["lost", "not champion", "no entry", "champion rejected", "no decision", "unfinished"],
)
def test_what_the_log_does_not_have_is_refused(verdict: Verdict, message: str, state: str) -> None:
    with pytest.raises(StageError, match="run next"):
        verdict.add(run("next", message, state))


def test_an_entry_that_no_run_has_reported_is_refused(verdict: Verdict) -> None:
    promote(TWO, "other")
    with pytest.raises(StageError, match=r"new entries of \['other'\]"):
        verdict.add(run("next", f"{TWO} remains champion"))


def test_an_entry_that_disappears_is_noticed(verdict: Verdict, store: Store) -> None:
    store.side_files.delete("champions", BASE[:12], "000001.json")
    with pytest.raises(StageError, match="lost or changed"):
        verdict.add(run("next", f"{TWO} rejected (worse); there is no champion"))


def test_a_run_that_must_complete_and_a_rollback_that_is_not_there_are_refused(verdict: Verdict) -> None:
    with pytest.raises(StageError, match="ended as FAILED: no memory"):
        verdict.must_complete(run("next", "no memory", "FAILED"))
    with pytest.raises(StageError, match="rollback"):
        verdict.rolled_back()
