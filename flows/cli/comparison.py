"""What `promote` prints beside the decision: the candidate against its rival, slice by slice, and the dialogues that moved."""

import json
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from artifacts.artifact_store import Store
from artifacts.manifest import Manifest
from flows.labels import labels_of
from tasks.execution.stage import Artifact
from tasks.metrics.rounding import probability
from tasks.reporting.escaping import visible
from tasks.reporting.examples import MEASURE, RIVALS, examples

MOVED = 3


def compare(scores: str, console: Console) -> None:
    """Print slices and movers of a score artifact (its id) that has a tuned model in it."""
    store = Store.current()
    found = store.by_id(scores)
    content = json.loads((store.payload(found.path) / "scores.json").read_text())
    rival = next(name for name in RIVALS if name in content["differences"])
    labels = labels_of(found)
    table = Table(box=None, pad_edge=False)
    for heading in (
        "by",
        "slice",
        "rows",
        labels["tuned"],
        f"difference to {labels[rival]}",
        "95 % interval",
        "better",
    ):
        table.add_column(escape(heading), justify="left" if heading in ("by", "slice") else "right", no_wrap=True)
    for entry in content["slices"]:
        gain = entry["differences"][rival][MEASURE]
        low, high = gain["interval"]
        table.add_row(
            entry["kind"], escape(visible(entry["name"])), str(entry["rows"]), f"{entry['scores']['tuned'][MEASURE]:.1f}",
            f"{gain['mean']:+.1f}", f"{low:+.1f} to {high:+.1f}", probability(gain["better"]),
        )  # fmt: skip
    console.print(table)
    inputs = {role: _artifact(store, store.by_id(ref.id)) for role, ref in found.inputs.items()}
    outputs = {name: artifact for name, artifact in inputs.items() if name != "dataset"}
    moved = examples(2 * MOVED, inputs["dataset"], _artifact(store, found), outputs)
    for group in ("improved", "regressed"):
        for example in moved[group][:MOVED]:
            console.print(f"{group} {example['change']:+.0f}  {escape(visible(example['id']))}", soft_wrap=True)
            for name in (rival, "tuned"):
                console.print(f"  {escape(labels[name])}: {_line(example['outputs'][name])}", soft_wrap=True)


def _artifact(store: Store, manifest: Manifest) -> Artifact:
    return Artifact(store.payload(manifest.path), manifest)


def _line(output: dict[str, Any]) -> str:
    return escape(" ".join(visible(output["prediction"]).split())) or "(empty)"
