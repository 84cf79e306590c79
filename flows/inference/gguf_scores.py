"""`export --score`: the exported GGUF file is scored on the test split, against the model that it was made from.

transformers reads the file back and dequantizes it, and the stages of a run generate and score as they always do. What
the store has already is reused: the scores of the same file, and the predictions of the unquantized model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from artifacts.record import Record
from artifacts.refs import Ref
from flows import dag
from flows.inference.export_format import ExportFormat, ExportRequest
from flows.inference.model_selection import stored_adapter
from tasks.config import EvaluationConfig, ResolvedModel, Runtime
from tasks.execution.decision import Input, decide
from tasks.execution.executor import execute
from tasks.execution.job import Job
from tasks.execution.listener import Listener, StageEntry
from tasks.execution.stage import Stage
from tasks.metrics.score_table import HEADLINE_LABEL, HEADLINE_TYPE, System
from tasks.metrics.scores import Scores
from tasks.sources.file_digests import file_digest
from tasks.summarization.request import SelectedModel

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


def score_gguf(
    file: Path,
    variant: str,
    selected: SelectedModel,
    recipe: str | None,
    overrides: Sequence[str],
    listener: Listener,
) -> str:
    """`ROUGE-1 37.20, -0.11 (-0.30 to +0.08) against the unquantized model`, on the test split of the recipe.

    variant: the type of the weights in the file, which names the artifacts. RequestError if transformers reads another
    model from the file than was written.
    """
    exported = ResolvedModel(
        revision=file_digest(file), location=str(file.parent.resolve()), gguf=file.name, origin=file.name
    )
    _refuse_other_model(exported, selected.spec.model)
    adapter, loaded = stored_adapter(selected.name.split(" ")[-1], recipe, overrides)
    evaluation = EvaluationConfig(prompt=selected.spec.template, turns=selected.spec.turns)
    generate = selected.spec.generate.model_copy(update={"limit": loaded.generate.limit})
    loaded = loaded.model_copy(update={"generate": generate, "evaluation": evaluation})
    resolved = replace(dag.resolve_recipe(loaded), model=selected.spec.model)
    scores = dag.score_other_weights(resolved, Steps(selected.runtime, listener).step, adapter, exported, variant)
    store = Store.current()
    content = Scores.load(store.payload(store.by_id(scores.id).path))
    difference = content.differences[System.BASE][HEADLINE_TYPE]
    score = content.under_headline_protocol.systems[System.TUNED][HEADLINE_TYPE].f1
    low, high = difference.interval
    change = f"{difference.mean:+.2f} ({low:+.2f} to {high:+.2f})"
    return f"{HEADLINE_LABEL} {score:.2f}, {change} against the unquantized model"


def _refuse_other_model(exported: ResolvedModel, original: ResolvedModel) -> None:
    """RequestError if transformers reads other settings or another tokenizer from the file than the model has."""
    from transformers import AutoConfig

    from tasks.models.loading import load_tokenizer, model_folder

    configs: list[Any] = [AutoConfig.from_pretrained(model_folder(model)) for model in (exported, original)]
    read = [key for key in READ_BACK if len({_rounded(getattr(config, key, None)) for config in configs}) > 1]
    tokenizers: list[Any] = [load_tokenizer(model) for model in (exported, original)]
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


@dataclass(frozen=True)
class Steps:
    """Runs steps of the DAG in this process, without Prefect."""

    runtime: Runtime
    listener: Listener

    def step(self, stage: Stage, variant: str | None, spec: Record, **inputs: Any) -> Input:
        """Run one stage, or reuse its artifact from the store."""
        refs = {role: each if isinstance(each, Ref) else Ref.of_manifest(each) for role, each in inputs.items()}
        decision = decide(Store.current(), stage, variant, spec, refs)
        if decision.status == "reused" and decision.manifest is not None:
            return Ref.of_manifest(decision.manifest)
        self.listener.stage(" ".join(filter(None, [stage.name, variant])), decision.status, decision.reason)
        job = Job(
            stage=stage.name,
            variant=variant,
            spec=spec,
            inputs=refs,
            identity=decision.identity,
            run="export",
            runtime=self.runtime,
        )
        manifest, _ = execute(Store.current(), stage, job, self.listener)
        self.listener.finished(StageEntry.of_decision(decision, manifest, manifest.path))
        return Ref.of_manifest(manifest)
