"""Results of a finished run: the JSON of `run --json`, the artifacts in the Prefect UI, the event for automations."""

from collections.abc import Container, Sequence
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact

from artifacts.artifact_store import Store
from artifacts.champions import Champions
from artifacts.manifest import Manifest
from flows.dag import Outcome, ResolvedRecipe
from flows.decision_event import emit_decision, result
from flows.labels import Overrides, labels_of, prompt_label
from flows.run_pages import publish_report_file, report_page, scores_page, stages_page
from flows.run_summary import DecisionSummary, RunSummary
from tasks.data.change_records import DataComparison
from tasks.execution.listener import StageEntry
from tasks.manifest_views import DecisionView, ScoresView
from tasks.metrics.gate_decision import GateCheck, GateDecision
from tasks.metrics.score_table import HEADLINE_TYPE, ROUGE_TYPES, System
from tasks.metrics.scores import Scores
from tasks.prefect_task import publish_pages
from tasks.reporting.escaping import escape_markdown
from tasks.reporting.links import ids_in, link_ids
from tasks.reporting.system_names import quoted


def publish_run(
    resolved: ResolvedRecipe, entries: list[StageEntry], outcome: Outcome, artifacts: dict[str, Manifest]
) -> tuple[RunSummary, str]:
    """Publish a run to the UI. Returns its summary, and the result in one line for the run's state.

    `artifacts` are those of the stages, by id. They get a page wherever they were made, and so do the artifacts that
    the pages name.
    """
    store, name = Store.current(), resolved.recipe.name
    scores, report = store.by_id(outcome.scores.id), store.by_id(outcome.report.id)
    page = f"{store.absolute(report.path)}/payload/report.html"
    about = f"{name}: {compared(resolved, scores, outcome)}"
    known = publish_pages([*artifacts.values(), *_named(resolved, entries, artifacts)])
    text = (store.payload(report.path) / "report.md").read_text() + overrides_page(resolved.overrides)
    create_markdown_artifact(report_page(text, report.id, page, known), key="report", description=f"{about}: report")
    create_markdown_artifact(
        scores_page(score_table(store, scores), scores, known),
        key="scores",
        description=f"{about}: F1 x 100, headline protocol",
    )
    create_markdown_artifact(
        stages_page(entries, known), key="stages", description=f"{about}: what ran, what was reused, and why"
    )
    publish_report_file(report.id, page, name)
    ran = sum(e.status == "run" for e in entries)
    get_run_logger().info("%s of %s stages ran, the others were reused", ran, len(entries))
    data = DataComparison.of_report(report.facts)
    if data is not None:
        get_run_logger().info(data.sentence)
    by_seed = [scores, *(store.by_id(ref.id) for ref in outcome.seeds)]
    gate, decided = decision(resolved, entries, outcome, known, page) if outcome.decision is not None else (None, "")
    summary = RunSummary(
        recipe=name,
        store=str(store.root),
        stages=list(entries),
        scores=ScoresView(scores).headline,
        report=page,
        seeds=[ScoresView(m).headline[System.TUNED] for m in by_seed] if outcome.seeds else None,
        decision=gate,
        data_changes=data if data is not None and data.changes is not None else None,
    )
    results = f"{compared(resolved, scores, outcome)}: {result(store, scores)}"
    return summary, headline(entries, decided, results, summary.data_changes)


def _named(resolved: ResolvedRecipe, entries: list[StageEntry], artifacts: Container[str]) -> list[Manifest]:
    """Further artifacts that the pages of a run name: champions, and what its stages were compared with."""
    champions = {champion.adapter for champion, _ in resolved.champions.stack[-2:]}
    named = champions.union(*(ids_in(entry.reason) for entry in entries))
    return Store.current().manifests(ids=missing) if (missing := {i for i in named if i not in artifacts}) else []


def compared(resolved: ResolvedRecipe, scores: Manifest, outcome: Outcome) -> str:
    """`train-1a2b3c4d with prompt brief, 40 dialogues, generate.limit=40`."""
    overrides = resolved.overrides.in_short()
    who = outcome.adapter.id if outcome.adapter else "base model"
    subject = f"{who} with prompt {quoted(prompt_label(resolved.evaluation_prompt))}"
    return ", ".join(
        filter(
            None,
            [subject, f"{ScoresView(scores).protocol.dialogues} dialogues", overrides],
        )
    )


def overrides_page(overrides: Overrides) -> str:
    """What the run added to its recipe, as Markdown; empty if nothing."""
    sources = (("the variable dialogsum_overrides", overrides.station), ("this run", overrides.own))
    lines = [
        f"- from {escape_markdown(where)}: {escape_markdown(', '.join(added))}" for where, added in sources if added
    ]
    return "\n".join(["", "## Overrides of the recipe", "", *lines, ""]) if lines else ""


def headline(entries: list[StageEntry], decided: str, outcome: str, data: DataComparison | None) -> str:
    """A finished run in one line: the decision of the gate, the result, what changed in the data, what ran."""
    ran = [e.label for e in entries if e.status == "run"]
    changes = data.sentence.removesuffix(".") if data else ""
    if not ran:
        reused = f"nothing changed: all {len(entries)} stages reused"
        return "; ".join(filter(None, [reused, decided, outcome, changes]))
    reused = f"reused {len(entries) - len(ran)} of {len(entries)} stages, ran {', '.join(ran)}"
    return "; ".join(filter(None, [decided, outcome, changes, reused]))


def decision(
    resolved: ResolvedRecipe, entries: list[StageEntry], outcome: Outcome, known: Container[str], report: str
) -> tuple[DecisionSummary, str]:
    """Publish the gate's decision. Emits an event if this run made the decision or moved the champion pointer.

    report: path or address of report.html. Returns the summary and the decision in words.
    """
    assert outcome.decision is not None
    assert outcome.adapter is not None
    store, adapter = Store.current(), outcome.adapter.id
    manifest = store.by_id(outcome.decision.id)
    decision = GateDecision.load(store.payload(manifest.path))
    reasons = DecisionView(manifest).reasons
    previous, after = resolved.champions, Champions(Store.current(), resolved.model.revision)
    candidate = resolved.candidate(adapter)
    moved = len(after.changes) > len(previous.changes) and after.current == candidate
    # a champion that no longer passes, such as under a stricter gate, is reported as rejected and remains champion
    state = "rejected" if not decision.passed else "promoted" if after.current == candidate else "passed"
    message = decision_in_words(adapter, state, moved, reasons, after)
    create_markdown_artifact(
        link_ids(decision_page(adapter, state, moved, decision.checks, previous, after), known),
        key="decision",
        description=message,
    )
    new = any(e.artifact == manifest.id and e.status == "run" for e in entries)
    if moved or (new and state == "rejected"):
        emit_decision(resolved, outcome, entries, adapter, state, message, reasons, report)
    get_run_logger().info("%s; %s", message, "; ".join(reasons))
    return DecisionSummary(adapter=adapter, state=state, reasons=reasons, checks=list(decision.checks)), message


def decision_in_words(adapter: str, state: str, moved: bool, reasons: list[str], champions: Champions) -> str:
    """`train-1a2b3c4d promoted`, `… remains champion`, `… rejected (reason); train-5e6f7a8b remains champion`."""
    if state == "promoted":
        return f"{adapter} {'promoted' if moved else 'remains champion'}"
    if state == "passed":
        return f"{adapter} passes the gate, not promoted (gate.automatic is off)"
    more = f" and {len(reasons) - 1} more" if len(reasons) > 1 else ""
    stands = f"{champions.current.adapter} remains champion" if champions.current else "there is no champion"
    return f"{adapter} rejected ({reasons[0]}{more}); {stands}"


def decision_page(
    adapter: str, state: str, moved: bool, checks: Sequence[GateCheck], previous: Champions, after: Champions
) -> str:
    """The decision as Markdown for the Prefect UI."""
    replaced = f"It replaces `{previous.current.adapter}`." if previous.current else "There was no champion before."
    remains = f"`{after.current.adapter}` remains champion." if after.current else "There is no champion."
    head, stands = {
        "promoted": (f"# `{adapter}` is champion", replaced) if moved else (f"# `{adapter}` remains champion", ""),
        "passed": (f"# `{adapter}` passes the gate and was not made champion (gate.automatic is off)", remains),
        "rejected": (f"# `{adapter}` is rejected", remains),
    }[state]
    rows = [
        f"| {_check_state(c)} | {escape_markdown(c.name)} | {escape_markdown(c.observed)} "
        f"| {escape_markdown(c.required or '-')} |"
        for c in checks
    ]
    return "\n".join([head, "", stands, "", "| | condition | value | required |", "|---|---|---|---|", *rows, ""])


def _check_state(check: GateCheck) -> str:
    if not check.applied:
        return "not applied"
    return "passed" if check.passed else "**not passed**"


def score_table(store: Store, scores: Manifest) -> list[dict[str, Any]]:
    """One row a system: floors, models, ceiling; F1 x 100 with its interval."""
    content, labels = Scores.load(store.payload(scores.path)).under_headline_protocol, labels_of(scores)
    by_score = sorted(content.systems.items(), key=lambda pair: pair[1][HEADLINE_TYPE].f1)
    return [
        {"system": labels.get(system, system), "rows": content.protocol.rows}
        | {
            name: f"{row[name].f1:.2f} ({row[name].interval[0]:.1f} to {row[name].interval[1]:.1f})"
            for name in ROUGE_TYPES
        }
        for system, row in by_score
    ]
