"""`export --score`: the exported GGUF file is scored on the test split, against the model that it was made from.

transformers reads the file back and dequantizes it, and the stages of a run generate and score as they always do. What
the store has already is reused: the scores of the same file, and the predictions of the model that it was made from.
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from artifacts.manifest import Manifest
from flows import dag
from flows.inference.export_format import ExportFormat, ExportRequest
from flows.inference.model_selection import stored_adapter
from flows.local_steps import LocalSteps
from tasks.config import DownloadSpec, ResolvedData, ResolvedModel
from tasks.execution.job import load_job
from tasks.execution.listener import Listener
from tasks.manifest_views import AdapterView, FormattedRowsView
from tasks.metrics.score_table import HEADLINE_LABEL, HEADLINE_TYPE, System
from tasks.metrics.scores import Scores
from tasks.models.gguf_export import refuse_reading_back
from tasks.models.library_warnings import quiet_libraries
from tasks.sources.file_digests import file_digest

READ_BACK = (
    *("model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "head_dim", "rms_norm_eps", "rope_parameters", "tie_word_embeddings", "attention_bias"),
    *("mlp_bias", "sliding_window", "query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping"),
)
"""Settings of a model that transformers must read from the file as they were."""
PROBE = "#Person1#: It's  2 o'clock,\n\n\t12345 €  naïve 漢字 😀\n #Person2#: 1 000?!"


def refuse_scoring(kind: ExportFormat, request: ExportRequest) -> None:
    """RequestError if the format is not scored, the adapter is not in the store, or transformers cannot read it."""
    if kind.gguf_file is None:
        raise RequestError("--score scores a GGUF file: export with --gguf; `dialogsum evaluate` scores an adapter")
    if not request.selected.name.split(" ")[-1].startswith("train-"):
        raise RequestError("--score compares with an adapter of the store: name one by its id, or leave --score out")
    refuse_reading_back(request.selected.spec)


def score_gguf(
    file: Path,
    request: ExportRequest,
    adapter: str,
    recipe: str | None,
    overrides: Sequence[str],
    listener: Listener,
) -> str:
    """`ROUGE-1 37.20, -0.11 (-0.30 to +0.08) against the original model`, on the test split of the adapter's data.

    The original model is the one that the file was made from.

    adapter, recipe, overrides: as the options of the command. RequestError if transformers reads another model from the
    file than was written.
    """
    base = request.selected.spec.model
    exported = ResolvedModel(
        revision=file_digest(file), location=str(file.parent.resolve()), gguf=file.name, origin=file.name
    )
    _refuse_other_model(exported, base)
    manifest, loaded = stored_adapter(adapter, recipe, overrides)
    resolved = dag.resolve_recipe(loaded)
    data = resolved.data if any(each.startswith("data.") for each in overrides) else _data_of(manifest, resolved.data)
    resolved, steps = replace(resolved, model=base, data=data), LocalSteps("export", request.selected.runtime, listener)
    try:
        scores = dag.score_other_weights(resolved, steps.step, manifest, exported, request.value)
    finally:  # weights in float32 that nothing else needs
        shutil.rmtree(Store.current().scratch / "models" / exported.revision, ignore_errors=True)
    store = Store.current()
    content = Scores.load(store.payload(store.by_id(scores.id).path))
    difference = content.differences[System.BASE][HEADLINE_TYPE]
    score = content.under_headline_protocol.systems[System.TUNED][HEADLINE_TYPE].f1
    low, high = difference.interval
    change = f"{difference.mean:+.2f} ({low:+.2f} to {high:+.2f})"
    return f"{HEADLINE_LABEL} {score:.2f}, {change} against the original model"


def _data_of(adapter: Manifest, otherwise: ResolvedData) -> ResolvedData:
    """The data that an adapter was trained on, or `otherwise` if the store does not know it any more."""
    from tasks.registry import STAGES  # which imports every stage

    store = Store.current()
    try:
        dataset = FormattedRowsView(store.by_id(AdapterView(adapter).rows.id)).dataset.id
        spec = load_job(store, dataset, STAGES).spec
    except RequestError:
        return otherwise
    return spec.data if isinstance(spec, DownloadSpec) else otherwise


def _refuse_other_model(exported: ResolvedModel, original: ResolvedModel) -> None:
    """RequestError if transformers reads other settings or another tokenizer from the file than the model has."""
    from transformers import AutoConfig, AutoTokenizer

    from tasks.models.loading import load_tokenizer, model_folder

    with quiet_libraries():  # the file is not unpacked for this: its scores may be in the store
        places: list[Any] = [(exported.location, exported.gguf), (model_folder(original), None)]
        configs: list[Any] = [AutoConfig.from_pretrained(place, gguf_file=file) for place, file in places]
        read_tokenizer: Any = AutoTokenizer.from_pretrained(exported.location, gguf_file=exported.gguf)
        tokenizers: list[Any] = [read_tokenizer, load_tokenizer(original)]
    read = [key for key in READ_BACK if len({_rounded(getattr(config, key, None)) for config in configs}) > 1]
    if len({str(tokenizer(PROBE, add_special_tokens=False)["input_ids"]) for tokenizer in tokenizers}) > 1:
        read.append("tokenizer")
    if read:
        raise RequestError(
            f"the file is complete, but transformers reads another {', '.join(read)} from it, so that --score would "
            "score another model: leave --score out"
        )


def _rounded(value: Any) -> str:
    """A setting as text, with the digits that a number has in a GGUF file."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
