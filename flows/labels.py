"""Display names of prompts, overrides, and the systems of an evaluation."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from artifacts.manifest import Manifest
from artifacts.reasons import excerpt, excerpts
from artifacts.record import Record
from flows.recipe import PROMPTS, Recipe
from tasks.manifest_views import FormattedRowsView, PredictionsView, ScoresView
from tasks.metrics.score_table import System
from tasks.models.prompt_template import load_prompt
from tasks.reporting.system_names import system_labels

FIRST_WORDS = 24
"""Characters of a prompt that has no name."""
NO_RESULT = ("runtime", "report", "track")
"""Sections that change no figure."""


class Overrides(Record):
    """Settings that override the recipe's."""

    station: tuple[str, ...] = ()
    """As the Prefect variable has them, for every run of a deployment."""
    own: tuple[str, ...] = ()
    """As they were passed to the run."""
    effective: tuple[str, ...] = ()
    """The overrides that can change a figure and differ from the recipe, without the evaluation prompt."""

    def in_short(self, most: int = 120) -> str:
        """The effective ones in about `most` characters: `train.epochs=3, generate.limit=8 and 2 more`."""
        shown = [override if len(override) <= most else f"{override[: most - 1]}…" for override in self.effective]
        for count in range(len(shown), 0, -1):
            left = len(shown) - count
            text = ", ".join(shown[:count]) + (f" and {left} more" if left else "")
            if len(text) <= most or count == 1:
                return text
        return ""


def overrides_of(plain: Recipe | None, recipe: Recipe, station: Sequence[str], own: Sequence[str]) -> Overrides:
    """plain: the recipe without overrides, None where it is none without them."""
    defaults, after = leaves(plain.model_dump(mode="json") if plain else {}), leaves(recipe.model_dump(mode="json"))
    changed = {key for key in after if key not in defaults or defaults[key] != after[key]}
    last = {override.partition("=")[0].strip(): " ".join(override.split()) for override in (*station, *own)}
    effective = [
        override
        for key, override in last.items()
        if key.split(".")[0] not in NO_RESULT
        and key != "evaluation.prompt"
        and any(leaf == key or leaf.startswith(f"{key}.") for leaf in changed)
    ]
    return Overrides(station=tuple(station), own=tuple(own), effective=tuple(effective))


def leaves(value: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted name -> value of every setting in nested sections."""
    if not isinstance(value, dict):
        return {prefix: value}
    inner = [leaves(each, f"{prefix}.{key}" if prefix else key) for key, each in value.items()]
    return {name: leaf for part in inner for name, leaf in part.items()}


def prompt_label(template: str) -> str:
    """The name of a prompt of the library, or the first words of a text that is none."""
    for file in sorted(PROMPTS.glob("*.txt")):
        with suppress(RequestError):  # a file that is no prompt names none
            if load_prompt(file.stem, PROMPTS) == template:
                return file.stem
    return excerpt(template.split(), 0, FIRST_WORDS)


def prompt_labels(templates: Mapping[str, str]) -> dict[str, str]:
    """System -> label of its template; two templates that begin alike show where they differ."""
    labels = {system: prompt_label(template) for system, template in templates.items()}
    first = templates.get(System.TUNED, "")
    for system, template in templates.items():
        if template != first and labels[system] == labels.get(System.TUNED):
            mine, labels[system] = excerpts(first, template, FIRST_WORDS)
            labels |= {other: mine for other in templates if templates[other] == first}
    return labels


def outputs_of(scores: Manifest) -> dict[str, Manifest]:
    """System -> manifest of its predictions, for those of a score artifact that are still in the store."""
    inputs = {system: ref.id for system, ref in ScoresView(scores).predictions.items()}
    manifests = {m.id: m for m in Store.current().manifests("generate", set(inputs.values()))}
    return {system: manifests[name] for system, name in inputs.items() if name in manifests}


def prompts_of(outputs: Mapping[str, Manifest]) -> dict[str, str]:
    """System -> label of its prompt, as far as the prompts are still in the store."""
    rows = {system: PredictionsView(m).rows.id for system, m in outputs.items()}
    manifests = {m.id: m for m in Store.current().manifests("format", set(rows.values()))}
    return prompt_labels({s: FormattedRowsView(manifests[i]).template for s, i in rows.items() if i in manifests})


def labels_of(scores: Manifest) -> dict[str, str]:
    """System -> its name in a table."""
    outputs = outputs_of(scores)
    return system_labels(outputs, prompts_of(outputs))
