"""`dialogsum` without a command: the status of the store, and what to do next."""

from artifacts.artifact_store import Store
from artifacts.champions import Champions
from artifacts.manifest import Manifest
from artifacts.retention import RunNote, run_notes
from flows.adapter_lookup import candidates, is_of_trial, reinstate
from flows.sweeps.trials import unfinished_trial
from tasks.execution.job import Job, parse_job
from tasks.manifest_views import AdapterView, DecisionView, PredictionsView, ReportView, ScoresView
from tasks.metrics.score_table import System
from tasks.registry import STAGES
from tasks.sources.hub import is_commit

Suggestion = tuple[str, str]
"""A command, and what it is for."""
HELP: Suggestion = ("dialogsum --help", "list all commands; COMMAND --help lists the options of one")
FIRST: list[Suggestion] = [
    ("dialogsum run", "train and evaluate a small model on the bundled sample, as `make run` does"),
    ("dialogsum doctor", "check this machine first"),
    ("dialogsum summarize FILE --adapter none", "summarize your own dialogues with the base model"),
]
"""What to do with an empty store."""
OF_SWEEP: list[Suggestion] = [
    ("dialogsum run RECIPE-sweep-ID.yaml", "evaluate the best trial of a sweep, which has written this file")
]
"""What to do if only sweeps have trained adapters."""


def status() -> str:
    """The text to print. Reads the store, changes nothing."""
    store = Store.current()
    lines, suggestions = _status(store)
    width = max(len(command) for command, _ in [*suggestions, HELP])
    listed = [f"  {command:{width}}  {purpose}" for command, purpose in [*suggestions, HELP]]
    return "\n".join([*lines, f"store: {store.root}", "", "next:", *listed])


def _status(store: Store) -> tuple[list[str], list[Suggestion]]:
    trained = candidates(store)
    lines, suggestions = _unfinished_run(store)
    if not trained:
        of_sweeps = len(store.folders("train"))
        empty = [f"{of_sweeps} adapters are trained; none was evaluated on the test split."] if of_sweeps else []
        suggestions = suggestions or (OF_SWEEP if of_sweeps else FIRST)
        return lines or empty or ["The store is empty."], suggestions
    reports = store.manifests("report")
    logs = [Champions(store, base) for base in dict.fromkeys(AdapterView(m).base_revision for m in trained)]
    with_champion = [log for log in logs if log.current]
    export: list[Suggestion] = []
    if with_champion:
        champion, scores = max(with_champion, key=lambda log: log.changes[-1].at).stack[-1]
        passed = {m.id for m in store.manifests("promote") if DecisionView(m).passed}
        own = [r for r in reports if ReportView(r).decision_id in (None, *passed)]
        lines += [f"{champion.adapter} is champion.", *_report_line(store, own, {scores})]
        lines += _newest_adapter(store, reports, trained[-1], champion.adapter)
        # a base model that is not on the hub is merged in: others could not load the adapter alone
        on_hub = any(m.id == champion.adapter and is_commit(AdapterView(m).base_revision) for m in trained)
        command = f"dialogsum export FOLDER{'' if on_hub else ' --merged'}"
        export = [(command, "export the champion for use without this project")]
    else:
        lines.append(f"{trained[-1].id} is trained; there is no champion.")
        if remark := reinstate(logs):
            lines.append(f"{remark}.")
        lines += _newest_adapter(store, reports, trained[-1], "")
    summarize = f"dialogsum summarize FILE{'' if with_champion else ' --adapter latest'}"
    return lines, [
        *suggestions,
        (summarize, "summarize your own table, transcript, subtitles or chat"),
        (
            "dialogsum evaluate --prompt NAME",
            "evaluate the adapter with another prompt; `dialogsum prompts` lists them",
        ),
        ("dialogsum history", "show every evaluation and the decisions of the gate"),
        ("dialogsum plan", "show what a run would do now, and why"),
        *export,
    ]


def _report_line(store: Store, reports: list[Manifest], scores: set[str | None]) -> list[str]:
    """The path of the newest report of these scores; no line if there is none."""
    matching = [report for report in reports if ReportView(report).scores_id in scores]
    return [f"  report: {store.absolute(matching[-1].path)}/payload/report.html"] if matching else []


def _newest_adapter(store: Store, reports: list[Manifest], newest: Manifest, champion: str) -> list[str]:
    """What the gate decided about the newest adapter; no line if that adapter is the champion."""
    if newest.id == champion:
        return []
    outputs = {m.id for m in store.manifests("generate") if PredictionsView(m).adapter_id == newest.id}
    scores = {
        m.id
        for m in store.manifests("score")
        if (tuned := ScoresView(m).predictions.get(System.TUNED)) and tuned.id in outputs
    }
    decisions = [view for view in map(DecisionView, store.manifests("promote")) if view.scores_id in scores]
    if not decisions:
        line = f"{newest.id}, the newest adapter, has not been through the gate."
        return [line, *_report_line(store, reports, {*scores})]
    decision = decisions[-1]
    outcome = "passed the gate but is not champion" if decision.passed else f"was rejected: {decision.reasons[0]}"
    report = _report_line(store, reports, {decision.scores_id})
    return [f"{newest.id}, the newest adapter, {outcome}.", *report]


def _unfinished_run(store: Store) -> tuple[list[str], list[Suggestion]]:
    """A line about the newest run, and how to resume it; nothing if it has finished."""
    notes = sorted(run_notes(store), key=lambda note: note.at)
    job = _first_missing(store, notes[-1]) if notes and not notes[-1].ended else None
    if job is None:
        return [], []
    stage = " ".join(filter(None, [job.stage, job.variant]))
    recipe, trial = job.recipe.split(" ")[0], unfinished_trial(store, job.run)
    of = f"trial {trial.number} of a sweep of {recipe}" if trial else recipe
    if store.is_busy(job.stage, job.key):
        return [f"A run of {of} is in progress: {stage}."], [("dialogsum show", "list what is finished so far")]
    command, option = ("sweep", "--over") if trial or is_of_trial(job.variant) else ("run", "--set")
    return [f"The last run, of {of}, ended before {stage} was finished."], [
        (f"dialogsum {command} {recipe}", f"resume it; repeat its options, such as {option}"),
        (f"dialogsum doctor {recipe}", "look for the cause"),
    ]


def _first_missing(store: Store, note: RunNote) -> Job | None:
    """The first job of a run whose artifact does not exist."""
    existing = {manifest.id for manifest in store.manifests()}
    for artifact in note.artifacts:
        content = store.side_files.read("jobs", f"{artifact}.json") if artifact not in existing else None
        if content is not None:
            try:
                return parse_job(content, STAGES)
            except ValueError:  # written by another version
                return None
    return None
