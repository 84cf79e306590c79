"""results: the table of results, as Markdown, from score artifacts alone."""

import re
from pathlib import Path

from artifacts.artifact_store import Store
from artifacts.errors import RequestError, one_line
from artifacts.manifest import Manifest
from flows.evaluation_history import overrides_by_recipe
from flows.labels import prompts_of
from tasks.metrics.score_table import ROUGE_TYPES, System
from tasks.metrics.scores import Scores
from tasks.reporting.escaping import escape_markdown, visible
from tasks.reporting.system_names import describe_decoding, quoted

BEGIN, END = "<!-- results: dialogsum results --readme README.md -->", "<!-- end of results -->"
HEADER = (
    "| system | recipe | rouge1 | rouge2 | rougeL | dialogues | prompt | training | generation | peak memory |",
    "|---|---|---|---|---|---|---|---|---|---|",
)


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
        for system in (System.BASE, System.TUNED):
            if system in m.inputs and m.inputs[system].digest not in seen:
                seen.add(m.inputs[system].digest)
                lines.append(_line(store, m, system))
    protocol = chosen[-1].facts["protocol"]
    notes = [f"F1 x 100, {protocol['name']}, {protocol['package']}; interval: {protocol['interval']}."]
    made = ((m.made.origin.get("recipe", ""), m.made.origin.get("overrides", "")) for m in chosen)
    for recipe, overrides in overrides_by_recipe(made):
        notes += ["", f"Recipe {visible(recipe)} with `{visible(overrides).replace('`', chr(39))}`."]
    return "\n".join([*lines, "", *notes, ""])


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


def _line(store: Store, scores: Manifest, system: str) -> str:
    row = Scores.load(store.payload(scores.path)).under_headline_protocol
    outputs = store.by_id(scores.inputs[system].id)
    adapter = store.by_id(outputs.inputs["adapter"].id) if "adapter" in outputs.inputs else None
    by_type = (row.systems[system][name] for name in ROUGE_TYPES[:3])
    cells = [f"{score.f1:.2f} ({score.interval[0]:.1f} to {score.interval[1]:.1f})" for score in by_type]
    how = describe_decoding(outputs.identity["config"]["generate"])
    prompt = prompts_of({system: outputs}).get(system)
    name = f"{outputs.made.origin.get('model', 'model')} {'tuned, ' if adapter else ''}{how}"
    peak = max(float(m.made.measured.get("peak_gib") or 0) for m in (outputs, adapter) if m)
    return "| " + " | ".join(
        [
            name, scores.made.origin.get("recipe", ""), *cells, f"{row.protocol.dialogues} x {row.protocol.references_per_row} references",
            (prompt if re.fullmatch(r"[\w.-]+", prompt) else escape_markdown(quoted(prompt))) if prompt else "-",
            f"{adapter.made.seconds:.0f} s" if adapter else "-", f"{outputs.made.seconds:.0f} s", f"{peak:.1f} GiB" if peak else "-",
        ]
    ) + " |"  # fmt: skip
