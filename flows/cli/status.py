"""`dialogsum` alone: how things stand in the store, and what can be done next."""

from pydantic import ValidationError

from artifacts.artifact_store import Store
from artifacts.champions import Champions
from artifacts.manifest import Manifest
from artifacts.retention import RunNote, run_notes
from flows.adapter_lookup import reinstate
from tasks.execution.stage import Job
from tasks.sources.hub import is_commit

Step = tuple[str, str]
"""A command, and what it is for."""


def welcome() -> str:
    """What to print. Reads the store, changes nothing."""
    stands, steps = _standing(Store.current())
    width = max(len(command) for command, _ in steps)
    listed = [f"  {command:{width}}  {purpose}" for command, purpose in steps]
    return "\n".join([*stands, "", "next:", *listed])


def _standing(store: Store) -> tuple[list[str], list[Step]]:
    always: list[Step] = [("dialogsum --help", "every command; COMMAND --help its options")]
    here = f"store: {store.root}"
    trained = [manifest for manifest in store.manifests("train") if manifest.of is None]
    first, begun = _begun(store)
    if not trained:
        said = begun or ["Nothing is made yet."]
        return [*said, here], [*first, *always] if first else [
            ("dialogsum run", "trains and judges a small model on the bundled sample; `make run` does the same"),
            ("dialogsum doctor", "checks this machine before that"),
            ("dialogsum summarize FILE --adapter none", "your own dialogues, by the base model as it is"),
            *always,
        ]  # fmt: skip
    bases = dict.fromkeys(str(manifest.identity["config"]["model"]["revision"]) for manifest in trained)
    every = [Champions(base) for base in bases]
    logs = [log for log in every if log.current]
    export: list[Step] = []
    reports = store.manifests("report")
    if logs:
        champion, scores = max(logs, key=lambda log: log.changes[-1].at).stack[-1]
        passed = {m.id for m in store.manifests("promote") if m.facts["passed"]}
        own = [r for r in reports if "decision" not in r.inputs or r.inputs["decision"].id in passed]
        about = [*_reported(store, own, {scores}), *_newest(store, reports, trained[-1], champion.adapter)]
        who, ask = [f"{champion.adapter} is champion.", *about], "dialogsum summarize FILE"
        bases_on_hub = {m.id for m in trained if is_commit(str(m.identity["config"]["model"]["revision"]))}
        # without the base model on the hub, others have nothing to load an adapter with
        command = f"dialogsum export FOLDER{'' if champion.adapter in bases_on_hub else ' --merged'}"
        export = [(command, "the champion, for people without this project")]
    else:
        who = [f"{trained[-1].id} is trained; there is no champion.", *_newest(store, reports, trained[-1], "")]
        ask = "dialogsum summarize FILE --adapter latest"
        if undo := reinstate(every):
            who.insert(1, f"{undo}.")
    return [*begun, *who, here], [
        *first,
        (ask, "your own dialogues: a table, a transcript, subtitles, a chat"),
        ("dialogsum evaluate --prompt NAME", "the adapter under another prompt; `dialogsum prompts` lists them"),
        ("dialogsum history", "every evaluation, and what the gate decided"),
        ("dialogsum plan", "what a run would do now, and why"),
        *export,
        *always,
    ]  # fmt: skip


def _reported(store: Store, reports: list[Manifest], scores: set[str | None]) -> list[str]:
    """Where the newest report of these scores is."""
    found = [report for report in reports if report.inputs["scores"].id in scores]
    return [f"  report: {store.absolute(found[-1].path)}/payload/report.html"] if found else []


def _newest(store: Store, reports: list[Manifest], newest: Manifest, champion: str) -> list[str]:
    """What became of the newest adapter, where that is not the champion."""
    if newest.id == champion:
        return []
    outputs = {
        m.id for m in store.manifests("generate") if "adapter" in m.inputs and m.inputs["adapter"].id == newest.id
    }
    scores = {m.id for m in store.manifests("score") if "tuned" in m.inputs and m.inputs["tuned"].id in outputs}
    decisions = [m for m in store.manifests("promote") if m.inputs["scores"].id in scores]
    if not decisions:
        return [f"{newest.id}, the newest adapter, is not judged by the gate.", *_reported(store, reports, {*scores})]
    facts, judged = decisions[-1].facts, {decisions[-1].inputs["scores"].id}
    became = "passed the gate but is not champion" if facts["passed"] else f"was rejected: {facts['reasons'][0]}"
    return [f"{newest.id}, the newest adapter, {became}.", *_reported(store, reports, {*judged})]


def _begun(store: Store) -> tuple[list[Step], list[str]]:
    """How to go on with the newest run, if it has not come to its end."""
    notes = sorted(run_notes(), key=lambda note: note.at)
    if not notes or notes[-1].ended:
        return [], []
    job = _missing(store, notes[-1])
    if job is None:
        return [], []
    where = " ".join(filter(None, [job.stage, job.of]))
    name = job.recipe.split(" ")[0]
    if store.is_busy(job.stage, job.key):
        return [("dialogsum show", "what is finished so far")], [f"A run of {name} is at work: {where}."]
    return [
        (f"dialogsum run {name}", "goes on where it was; options such as --set have to be the same"),
        (f"dialogsum doctor {name}", "looks for what stopped it"),
    ], [f"The last run, of {name}, did not come past {where}."]  # fmt: skip


def _missing(store: Store, note: RunNote) -> Job | None:
    """The first stage of a run whose artifact is not there."""
    made = {manifest.id for manifest in store.manifests()}
    for artifact in note.artifacts:
        content = store.read("jobs", f"{artifact}.json") if artifact not in made else None
        if content is not None:
            try:
                return Job.model_validate_json(content)
            except ValidationError:  # of another version
                return None
    return None
