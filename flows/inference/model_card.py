"""The model card of an exported adapter: metadata for Hugging Face, how to use it, limits, scores and licences."""

import json
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from artifacts.artifact_store import Store
from artifacts.manifest import Manifest
from flows.inference.licences import LICENCES, TrainingData, licences, training_data
from tasks.config import GenerateConfig, ResolvedModel
from tasks.manifest_views import AdapterView, FormattedRowsView, PredictionsView, ScoresView
from tasks.metrics.score_table import System
from tasks.models.base_comparison import OtherBase
from tasks.reporting.system_names import describe_decoding
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
LIMITS = """\
- Intended for dialogues between a few people, in the language and form of the training data (DialogSum: English, with
  tags such as `#Person1#:`). Other languages, other tags and meetings are untested.
- A summary can leave out what matters and state what nobody said. Do not base decisions about people on it.
- The scores hold only for dialogues like those of the test set, under the protocol below them."""


def card(selected: SelectedModel, adapter: Manifest | None, other: OtherBase | None, merged: bool) -> ModelCard:
    """The card; `other` is the base model that --base names, or None without --base."""
    store, base = Store.current(), selected.spec.model
    family = next((family for family in LICENCES if base.name.startswith(family)), None)
    data = training_data(store, adapter)
    base_licence = LICENCES[family] if family else "other"
    licence = base_licence if family == "gemma" else data.licence or base_licence
    scores, scored_generation = _scores(store, adapter, selected.spec.template)
    scores_apply = merged or other is None or other.equal
    name = selected.name.split(" ")[-1]
    title = _title(base, data, name if adapter is None else None, merged)
    on_hub = other.name if other and other.on_hub else base.location if is_commit(base.revision) else None
    metadata = ModelCardData(
        language=data.language,
        license=licence,
        license_name="see-below" if licence == "other" else None,
        library_name="transformers" if merged else "peft",
        base_model=on_hub,
        pipeline_tag="text-generation",
        datasets=[data.name.split("@")[0]] if "/" in data.name else None,
        tags=["summarization", "dialogue", *([] if merged else ["lora"])],
        model_name=title,
        eval_results=_results(scores, data.name) if scores and scores_apply else None,
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
            _usage(merged),
            TEMPLATE,
            "Prompt:",
            f"```\n{selected.spec.template}\n```",
            WORDING.format(decoding=_candidates_note(selected.spec.generate)),
            "## Intended use and limits",
            LIMITS,
            "## Scores",
            _score_table(scores),
            *_measured_on(base, scored_generation, other, merged),
            *_decoding_note(selected.spec.generate, scored_generation),
            "## Training",
            f"Recipe: {origin or 'unknown'}. Data: {data.title}.",
            f"```json\n{training}\n```",
            "## Licences",
            licences(_display(base), family, data),
        ]
    )
    return ModelCard(text + "\n")


def _usage(merged: bool) -> str:
    """The code block that loads the folder and summarizes a dialogue."""
    classes = "AutoTokenizer, GenerationConfig"
    model_class = "AutoModelForCausalLM" if merged else "AutoPeftModelForCausalLM"
    return USE.format(
        imports=f"from transformers import {model_class}, {classes}"
        if merged
        else f"from peft import {model_class}\nfrom transformers import {classes}",
        model_class=model_class,
    )


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


def _scores(store: Store, adapter: Manifest | None, template: str) -> tuple[Manifest | None, Manifest | None]:
    """The newest scores of the adapter with this prompt, and the generation that they score."""
    if adapter is None:
        return None, None
    prompt_ids = {m.id for m in store.manifests("format") if FormattedRowsView(m).template == template}
    of_adapter = (view for view in map(PredictionsView, store.manifests("generate")) if view.adapter_id == adapter.id)
    outputs = {view.id: view.manifest for view in of_adapter if view.rows.id in prompt_ids}
    evaluations = [
        (view.manifest, outputs[tuned.id])
        for view in map(ScoresView, store.manifests("score"))
        if (tuned := view.predictions.get(System.TUNED)) and tuned.id in outputs and view.intervals
    ]
    return evaluations[-1] if evaluations else (None, None)


def _measured_on(base: ResolvedModel, generation: Manifest | None, other: OtherBase | None, merged: bool) -> list[str]:
    """The weights, precision and device that the scores were measured with."""
    if generation is None:
        return []
    facts = generation.provenance.measured
    where = ""
    if "dtype" in facts and "device" in facts:
        where = f", in {facts['dtype']} on {str(facts['device']).split(',')[0]}"
    sentences = [f"Measured on {described(base)}, with the adapter merged in{where}."]
    if merged:
        sentences.append("This model has those weights, rounded to bfloat16, and was not scored itself.")
    elif other is not None:
        sentences.append(scores_hold(base, other))
    return [" ".join(sentences)]


def _candidates_note(settings: GenerateConfig) -> str:
    """A sentence if `dialogsum summarize` chooses among candidates, which transformers cannot."""
    if settings.candidates == 1:
        return ""
    return f"`dialogsum summarize` chooses among {settings.candidates} samples; the other two decode greedily. "


def _decoding_note(settings: GenerateConfig, generation: Manifest | None) -> list[str]:
    """A sentence if the scored summaries were decoded differently from the folder's generation settings."""
    if generation is None:
        return []
    scored = describe_decoding(PredictionsView(generation).decoding)
    exported = describe_decoding({"beams": settings.beams, "candidates": 1})  # transformers cannot choose candidates
    if scored == exported:
        return []
    return [
        f"Decoding of the scored summaries: {scored}. "
        f"The generation settings of this folder are not scored: {exported}."
    ]


def _results(scores: Manifest, dataset: str) -> list[EvalResult]:
    """The scores as the hub's metadata of evaluations."""
    protocol = ScoresView(scores).protocol
    return [
        EvalResult(
            task_type="summarization",
            dataset_type=dataset.split("@")[0],
            dataset_name=dataset,
            dataset_split="test",
            metric_type="rouge",
            metric_name=f"{kind} F1 x 100, {protocol.name}",
            metric_value=round(value, 2),
        )
        for kind, value in ScoresView(scores).headline[System.TUNED].items()
    ]


def _score_table(scores: Manifest | None) -> str:
    if scores is None:
        return "None: the store that exported this adapter has no evaluation of it with this prompt."
    view = ScoresView(scores)
    protocol, kinds = view.protocol, list(view.headline[System.BASE])
    lines = ["| | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    for system in (System.BASE, System.TUNED):
        cells = [
            f"{view.headline[system][kind]:.2f} ({low:.1f} to {high:.1f})"
            for kind, (low, high) in zip(kinds, (view.intervals[system][kind] for kind in kinds), strict=True)
        ]
        lines.append(f"| {system} | " + " | ".join(cells) + " |")
    sentence = (
        f"F1 x 100, {protocol.method}; {protocol.rows} dialogues x {protocol.references}; "
        f"interval: {protocol.interval}."
    )
    return "\n".join([*lines, "", sentence])
