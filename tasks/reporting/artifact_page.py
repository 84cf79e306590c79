"""The page of an artifact in the Prefect UI: its inputs as links, and the findings of its stage."""

import json
from collections.abc import Container, Iterator
from typing import Any

from artifacts.manifest import Manifest
from artifacts.text import one_line
from tasks.reporting.escaping import escape_markdown
from tasks.reporting.links import artifact_link, report_url

MAX_LENGTH = 800
"""Characters of a value that are shown; a longer one ends with an ellipsis."""
UNITS = {
    **dict.fromkeys(("train", "validation", "test", "in_train_and_test"), "dialogues"),
    **dict.fromkeys(("train_references", "validation_references", "test_references"), "per dialogue"),
    **dict.fromkeys(("train_rows", "micro_batch", "batch"), "rows"),
    **dict.fromkeys(("micro_tokens", "mean_tokens", "tokens"), "tokens"),
    "test_references_without_ascii": "references",
    "steps": "optimizer steps",
    "candidates": "per dialogue",
    "finished": "samples",
    "at_limit": "summaries",
    "halved": "times",
    "tokens_per_second": "tokens/s",
}
"""Name of a fact or measurement -> what its number counts."""
SUFFIX_UNITS = {"_seconds": "s", "_gib": "GiB"}
LABELS = {
    "test_references_without_ascii": "without ASCII letters or digits",
    "at_limit": "cut off at the token limit",
    "mean_tokens": "mean length",
    "halved": "batch size halved",
    "finished": "ended before the token limit",
    "headline": "F1 x 100",
    "intervals": "95 % interval",
    "in_train_and_test": "in both train and test",
    "peak_gib": "peak memory",
    "tokens_per_second": "speed",
    "verdict": "result",
    "head": "headline",
    "much": "effect",
    "others": "other comparisons",
    "trust": "basis",
    "tokens": "generated",
    "micro_batch": "largest micro-batch",
    "micro_tokens": "tokens of that micro-batch",
}
"""Name of a fact or measurement -> its label, if that is clearer than the name."""


def page(manifest: Manifest, known: Container[str]) -> str:
    """The page as Markdown; `known`: ids that have a page, to which it links."""
    m, report = manifest, report_url(manifest.id) if manifest.stage == "report" else None
    inputs = [
        f"| {escape_markdown(role)} | {artifact_link(ref.id) if ref.id in known else escape_markdown(ref.id)} |"
        for role, ref in m.inputs.items()
    ]
    results = [f"| {escape_markdown(name)} | {escape_markdown(value)} |" for name, value in [*origins(m), *findings(m)]]
    created = f"created {m.provenance.at[:16].replace('T', ' ')} UTC in {m.provenance.seconds:.1f} s"
    lines = [f"# {m.id}", ""]
    if report:
        lines += [f"**[Open the report]({report})**", ""]
    lines += [f"{m.rows:,} rows, {created}, in `{m.path}`. Details: `dialogsum show {m.id}`", ""]
    if inputs:
        lines += ["| made from | |", "|---|---|", *inputs, ""]
    if results:
        lines += ["| result | |", "|---|---|", *results, ""]
    return "\n".join(lines)


def heading(manifest: Manifest) -> str:
    """Stage, role and name of an artifact: `generate tuned smollm2-135m-instruct`."""
    name = manifest.path.split("/")[-1].rsplit("_", 1)[0]
    return " ".join(dict.fromkeys(filter(None, [manifest.stage, manifest.variant, name])))


def origins(manifest: Manifest) -> list[tuple[str, str]]:
    """Recipe, data and model of an artifact, as (name, value)."""
    return [(name, _text(name, value)) for name, value in manifest.provenance.origin.items() if value]


def findings(manifest: Manifest) -> list[tuple[str, str]]:
    """Facts and measurements of the stage as (label, value): nested values one by one, empty ones left out."""
    return [
        pair for name, value in (manifest.facts | manifest.provenance.measured).items() for pair in _rows(name, value)
    ]


def _rows(name: str, value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    label = f"{prefix}{LABELS.get(name) or _without_unit(name).replace('_', ' ')}"
    if value is None or value in ([], {}):
        return
    if isinstance(value, dict) and not all(map(_is_figure, value.values())):
        for key, each in value.items():
            yield from _rows(str(key), each, f"{label}, ")
    elif isinstance(value, dict):
        yield label, ", ".join(f"{key} {_text('', each)}" for key, each in value.items())
    elif isinstance(value, list) and all(isinstance(each, dict) and "name" in each for each in value):
        for each in value:
            yield f"{label}, {each['name']}", ": ".join(_text("", v) for k, v in each.items() if k != "name")
    else:
        yield label, _text(name, value)


def _text(name: str, value: Any) -> str:
    """A value, or a list of values, with the unit that its name implies."""
    if isinstance(value, list):
        between = " to " if len(value) == 2 and all(map(_is_number, value)) else "; "
        return one_line(between.join(_text(name, each) for each in value), MAX_LENGTH)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not _is_number(value):
        return one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), MAX_LENGTH)
    unit = UNITS.get(name) or next((unit for end, unit in SUFFIX_UNITS.items() if name.endswith(end)), "")
    return f"{value:,} {unit}".strip() if isinstance(value, int) else f"{value:,.2f} {unit}".strip()


def _without_unit(name: str) -> str:
    return next((name.removesuffix(end) for end in SUFFIX_UNITS if name.endswith(end)), name)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_figure(value: Any) -> bool:
    """A number, or the two ends of an interval."""
    return _is_number(value) or (isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)))
