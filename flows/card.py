"""The model card of an exported adapter: metadata as Hugging Face reads it, and what a stranger has to know."""

import json
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from artifacts.manifest import Manifest
from artifacts.store import Store
from flows.asking import Asked
from tasks.config import GenerateConfig
from tasks.verdict import decoding_in_words

DIALOGSUM = "cc-by-nc-sa-4.0"
LICENCES = {"gemma": "gemma", "smollm2": "apache-2.0"}
"""Of base models, by the beginning of their name."""
TERMS = {"gemma": "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms."}
USE = """\
```python
from transformers import {classes}
{loading}
ids = tokenizer.apply_chat_template(
    [{{"role": "user", "content": "#Person1#: Are we late?\\n#Person2#: The train was."}}],
    add_generation_prompt=True, return_tensors="pt", return_dict=True)
said = model.generate(**ids, generation_config=GenerationConfig.from_pretrained(folder))
print(tokenizer.decode(said[0, ids["input_ids"].shape[1]:], skip_special_tokens=True))
```"""
LIMITS = """\
- English dialogues of two or a few people with tags such as `#Person1#:`; other tags, languages and meetings are untested.
- It can leave out what matters, and say what nobody said. Do not decide about people by its summaries.
- The scores hold for dialogues like those it was scored on, under the protocol named beside them, and for nothing else."""


def card(asked: Asked, adapter: Manifest | None, base: str, merged: bool, name: str) -> ModelCard:
    """The card; `base` is the base model's name for others, `name` that of the model."""
    store = Store.current()
    model = asked.spec.model.name
    family = next((family for family in LICENCES if model.startswith(family)), None)
    dataset = _dataset(store, adapter)
    dialogsum = "dialogsum" in dataset.lower()
    own = LICENCES[family] if family else "other"
    licence = own if family == "gemma" or not dialogsum else DIALOGSUM
    scores, judged = _scores(store, adapter, asked.spec.template)
    data = ModelCardData(
        language="en", license=licence, license_name="see-below" if licence == "other" else None,
        library_name="transformers" if merged else "peft", base_model=base, pipeline_tag="text-generation",
        datasets=[dataset.split("@")[0]] if "/" in dataset else None,
        tags=["summarization", "dialogue", *([] if merged else ["lora"])], model_name=name,
        eval_results=_results(scores, dataset) if scores else None,
    )  # fmt: skip
    loading = (
        "model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)"
        if merged else
        "from peft import AutoPeftModelForCausalLM\nmodel, tokenizer = AutoPeftModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)"
    )  # fmt: skip
    classes = (
        "AutoTokenizer, GenerationConfig" if not merged else "AutoModelForCausalLM, AutoTokenizer, GenerationConfig"
    )
    origin = adapter.made.origin.get("recipe", "") if adapter else ""
    training = json.dumps(adapter.identity["config"]["train"], sort_keys=True) if adapter else "not known here"
    text = "\n\n".join([
        f"---\n{data.to_yaml()}\n---", f"# {name}", f"Summaries of dialogues, by {model}{' and a LoRA adapter' if not merged else ', a LoRA adapter merged in'} ({asked.name.split(' ')[-1]}).",
        "## Use", "The dialogue is the user's message; the chat template adds the prompt that the adapter was trained under.",
        USE.format(classes=classes, loading=f'folder = "…"  # this repository\n{loading}'), "Prompt:", f"```\n{asked.spec.template}\n```",
        "## Intended use and limits", LIMITS, "## Scores", _score_table(scores), *_decoding(asked.spec.generate, judged), "## Training", f"Recipe {origin or 'not known here'}, data: {dataset}.", f"```json\n{training}\n```",
        "## Licences", _licences(model, family, dialogsum, dataset),
    ])  # fmt: skip
    return ModelCard(text + "\n")


def _dataset(store: Store, adapter: Manifest | None) -> str:
    """Where the adapter's data came from."""
    try:
        rows = store.by_id(adapter.inputs["rows"].id) if adapter else None
        return store.by_id(rows.inputs["dataset"].id).made.origin.get("data", "unknown") if rows else "unknown"
    except Exception:  # swept away meanwhile
        return "unknown"


def _scores(store: Store, adapter: Manifest | None, template: str) -> tuple[Manifest | None, Manifest | None]:
    """The newest evaluation of the adapter under this prompt, and the generation that it judges."""
    if adapter is None:
        return None, None
    asked = {m.id for m in store.manifests("format") if m.identity["config"].get("template") == template}
    outputs = {m.id: m for m in store.manifests("generate") if "adapter" in m.inputs and m.inputs["adapter"].id == adapter.id and m.inputs["rows"].id in asked}  # fmt: skip
    found = [m for m in store.manifests("score") if "tuned" in m.inputs and m.inputs["tuned"].id in outputs and "intervals" in m.facts]  # fmt: skip
    return (found[-1], outputs[found[-1].inputs["tuned"].id]) if found else (None, None)


def _decoding(here: GenerateConfig, judged: Manifest | None) -> list[str]:
    """A sentence where what is scored was decoded otherwise than the generation settings of the folder ask for."""
    if judged is None:
        return []
    then = decoding_in_words(judged.identity["config"]["generate"])
    now = decoding_in_words({"beams": here.beams, "candidates": 1})  # transformers has no choice among samples
    return [] if then == now else [f"Decoded for these scores: {then}. The generation settings here ask for {now} decoding, of which they say nothing."]  # fmt: skip


def _results(scores: Manifest, dataset: str) -> list[EvalResult]:
    protocol = scores.facts["protocol"]
    return [
        EvalResult(
            task_type="summarization", dataset_type=dataset.split("@")[0], dataset_name=dataset, dataset_split="test",
            metric_type="rouge", metric_name=f"{kind} F1 x 100, {protocol['name']}", metric_value=round(value, 2),
        )
        for kind, value in scores.facts["headline"]["tuned"].items()
    ]  # fmt: skip


def _score_table(scores: Manifest | None) -> str:
    if scores is None:
        return "None: it was not evaluated where it was exported."
    facts: dict[str, Any] = scores.facts
    protocol, kinds = facts["protocol"], list(facts["headline"]["base"])
    lines = ["| | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    for system in ("base", "tuned"):
        cells = [f"{facts['headline'][system][k]:.2f} ({facts['intervals'][system][k][0]:.1f} to {facts['intervals'][system][k][1]:.1f})" for k in kinds]  # fmt: skip
        lines.append(f"| {system} | " + " | ".join(cells) + " |")
    said = f"F1 x 100, {protocol['name']}, {protocol['package']}; {protocol['rows']} dialogues x {protocol['references_per_row']} references; interval: {protocol['interval']}."
    return "\n".join([*lines, "", said])


def _licences(model: str, family: str | None, dialogsum: bool, dataset: str) -> str:
    lines = [f"- Base model {model}: {LICENCES[family] if family else 'the terms of whoever published it'}."]
    if family in TERMS:
        lines.append(f"- {TERMS[family]}")
    lines.append(
        "- Training data DialogSum: CC BY-NC-SA 4.0, which allows no commercial use." if dialogsum else
        f"- Training data {dataset}: the terms of whoever owns it."
    )  # fmt: skip
    return "\n".join(lines)
