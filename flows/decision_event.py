"""The event of a promoted or rejected model, with the text that is announced (flows/integrations/announcements.py)."""

from collections.abc import Sequence

from prefect.events import emit_event

from artifacts.artifact_store import Store
from artifacts.manifest import Manifest
from flows.dag import Outcome, ResolvedRecipe
from flows.labels import outputs_of, prompts_of
from tasks.data.change_records import DataComparison
from tasks.execution.listener import StageEntry
from tasks.manifest_views import ScoresView
from tasks.metrics.score_table import HEADLINE_LABEL, HEADLINE_TYPE, System
from tasks.metrics.scores import Scores
from tasks.reporting.links import report_url
from tasks.reporting.system_names import comparison_names


def emit_decision(
    resolved: ResolvedRecipe,
    outcome: Outcome,
    entries: Sequence[StageEntry],
    adapter: str,
    state: str,
    message: str,
    reasons: list[str],
    report: str,
) -> None:
    """Emit `dialogsum.model.promoted` or `dialogsum.model.rejected`, by `state`.

    message: the decision in words. report: path or address of report.html.
    """
    store, replaced = Store.current(), resolved.champions.current
    emit_event(
        event=f"dialogsum.model.{state}",
        resource={"prefect.resource.id": f"dialogsum.adapter.{adapter}", "prefect.resource.name": adapter},
        payload={
            "recipe": resolved.recipe.name,
            "base_model": resolved.model.origin,
            "reasons": reasons,
            "scores": outcome.scores.id,
            "replaced": replaced.adapter if replaced else None,
            "subject": f"{adapter} {state}, {_difference(store, outcome)}",
            "summary": _summary(store, message, resolved, outcome, entries),
            "report": report_url(outcome.report.id) or report,
        },
    )


def result(store: Store, scores: Manifest) -> str:
    """`ROUGE-1 37.8, +0.4 (-0.2 to +1.0) against the previous prompt "highlight"`."""
    content, outputs = Scores.load(store.payload(scores.path)), outputs_of(scores)
    systems, compared = content.under_headline_protocol.systems, content.comparison_system
    if compared is None:
        base = systems[System.BASE][HEADLINE_TYPE]
        return f"{HEADLINE_LABEL} {base.f1:.1f} ({base.interval[0]:.1f} to {base.interval[1]:.1f})"
    difference = content.differences[compared][HEADLINE_TYPE]
    low, high = difference.interval
    other = comparison_names(outputs, prompts_of(outputs))[1][compared]
    tuned = systems[System.TUNED][HEADLINE_TYPE].f1
    return f"{HEADLINE_LABEL} {tuned:.1f}, {difference.mean:+.1f} ({low:+.1f} to {high:+.1f}) against {other}"


def _difference(store: Store, outcome: Outcome) -> str:
    """`ROUGE-1 +1.2 against the champion`, for the subject of an announcement."""
    content = Scores.load(store.payload(store.by_id(outcome.scores.id).path))
    compared = content.comparison_system
    assert compared is not None  # the gate judges a tuned model
    against = "the base model" if compared == System.BASE else "the champion"
    return f"{HEADLINE_LABEL} {content.differences[compared][HEADLINE_TYPE].mean:+.1f} against {against}"


def _summary(
    store: Store, message: str, resolved: ResolvedRecipe, outcome: Outcome, entries: Sequence[StageEntry]
) -> str:
    """What was decided, by how much the model is better, on what data, and why it was made."""
    scores = store.by_id(outcome.scores.id)
    why = [f"{e.label}: {e.reason}" for e in entries if e.status == "run" and e.stage in ("download", "train")]
    made = f" What changed: {'; '.join(why)}." if why else ""
    data = DataComparison.of_report(store.by_id(outcome.report.id).facts)
    made += f" {data.sentence}" if data else ""
    measured = f"{result(store, scores)}, on {ScoresView(scores).protocol.dialogues} test dialogues"
    return f"{message}. {measured}. Recipe {resolved.recipe.name}, base model {resolved.model.origin}.{made}"
