"""What a finished run tells: the JSON of the command line, the artifacts in the Prefect UI, the event for automations."""

import json
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.events import emit_event

from artifacts.champions import Champions
from artifacts.manifest import Manifest
from artifacts.store import Store
from flows.graph import Outcome, Setup
from tasks.rouge import TYPES
from tasks.untrusted import plain


def tell(setup: Setup, stages: list[dict[str, Any]], outcome: Outcome) -> dict[str, Any]:
    """Publish to the UI; returns what `run --json` prints."""
    store, name = Store.current(), setup.recipe.name
    scores, report = store.by_id(outcome.scores.id), store.by_id(outcome.report.id)
    page = f"{store.absolute(report.path)}/payload/report.html"
    create_markdown_artifact(
        (store.payload(report.path) / "report.md").read_text(), key="report", description=f"{name}: report"
    )
    create_table_artifact(score_table(store, scores), key="scores", description=f"{name}: F1 x 100, headline protocol")
    create_table_artifact(
        [{k: e[k] for k in ("stage", "of", "status", "reason", "artifact", "rows", "seconds")} for e in stages],
        key="stages",
        description=f"{name}: what ran, what was reused, and why",
    )
    link = page if "://" in page else f"file://{page}"
    create_link_artifact(link, "report.html", key="report-file", description=f"{name}: {page}")
    ran = sum(e["status"] == "run" for e in stages)
    get_run_logger().info("%s of %s stages ran, the others were reused", ran, len(stages))
    told = {
        "recipe": name,
        "store": str(store.root),
        "stages": stages,
        "scores": scores.facts["headline"],
        "report": page,
    }
    if outcome.seeds:
        every = [scores, *(store.by_id(ref.id) for ref in outcome.seeds)]
        told["seeds"] = [m.facts["headline"]["tuned"] for m in every]
    if outcome.decision is not None:
        told["decision"] = decision(setup, stages, outcome)
    return told


def headline(summary: dict[str, Any]) -> str:
    """A finished run in one line, which the UI shows as the message of its state."""
    stages = summary["stages"]
    ran = [" ".join(filter(None, [e["stage"], e["of"]])) for e in stages if e["status"] == "run"]
    said = f"ran {', '.join(ran)}; {len(stages) - len(ran)} of {len(stages)} stages reused" if ran else (
        f"nothing changed: all {len(stages)} stages reused"
    )  # fmt: skip
    decided = summary.get("decision")
    return f"{said}; {decided['adapter']} {decided['state']}" if decided else said


def decision(setup: Setup, stages: list[dict[str, Any]], outcome: Outcome) -> dict[str, Any]:
    """The gate's decision as the pointer stands now; an event where it was made by this run or moved the pointer."""
    assert outcome.decision is not None
    assert outcome.adapter is not None
    store, adapter = Store.current(), outcome.adapter.id
    manifest = store.by_id(outcome.decision.id)
    checks = json.loads((store.payload(manifest.path) / "decision.json").read_text())["checks"]
    before, after = setup.champions, Champions(setup.model.revision)
    candidate = setup.candidate(adapter)
    moved = len(after.changes) > len(before.changes) and after.current == candidate
    # a champion that no longer passes, such as under a stricter gate, is told as rejected and stays in force
    state = "rejected" if not manifest.facts["passed"] else "promoted" if after.current == candidate else "passed"
    create_markdown_artifact(
        decision_page(adapter, state, checks, before), key="decision", description=f"{adapter}: {state}"
    )
    new = any(e["artifact"] == manifest.id and e["status"] == "run" for e in stages)
    if moved or (new and state == "rejected"):
        emit_event(
            event=f"dialogsum.model.{state}",
            resource={"prefect.resource.id": f"dialogsum.adapter.{adapter}", "prefect.resource.name": adapter},
            payload={
                "recipe": setup.recipe.name, "base_model": setup.model.origin, "reasons": manifest.facts["reasons"],
                "scores": outcome.scores.id, "replaced": before.current.adapter if before.current else None,
            },
        )  # fmt: skip
    get_run_logger().info("%s %s: %s", adapter, state, "; ".join(manifest.facts["reasons"]))
    return {"adapter": adapter, "state": state, "reasons": manifest.facts["reasons"], "checks": checks}


def decision_page(adapter: str, state: str, checks: list[dict[str, Any]], before: Champions) -> str:
    """The decision as Markdown for the Prefect UI."""
    head = {
        "promoted": f"# `{adapter}` is champion",
        "passed": f"# `{adapter}` passes the gate and was not made champion (gate.automatic is off)",
        "rejected": f"# `{adapter}` is rejected",
    }[state]
    stands = f"Champion before: `{before.current.adapter}`." if before.current else "There was no champion before."
    rows = [f"| {_met(c)} | {plain(c['name'])} | {plain(c['got'])} | {plain(c['wanted'])} |" for c in checks]
    return "\n".join([head, "", stands, "", "| | condition | found | wanted |", "|---|---|---|---|", *rows, ""])


def _met(check: dict[str, Any]) -> str:
    if not check.get("applied", True):  # decisions of earlier versions do not have it
        return "not applied"
    return "passed" if check["passed"] else "**not passed**"


def score_table(store: Store, scores: Manifest) -> list[dict[str, Any]]:
    """One row a system: floors, models, ceiling; F1 x 100 with its interval."""
    content = json.loads((store.payload(scores.path) / "scores.json").read_text())
    found = content["protocols"][content["headline"]]
    return [
        {"system": system, "rows": found["protocol"]["rows"]}
        | {kind: f"{row[kind]['f1']:.2f} ({row[kind]['interval'][0]:.1f} to {row[kind]['interval'][1]:.1f})" for kind in TYPES}
        for system, row in sorted(found["systems"].items(), key=lambda pair: pair[1]["rouge1"]["f1"])
    ]  # fmt: skip
