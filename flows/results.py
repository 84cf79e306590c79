"""results: the table of results, as Markdown, from score artifacts alone."""

import json
from pathlib import Path
from typing import Any

from artifacts.errors import RequestError, one_line
from artifacts.manifest import Manifest
from artifacts.store import Store

BEGIN, END = "<!-- results: dialogsum results --readme README.md -->", "<!-- end of results -->"
HEADER = (
    "| system | recipe | rouge1 | rouge2 | rougeL | dialogues | training | generation | peak memory |",
    "|---|---|---|---|---|---|---|---|---|",
)
MEASURES = ("rouge1", "rouge2", "rougeL")


def results(ids: list[str]) -> str:
    """One line a system of each score artifact (those named, else all that are nobody's rival or further seed).

    A base model that several evaluations share is shown once. F1 x 100 under the headline protocol, in brackets the
    95 % interval; seconds and peak memory are those of the artifacts' own run.
    """
    store = Store.current()
    chosen = [store.by_id(name) for name in ids] or [
        m for m in store.manifests("score") if m.of is None and "intervals" in m.facts
    ]
    if any(m.stage != "score" for m in chosen):
        raise RequestError("results are made of score artifacts (score-…): see `dialogsum show`")
    if not chosen:
        raise RequestError(f"no evaluations in {store.root} yet: `dialogsum run` makes one")
    lines = [*HEADER]
    seen = set()
    for m in chosen:
        for system in ("base", "tuned"):
            if system in m.inputs and m.inputs[system].digest not in seen:
                seen.add(m.inputs[system].digest)
                lines.append(_line(store, m, system))
    protocol = chosen[-1].facts["protocol"]
    return "\n".join(
        [*lines, "", f"F1 x 100, {protocol['name']}, {protocol['package']}; interval: {protocol['interval']}.", ""]
    )


def write(readme: Path, table: str) -> None:
    """Put the table between its marks in a Markdown file. RequestError if they are not there."""
    put(readme, BEGIN, END, table)


def put(file: Path, begin: str, end: str, block: str) -> None:
    """Put a block between two marks in a Markdown file. RequestError if they are not there."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{file} cannot be read: {one_line(error.strerror or error, 120)}") from error
    if begin not in text or end not in text:
        raise RequestError(f"{file}: has no lines {begin!r} and {end!r} to put the block between")
    before, after = text.split(begin)[0], text.split(end)[1]
    file.write_text(f"{before}{begin}\n\n{block.rstrip()}\n\n{end}{after}", encoding="utf-8")


def decoding_in_words(generate: dict[str, Any]) -> str:
    """Settings of a generation -> `greedy`, `beam 4`, `best of 64 by agreement`."""
    candidates = generate.get("candidates", 1)  # older artifacts have none
    if generate["beams"] > 1:
        return f"beam {generate['beams']}"
    return "greedy" if candidates == 1 else f"best of {candidates} by agreement"


def _line(store: Store, scores: Manifest, system: str) -> str:
    found = json.loads((store.payload(scores.path) / "scores.json").read_text())
    row = found["protocols"][found["headline"]]
    outputs = store.by_id(scores.inputs[system].id)
    adapter = store.by_id(outputs.inputs["adapter"].id) if "adapter" in outputs.inputs else None
    cells = [
        f"{row['systems'][system][kind]['f1']:.2f} ({row['systems'][system][kind]['interval'][0]:.1f} to {row['systems'][system][kind]['interval'][1]:.1f})"
        for kind in MEASURES
    ]
    how = decoding_in_words(outputs.identity["config"]["generate"])
    name = f"{outputs.made.origin.get('model', 'model')} {'tuned, ' if adapter else ''}{how}"
    peak = max(float(m.made.measured.get("peak_gib") or 0) for m in (outputs, adapter) if m)
    protocol = row["protocol"]
    return "| " + " | ".join(
        [
            name, scores.made.origin.get("recipe", ""), *cells, f"{protocol['rows']} x {protocol['references_per_row']} references",
            f"{adapter.made.seconds:.0f} s" if adapter else "-", f"{outputs.made.seconds:.0f} s", f"{peak:.1f} GiB" if peak else "-",
        ]
    ) + " |"  # fmt: skip
