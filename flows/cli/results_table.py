"""results: the table of results in Markdown, made from score artifacts alone."""

import re
from pathlib import Path

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from artifacts.manifest import Manifest
from artifacts.text import one_line
from flows.evaluation_history import overrides_by_recipe
from flows.labels import prompts_of
from tasks.manifest_views import PredictionsView, ScoresView
from tasks.metrics.score_table import ROUGE_TYPES, System
from tasks.metrics.scores import Scores
from tasks.reporting.escaping import escape_markdown, visible
from tasks.reporting.system_names import describe_decoding, quoted

BEGIN, END = "<!-- results: dialogsum results --readme BENCHMARKS.md -->", "<!-- end of results -->"
HEADER = (
    "| system | recipe | rouge1 | rouge2 | rougeL | dialogues | prompt | training | generation | peak memory |",
    "|---|---|---|---|---|---|---|---|---|---|",
)


def markdown_table(ids: list[str]) -> str:
    """One row for each system of each score artifact: of those in `ids`, or else of all evaluations.

    A base model that several evaluations share has one row. Scores are F1 x 100 under the headline protocol, with
    the 95 % interval in brackets. Seconds and peak memory are those of the run that made the artifact. RequestError if
    an id is not that of a score artifact, or if there are no evaluations.
    """
    store = Store.current()
    scores = [store.by_id(name) for name in ids] or [
        m for m in store.manifests("score") if m.variant is None and ScoresView(m).intervals
    ]
    if any(m.stage != "score" for m in scores):
        raise RequestError("results are made from score artifacts (score-…): `dialogsum show` lists them")
    if not scores:
        raise RequestError(f"no evaluations in {store.root} yet: `dialogsum run` makes one")
    lines = [*HEADER]
    methods = list(dict.fromkeys(ScoresView(m).protocol.method for m in scores))
    seen: set[tuple[str, str]] = set()
    for m in scores:
        for system in (System.BASE, System.TUNED):
            protocol = ScoresView(m).protocol
            predictions = ScoresView(m).predictions.get(system)
            if predictions and (predictions.digest, protocol.method) not in seen:
                seen.add((predictions.digest, protocol.method))
                lines.append(_row(store, m, system, protocol.tokenizer if len(methods) > 1 else ""))
    notes = [f"F1 x 100, {' or '.join(methods)}; interval: {ScoresView(scores[-1]).protocol.interval}."]
    origins = ((m.provenance.origin.get("recipe", ""), m.provenance.origin.get("overrides", "")) for m in scores)
    for recipe, overrides in overrides_by_recipe(origins):
        notes += ["", f"Recipe {visible(recipe)} with `{visible(overrides).replace('`', chr(39))}`."]
    return "\n".join([*lines, "", *notes, ""])


def replace_block(file: Path, begin: str, end: str, block: str) -> None:
    """Write `block` between two marks in a Markdown file. RequestError if it is unreadable or has no such marks."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{file} cannot be read: {one_line(error.strerror or error, 120)}") from error
    if begin not in text or end not in text:
        raise RequestError(f"{file}: the lines {begin!r} and {end!r} are missing, between which the block goes")
    head, tail = text.split(begin)[0], text.split(end)[1]
    file.write_text(f"{head}{begin}\n\n{block.rstrip()}\n\n{end}{tail}", encoding="utf-8")


def _row(store: Store, scores: Manifest, system: System, tokenizer: str) -> str:
    """tokenizer: shown if not empty, for a table whose rows were scored by different methods."""
    headline = Scores.load(store.payload(scores.path)).under_headline_protocol
    split = "" if headline.protocol.split == "test" else f" of the {headline.protocol.split} split"
    outputs = store.by_id(ScoresView(scores).predictions[system].id)
    adapter = store.by_id(name) if (name := PredictionsView(outputs).adapter_id) else None
    prompt = prompts_of({system: outputs}).get(system)
    if prompt and not re.fullmatch(r"[\w.-]+", prompt):
        prompt = escape_markdown(quoted(prompt))
    decoding = describe_decoding(PredictionsView(outputs).decoding)
    peak = max(float(m.provenance.measured.get("peak_gib") or 0) for m in (outputs, adapter) if m)
    by_type = (headline.systems[system][name] for name in ROUGE_TYPES[:3])
    cells = [
        f"{outputs.provenance.origin.get('model', 'model')} {'tuned, ' if adapter else ''}{decoding}",
        scores.provenance.origin.get("recipe", ""),
        *(f"{score.f1:.2f} ({score.interval[0]:.1f} to {score.interval[1]:.1f})" for score in by_type),
        f"{headline.protocol.dialogues} x {headline.protocol.references}{split}"
        + (f", tokenizer {tokenizer}" if tokenizer else ""),
        prompt or "-",
        f"{adapter.provenance.seconds:.0f} s" if adapter else "-",
        f"{outputs.provenance.seconds:.0f} s",
        f"{peak:.1f} GiB" if peak else "-",
    ]
    return f"| {' | '.join(cells)} |"
