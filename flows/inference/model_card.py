"""The model card of an exported adapter: metadata for Hugging Face, how to use it, limits, scores and licences."""

import json
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from artifacts.artifact_store import Store
from artifacts.manifest import Manifest
from artifacts.record import Record
from flows.inference.card_scores import decoding_note, newest_scores, results, score_table
from flows.inference.licences import LICENCES, TERMS, TrainingData, family_of, licences, training_data
from tasks.config import GenerateConfig, ResolvedModel
from tasks.manifest_views import AdapterView, PredictionsView
from tasks.models.base_comparison import OtherBase
from tasks.sources.hub import is_commit
from tasks.summarization.request import SelectedModel

USE = """\
```python
{imports}
folder = "…"  # this repository
model, tokenizer = {model_class}.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
ids = tokenizer.apply_chat_template(
    [{{"role": "user", "content": "#Person1#: Are we late?\\n#Person2#: The train was."}}],
    add_generation_prompt=True, return_tensors="pt", return_dict=True)
output = model.generate(**ids, generation_config=GenerationConfig.from_pretrained(folder))
print(tokenizer.decode(output[0, ids["input_ids"].shape[1]:], skip_special_tokens=True))
```"""
TEMPLATE = """\
The chat template expects one message of the user, the dialogue, as text or as parts of type `text`; it refuses a system
message and earlier turns, which the model was not trained with. It writes all special tokens itself, the first one
included, and the tokenizer adds none: a text made with `tokenize=False` has the same token ids, with
`add_special_tokens=False` and without."""
WORDING = """\
The adapter with plain peft, the merged model and `dialogsum summarize` may word a summary differently.
{decoding}The merged model is rounded to bfloat16. Plain peft keeps the base weights and computes the adapter
beside them. `dialogsum summarize` merges the adapter into the weights, in float32 or, on a GPU, in half precision.
Where two tokens are almost equally probable, such rounding decides which one is generated, and the rest of the summary
follows from it."""
ROUNDED_BASE = """\
The adapter belongs to base weights that are rounded to NF4; on others its summaries can be worse. With
`quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")`, of transformers, peft loads the
base model in NF4. llama.cpp cannot: `dialogsum export --gguf` writes a complete model from the rounded weights."""
LIMITS = """\
- Intended for dialogues between a few people, in the language and form of the training data (DialogSum: English, with
  tags such as `#Person1#:`). Other languages, other tags and meetings are untested.
- A summary can leave out what matters and state what nobody said. Do not base decisions about people on it.
- The scores hold only for dialogues like those of the test set, under the protocol below them."""


class CardForm(Record):
    """What the card says about the form of the exported weights."""

    library: str
    """The library that loads them, as the hub names it."""
    merged: bool
    """Whether the folder has a complete model, instead of an adapter."""
    use: str
    """How to use the folder, in Markdown."""
    precision: str = ""
    """What was done to the weights of a complete model: `rounded to bfloat16`."""
    scores: str | None = None
    """The scores of these weights themselves, if they were measured."""


def card(selected: SelectedModel, adapter: Manifest | None, other: OtherBase | None, form: CardForm) -> ModelCard:
    """The card; `other` is the base model that --base names, or None without --base."""
    merged = form.merged
    store, base = Store.current(), selected.spec.model
    family = family_of(base)
    data = training_data(store, adapter)
    base_licence = LICENCES[family] if family else "other"
    licence = base_licence if family in TERMS else data.licence or base_licence
    scores, scored_generation = newest_scores(store, adapter, selected.spec.template)
    scores_apply = merged or other is None or other.equal
    name = selected.name.split(" ")[-1]
    title = _title(base, data, name if adapter is None else None, merged)
    on_hub = other.name if other and other.on_hub else base.location if is_commit(base.revision) else None
    metadata = ModelCardData(
        language=data.language,
        license=licence,
        license_name="see-below" if licence == "other" else None,
        library_name=form.library,
        base_model=on_hub,
        pipeline_tag="text-generation",
        datasets=[data.name.split("@")[0]] if "/" in data.name else None,
        tags=[
            "summarization",
            "dialogue",
            *([] if merged else ["lora"]),
            *(["gguf"] if form.library == "gguf" else []),
        ],
        model_name=title,
        eval_results=results(scores, data.name) if scores and scores_apply else None,
    )
    origin = adapter.provenance.origin.get("recipe", "") if adapter else ""
    training = json.dumps(AdapterView(adapter).train_settings, sort_keys=True) if adapter else "unknown"
    text = "\n\n".join(
        [
            f"---\n{metadata.to_yaml()}\n---",
            f"# {title}",
            f"Summarizes dialogues with {_display(base)} and a LoRA adapter ({name}){', merged' if merged else ''}.",
            f"The adapter was trained on the base model {described(base)}.{_base_note(on_hub, other, merged)}",
            "## Use",
            "The dialogue is the user's message; the chat template adds the prompt that the adapter was trained with.",
            form.use,
            *_rounding_note(selected.spec.generate, merged),
            "Prompt:",
            f"```\n{selected.spec.template}\n```",
            WORDING.format(decoding=_candidates_note(selected.spec.generate)),
            "## Intended use and limits",
            LIMITS,
            "## Scores",
            score_table(scores),
            *_measured_on(base, scored_generation, other, form),
            *decoding_note(selected.spec.generate, scored_generation, form.library != "gguf", merged),
            "## Training",
            f"Recipe: {origin or 'unknown'}. Data: {data.title}.",
            f"```json\n{training}\n```",
            "## Licences",
            licences(_display(base), family, data),
        ]
    )
    return ModelCard(text + "\n")


def python_usage(library: str, model_class: str) -> str:
    """The code that loads the folder by a class of peft or transformers, and what its chat template expects."""
    classes = "AutoTokenizer, GenerationConfig"
    imports = (
        f"from transformers import {model_class}, {classes}"
        if library == "transformers"
        else f"from {library} import {model_class}\nfrom transformers import {classes}"
    )
    return USE.format(imports=imports, model_class=model_class) + "\n\n" + TEMPLATE


def _base_note(on_hub: str | None, other: OtherBase | None, merged: bool) -> str:
    """A sentence if the metadata names no base model, or another one than the adapter was trained on."""
    if on_hub is None:
        return " It has no id on the hub, so the metadata of this card names no base model."
    return f" This folder loads {other.name} instead." if other and not other.equal and not merged else ""


def described(model: ResolvedModel) -> str:
    """Source and revision of a base model's weights, without paths of this machine."""
    if model.gguf:
        return f"{model.gguf} of the Python package {Path(model.location).name}, dequantized"
    if is_commit(model.revision):
        return f"{model.location} at commit {model.revision[:8]}"
    return f"{model.origin}, files with the sha256 {model.revision[:8]}…"


def scores_hold(base: ResolvedModel, other: OtherBase) -> str:
    """A sentence on whether an adapter's scores on its own base model also hold on the other one."""
    if other.equal:
        return f"{other.name} has the weights of {described(base)}, on which the adapter was trained and scored."
    why = (
        "whose weights may differ; they were not available to compare"
        if other.difference is None
        else f"whose weights differ by at most {100 * other.difference:.1f} % of a matrix"
    )
    return f"The adapter was trained and scored on {described(base)}. It was not scored on {other.name}, {why}."


def _display(model: ResolvedModel) -> str:
    """`SmolLM2-135M-Instruct`."""
    return model.origin.rstrip("/").split("/")[-1].removesuffix(".gguf").split(".Q")[0]


def _title(base: ResolvedModel, data: TrainingData, external: str | None, merged: bool) -> str:
    """Title of the card: base model and data, or the name of an adapter from outside the store."""
    source = f"the adapter {external}" if external else f"trained on {data.title}"
    if merged:
        return f"{_display(base)} {'with ' if external else ''}{source}"
    return f"LoRA adapter of {_display(base)}, {source.removeprefix('the adapter ')}"


def _measured_on(
    base: ResolvedModel, generation: Manifest | None, other: OtherBase | None, form: CardForm
) -> list[str]:
    """The weights, precision and device that the scores were measured with."""
    if generation is None:
        return [f"The weights of this folder, {form.precision}, score {form.scores}."] if form.scores else []
    facts = generation.provenance.measured
    where = ""
    if "dtype" in facts and "device" in facts:
        where = f", in {facts['dtype']} on {str(facts['device']).split(',')[0]}"
    weights = ", rounded to NF4," if PredictionsView(generation).quantization == "nf4" else ","
    sentences = [f"Measured on {described(base)}{weights} with the adapter merged in{where}."]
    if form.merged:
        scored = f"and scores {form.scores}" if form.scores else "and was not scored itself"
        sentences.append(f"This model has those weights, {form.precision}, {scored}.")
    elif other is not None:
        sentences.append(scores_hold(base, other))
    return [" ".join(sentences)]


def _rounding_note(settings: GenerateConfig, merged: bool) -> list[str]:
    """What to do if an adapter alone is exported, which belongs to quantized base weights."""
    return [ROUNDED_BASE] if settings.quantization == "nf4" and not merged else []


def _candidates_note(settings: GenerateConfig) -> str:
    """A sentence if `dialogsum summarize` chooses among candidates, which transformers cannot."""
    if settings.candidates == 1:
        return ""
    return f"`dialogsum summarize` chooses among {settings.candidates} samples; the other two decode greedily. "
