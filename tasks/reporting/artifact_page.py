"""The page of an artifact in the Prefect UI: what it was made from, one click away, and what its stage found, in words."""

import json
from collections.abc import Container, Iterator
from typing import Any

from artifacts.errors import one_line
from artifacts.manifest import Manifest
from tasks.reporting.escaping import plain
from tasks.reporting.links import link, served

LONGEST = 800
"""Characters of a value that are shown; a longer one ends with an ellipsis."""
UNITS = {
    "train": "dialogues", "validation": "dialogues", "test": "dialogues", "train_references": "per dialogue",
    "validation_references": "per dialogue", "test_references": "per dialogue", "in_train_and_test": "dialogues",
    "steps": "optimizer steps", "train_rows": "rows", "micro_batch": "rows", "micro_tokens": "tokens", "batch": "rows",
    "mean_tokens": "tokens", "at_limit": "summaries", "tokens": "tokens", "halved": "times", "tokens_per_second": "tokens/s",
}  # fmt: skip
"""Finding -> what its number counts."""
SUFFIXES = {"_seconds": "s", "_gib": "GiB"}
"""End of a name -> the unit of its number."""
WORDS = {
    "at_limit": "cut at the token limit", "mean_tokens": "mean length", "halved": "batch halved", "headline": "F1 x 100",
    "intervals": "95 % interval", "in_train_and_test": "in both train and test", "peak_gib": "peak memory",
    "tokens_per_second": "speed", "head": "in one sentence", "much": "difference", "trust": "basis",
    "tokens": "generated", "micro_batch": "largest micro-batch", "micro_tokens": "tokens of that micro-batch",
}  # fmt: skip
"""Finding -> words that say more than its name."""


def page(manifest: Manifest, known: Container[str]) -> str:
    """The page as Markdown; `known`: ids that have a page, to which it links."""
    m, report = manifest, served(manifest.id) if manifest.stage == "report" else None
    made_from = [
        f"| {plain(role)} | {link(ref.id) if ref.id in known else plain(ref.id)} |" for role, ref in m.inputs.items()
    ]
    found = [f"| {plain(name)} | {plain(value)} |" for name, value in [*origins(m), *findings(m)]]
    return "\n".join([
        f"# {m.id}", "", *([f"**[Open the report]({report})**", ""] if report else []),
        f"{m.rows:,} rows, made {m.made.at[:16].replace('T', ' ')} UTC in {m.made.seconds:.1f} s, `{m.path}`; `dialogsum show {m.id}`",
        "", *(["| made from | |", "|---|---|", *made_from, ""] if made_from else []),
        *(["| found | |", "|---|---|", *found, ""] if found else []),
    ])  # fmt: skip


def heading(manifest: Manifest) -> str:
    """Stage, role and name of an artifact: `generate tuned smollm2-135m-instruct`."""
    name = manifest.path.split("/")[-1].rsplit("_", 1)[0]
    return " ".join(dict.fromkeys(filter(None, [manifest.stage, manifest.of, name])))


def origins(manifest: Manifest) -> list[tuple[str, str]]:
    """Recipe, data and model that an artifact was made by, as (name, value)."""
    return [(name, _text(name, value)) for name, value in manifest.made.origin.items() if value]


def findings(manifest: Manifest) -> list[tuple[str, str]]:
    """What the stage found and measured, as (name, value) in words: nested values one by one, absent ones left out."""
    return [pair for name, value in (manifest.facts | manifest.made.measured).items() for pair in _rows(name, value)]


def _rows(name: str, value: Any, within: str = "") -> Iterator[tuple[str, str]]:
    words = f"{within}{WORDS.get(name) or _stem(name).replace('_', ' ')}"
    if value is None or value in ([], {}):
        return
    if isinstance(value, dict) and not all(map(_is_figure, value.values())):
        for key, each in value.items():
            yield from _rows(str(key), each, f"{words}, ")
    elif isinstance(value, dict):
        yield words, ", ".join(f"{key} {_text('', each)}" for key, each in value.items())
    elif isinstance(value, list) and all(isinstance(each, dict) and "name" in each for each in value):
        for each in value:
            yield f"{words}, {each['name']}", ": ".join(_text("", v) for k, v in each.items() if k != "name")
    else:
        yield words, _text(name, value)


def _text(name: str, value: Any) -> str:
    """A value that holds no others but in a list, with the unit that its name stands for."""
    if isinstance(value, list):
        between = " to " if len(value) == 2 and all(map(_is_number, value)) else "; "
        return one_line(between.join(_text(name, each) for each in value), LONGEST)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not _is_number(value):
        return one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), LONGEST)
    unit = UNITS.get(name) or next((unit for end, unit in SUFFIXES.items() if name.endswith(end)), "")
    return f"{value:,} {unit}".strip() if isinstance(value, int) else f"{value:,.2f} {unit}".strip()


def _stem(name: str) -> str:
    return next((name.removesuffix(end) for end in SUFFIXES if name.endswith(end)), name)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_figure(value: Any) -> bool:
    """A number, or the two ends of an interval."""
    return _is_number(value) or (isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)))
