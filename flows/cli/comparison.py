"""Output of `promote` after its decision: scores by slice, and the dialogues that changed most."""

from rich.console import Console
from rich.markup import escape

from artifacts.artifact_store import Store
from artifacts.manifest import Manifest
from flows.cli.terminal import new_table
from flows.labels import labels_of
from tasks.execution.stage import Artifact
from tasks.metrics.percentages import probability
from tasks.metrics.row_scores import read_row_scores
from tasks.metrics.score_table import HEADLINE_TYPE, MODELS, System
from tasks.metrics.scores import Scores
from tasks.reporting.escaping import visible
from tasks.reporting.examples import select_examples

MOST_CHANGED = 3
"""Dialogues that are printed of those that improved most, and of those that regressed most."""


def compare(scores: str, console: Console) -> None:
    """Print the score of each slice, and the dialogues that changed most, against the compared system.

    scores: id of a score artifact of a tuned model.
    """
    store = Store.current()
    manifest = store.by_id(scores)
    payload = store.payload(manifest.path)
    content, labels = Scores.load(payload), labels_of(manifest)
    compared = content.comparison_system
    assert compared is not None
    figures = ("rows", labels[System.TUNED], f"difference from {labels[compared]}", "95 % interval", "better")
    table = new_table("by", "slice", *figures, right=figures)
    for entry in content.slices:
        difference = entry.differences[compared][HEADLINE_TYPE]
        low, high = difference.interval
        table.add_row(
            entry.kind,
            escape(visible(entry.name)),
            str(entry.rows),
            f"{entry.scores[System.TUNED][HEADLINE_TYPE]:.1f}",
            f"{difference.mean:+.1f}",
            f"{low:+.1f} to {high:+.1f}",
            probability(difference.probability_better),
        )
    console.print(table)
    inputs = {role: _artifact(store, store.by_id(ref.id)) for role, ref in manifest.inputs.items()}
    outputs = {str(system): inputs[system] for system in MODELS if system in inputs}
    row_scores = read_row_scores(payload / "rows.parquet")
    changed = select_examples(2 * MOST_CHANGED, inputs["dataset"], row_scores, outputs)
    for group in ("improved", "regressed"):
        for example in changed[group][:MOST_CHANGED]:
            console.print(f"{group} {example.change:+.0f}  {escape(visible(example.id))}", soft_wrap=True)
            for system in (compared, System.TUNED):
                summary = _one_line(example.outputs[system].prediction)
                console.print(f"  {escape(labels[system])}: {summary}", soft_wrap=True)


def _artifact(store: Store, manifest: Manifest) -> Artifact:
    return Artifact(store.payload(manifest.path), manifest)


def _one_line(summary: str) -> str:
    return escape(" ".join(visible(summary).split())) or "(empty)"
