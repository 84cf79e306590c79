"""Licences of base models and training data, for the model card."""

from artifacts.artifact_store import Store
from artifacts.manifest import Manifest
from artifacts.record import Record
from tasks.config import DataConfig, ResolvedModel
from tasks.manifest_views import AdapterView, DatasetView, FormattedRowsView
from tasks.sources.resolve import resolve_data

DIALOGSUM = "cc-by-nc-sa-4.0"
LICENCES = {
    "gemma": "gemma",
    "llama-3.2": "llama3.2",
    "qwen3": "apache-2.0",
    "smollm2": "apache-2.0",
    "smollm3": "apache-2.0",
}
"""Beginning of a base model's name -> its licence."""
TERMS = {
    "gemma": "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms.",
    "llama-3.2": "Built with Llama. Llama 3.2 is licensed under the Llama 3.2 Community License, Copyright © Meta "
    "Platforms, Inc. All Rights Reserved. A model that is trained from it has a name that begins with Llama.",
}
"""Sentences that a licence requires, or that bind whoever passes a model on."""


def family_of(base: ResolvedModel) -> str | None:
    """The key in LICENCES of a base model."""
    return next((family for family in LICENCES if base.name.startswith(family)), None)


class TrainingData(Record):
    """What an adapter was trained on."""

    name: str
    """`knkarthick/dialogsum@1a2b3c4`, `sample`, or the name of a folder."""
    title: str
    terms: str
    licence: str | None = None
    """Set where the licence of the data also binds models that are trained on it."""
    language: str | None = None
    """ISO 639 code, where it is known."""


def training_data(store: Store, adapter: Manifest | None) -> TrainingData:
    """The source of an adapter's training data, and its terms."""
    try:
        rows = store.by_id(AdapterView(adapter).rows.id) if adapter else None
        dataset = store.by_id(FormattedRowsView(rows).dataset.id) if rows else None
    except Exception:  # removed by garbage collection
        dataset = None
    if dataset is None:
        return TrainingData(name="unknown", title="unknown data", terms="the terms of whoever owns it")
    name = dataset.provenance.origin.get("data", "unknown")
    revision = DatasetView(dataset).revision
    if revision == resolve_data(DataConfig(source="sample")).revision:
        terms = "dialogues and summaries that were written for that project, under its licence"
        return TrainingData(name=name, title="the sample of dialogsum-pipeline", terms=terms, language="en")
    if "dialogsum" in name.lower():
        terms = "CC BY-NC-SA 4.0, which allows no commercial use"
        return TrainingData(name=name, title=f"DialogSum ({name})", terms=terms, licence=DIALOGSUM, language="en")
    return TrainingData(name=name, title=name, terms="the terms of whoever owns it")


def licences(base: str, family: str | None, data: TrainingData) -> str:
    """The card's list of licences; `base` is the base model's name, `family` its key in LICENCES."""
    lines = [f"- Base model {base}: {LICENCES[family] if family else 'the terms of whoever published it'}."]
    if family in TERMS:
        lines.append(f"- {TERMS[family]}")
    lines.append(f"- Training data, {data.title}: {data.terms}.")
    return "\n".join(lines)
