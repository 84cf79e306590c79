"""What `promote` prints beside the decision: the candidate against its rival, slice by slice, and the dialogues that changed most."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from artifacts.artifact_store import Store
from artifacts.manifest import Manifest
from artifacts.schemas import read_table
from flows.labels import labels_of
from tasks.execution.stage import Artifact
from tasks.metrics.percentages import probability
from tasks.metrics.score_table import HEADLINE_TYPE, ROW_SCORES, System
from tasks.metrics.scores import Scores
from tasks.reporting.escaping import visible
from tasks.reporting.examples import select_examples

MOST_CHANGED = 3
"""Dialogues shown of those that improved, and of those that regressed."""


def compare(scores: str, console: Console) -> None:
    """Print slices and most changed dialogues of a score artifact (its id) that has a tuned model in it."""
    store = Store.current()
    manifest = store.by_id(scores)
    payload = store.payload(manifest.path)
    content, labels = Scores.load(payload), labels_of(manifest)
    compared = content.comparison_system
    assert compared is not None
    table = Table(box=None, pad_edge=False)
    for heading in (
        "by",
        "slice",
        "rows",
        labels[System.TUNED],
        f"difference from {labels[compared]}",
        "95 % interval",
        "better",
    ):
        table.add_column(escape(heading), justify="left" if heading in ("by", "slice") else "right", no_wrap=True)
    for entry in content.slices:
        difference = entry.differences[compared][HEADLINE_TYPE]
        low, high = difference.interval
        tuned = entry.scores[System.TUNED][HEADLINE_TYPE]
        table.add_row(
            *(entry.kind, escape(visible(entry.name)), str(entry.rows), f"{tuned:.1f}", f"{difference.mean:+.1f}"),
            *(f"{low:+.1f} to {high:+.1f}", probability(difference.probability_better)),
        )
    console.print(table)
    inputs = {role: _artifact(store, store.by_id(ref.id)) for role, ref in manifest.inputs.items()}
    outputs = {name: artifact for name, artifact in inputs.items() if name != "dataset"}
    row_scores = read_table(payload / "rows.parquet", ROW_SCORES)
    changed = select_examples(2 * MOST_CHANGED, inputs["dataset"], row_scores, outputs)
    for group in ("improved", "regressed"):
        for example in changed[group][:MOST_CHANGED]:
            console.print(f"{group} {example.change:+.0f}  {escape(visible(example.id))}", soft_wrap=True)
            for system in (compared, System.TUNED):
                console.print(
                    f"  {escape(labels[system])}: {_line(example.outputs[system].prediction)}", soft_wrap=True
                )


def _artifact(store: Store, manifest: Manifest) -> Artifact:
    return Artifact(store.payload(manifest.path), manifest)


def _line(prediction: str) -> str:
    return escape(" ".join(visible(prediction).split())) or "(empty)"
