"""The model card of an exported adapter: metadata as Hugging Face reads it, and what a stranger has to know."""

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
from transformers import {classes}
{loading}
ids = tokenizer.apply_chat_template(
    [{{"role": "user", "content": "#Person1#: Are we late?\\n#Person2#: The train was."}}],
    add_generation_prompt=True, return_tensors="pt", return_dict=True)
said = model.generate(**ids, generation_config=GenerationConfig.from_pretrained(folder))
print(tokenizer.decode(said[0, ids["input_ids"].shape[1]:], skip_special_tokens=True))
```"""
WORDING = """\
The adapter with plain peft, the merged model and `dialogsum summarize` may word the summary of one dialogue differently.
{decoding}The merged model is rounded to bfloat16; plain peft leaves the base model as it is and adds the adapter to its
products; `dialogsum summarize` adds the adapter to the weights in float32, on a GPU in half precision. Where two words are
about equally probable, such a rounding decides, and the words after it follow."""
LIMITS = """\
- English dialogues of two or a few people with tags such as `#Person1#:`; other tags, languages and meetings are untested.
- It can leave out what matters, and say what nobody said. Do not decide about people by its summaries.
- The scores hold for dialogues like those it was scored on, under the protocol named beside them, and for nothing else."""


def card(selected: SelectedModel, adapter: Manifest | None, other: OtherBase | None, merged: bool) -> ModelCard:
    """The card; `other` is the base model that --base names, if it names one."""
    store, base = Store.current(), selected.spec.model
    family = next((family for family in LICENCES if base.name.startswith(family)), None)
    data = training_data(store, adapter)
    own = LICENCES[family] if family else "other"
    licence = own if family == "gemma" else data.licence or own
    scores, judged = _scores(store, adapter, selected.spec.template)
    measured_here = merged or other is None or other.equal
    name = selected.name.split(" ")[-1]
    title = _title(base, data, name if adapter is None else None, merged)
    on_hub = other.name if other and other.on_hub else base.location if is_commit(base.revision) else None
    metadata = ModelCardData(
        language="en",
        license=licence,
        license_name="see-below" if licence == "other" else None,
        library_name="transformers" if merged else "peft",
        base_model=on_hub,
        pipeline_tag="text-generation",
        datasets=[data.name.split("@")[0]] if "/" in data.name else None,
        tags=["summarization", "dialogue", *([] if merged else ["lora"])],
        model_name=title,
        eval_results=_results(scores, data.name) if scores and measured_here else None,
    )
    loading = (
        "model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)"
        if merged
        else "from peft import AutoPeftModelForCausalLM\nmodel, tokenizer = AutoPeftModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)"
    )
    classes = (
        "AutoTokenizer, GenerationConfig" if not merged else "AutoModelForCausalLM, AutoTokenizer, GenerationConfig"
    )
    origin = adapter.provenance.origin.get("recipe", "") if adapter else ""
    training = json.dumps(AdapterView(adapter).train_settings, sort_keys=True) if adapter else "not known here"
    text = "\n\n".join(
        [
            f"---\n{metadata.to_yaml()}\n---",
            f"# {title}",
            f"Summaries of dialogues, by {_display(base)}{', with a LoRA adapter merged in' if merged else ' and a LoRA adapter'} ({name}).",
            f"Trained on the base model {described(base)}.{_loaded(on_hub, other, merged)}",
            "## Use",
            "The dialogue is the user's message; the chat template adds the prompt that the adapter was trained under.",
            USE.format(classes=classes, loading=f'folder = "…"  # this repository\n{loading}'),
            "Prompt:",
            f"```\n{selected.spec.template}\n```",
            WORDING.format(decoding=_choice(selected.spec.generate)),
            "## Intended use and limits",
            LIMITS,
            "## Scores",
            _score_table(scores),
            *_measured_on(base, judged, other, merged),
            *_decoding(selected.spec.generate, judged),
            "## Training",
            f"Recipe {origin or 'not known here'}, data: {data.title}.",
            f"```json\n{training}\n```",
            "## Licences",
            licences(_display(base), family, data),
        ]
    )
    return ModelCard(text + "\n")


def _loaded(on_hub: str | None, other: OtherBase | None, merged: bool) -> str:
    """Where the base model of the metadata is not plainly the one that the adapter was trained on."""
    if on_hub is None:
        return " It has no id on the hub, so the metadata of this card name none."
    return f" This folder loads {other.name} instead." if other and not other.equal and not merged else ""


def described(model: ResolvedModel) -> str:
    """Which weights a base model has, for people: without a path of this machine."""
    if model.gguf:
        return f"{model.gguf} of the Python package {Path(model.location).name}, dequantized"
    if is_commit(model.revision):
        return f"{model.location} at commit {model.revision[:8]}"
    return f"{model.origin}, files with the sha256 {model.revision[:8]}…"


def scores_hold(base: ResolvedModel, other: OtherBase) -> str:
    """Whether scores of an adapter on its base model are scores on the other one."""
    if other.equal:
        return f"{other.name} has the weights of {described(base)}, on which the adapter was trained and scored."
    why = (
        "whose weights were not at hand to compare and may differ"
        if other.difference is None
        else f"whose weights differ, at most by {100 * other.difference:.1f} % of a matrix"
    )
    return f"The adapter was trained and scored on {described(base)}. It was not scored on {other.name}, {why}."


def _display(model: ResolvedModel) -> str:
    """`SmolLM2-135M-Instruct`."""
    return model.origin.rstrip("/").split("/")[-1].removesuffix(".gguf").split(".Q")[0]


def _title(base: ResolvedModel, data: TrainingData, external: str | None, merged: bool) -> str:
    """Of the base model and the data; of an adapter from elsewhere its name."""
    source = f"the adapter {external}" if external else f"trained on {data.title}"
    if merged:
        return f"{_display(base)} {'with ' if external else ''}{source}"
    return f"LoRA adapter of {_display(base)}, {source.removeprefix('the adapter ')}"


def _scores(store: Store, adapter: Manifest | None, template: str) -> tuple[Manifest | None, Manifest | None]:
    """The newest evaluation of the adapter under this prompt, and the generation that it judges."""
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


def _measured_on(base: ResolvedModel, judged: Manifest | None, other: OtherBase | None, merged: bool) -> list[str]:
    """Which weights the scores belong to."""
    if judged is None:
        return []
    how = judged.provenance.measured
    where = f", in {how['dtype']} on {str(how['device']).split(',')[0]}" if "dtype" in how and "device" in how else ""
    sentences = [f"Measured on {described(base)}, with the adapter merged in{where}."]
    if merged:
        sentences.append("This model has those weights, rounded to bfloat16, and was not scored itself.")
    elif other is not None:
        sentences.append(scores_hold(base, other))
    return [" ".join(sentences)]


def _choice(here: GenerateConfig) -> str:
    """What `dialogsum summarize` does beyond the generation settings of the folder."""
    if here.candidates == 1:
        return ""
    return f"`dialogsum summarize` chooses among {here.candidates} sampled summaries, the other two decode greedily. "


def _decoding(here: GenerateConfig, judged: Manifest | None) -> list[str]:
    """A sentence where what is scored was decoded otherwise than the generation settings of the folder ask for."""
    if judged is None:
        return []
    then = describe_decoding(PredictionsView(judged).decoding)
    now = describe_decoding({"beams": here.beams, "candidates": 1})  # transformers has no choice among samples
    return (
        []
        if then == now
        else [
            f"Decoded for these scores: {then}. The generation settings here ask for {now} decoding, of which they say nothing."
        ]
    )


def _results(scores: Manifest, dataset: str) -> list[EvalResult]:
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
        return "None: it was not evaluated where it was exported."
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
        f"F1 x 100, {protocol.name}, {protocol.package}; {protocol.rows} dialogues x {protocol.references_per_row} "
        f"references; interval: {protocol.interval}."
    )
    return "\n".join([*lines, "", sentence])
