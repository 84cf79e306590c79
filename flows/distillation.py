"""The adapter of a recipe: trained on the references and, if the recipe says so, on preferences among its own samples.

train supervised ──► sample ──► train (DPO) ──► sample ──► train (DPO) …
train without fold n ──► sample fold n ──┘         each further round
"""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from artifacts.artifact_store import DamageError, Store
from artifacts.manifest import Manifest
from artifacts.retention import lineage
from tasks.config import Fold, GenerateConfig, SampleSpec, TokenizerName, TrainSpec
from tasks.execution.decision import Input
from tasks.sample import SAMPLE
from tasks.train import TRAIN

Step = Callable[..., Input]
"""`step(stage, variant, spec, **inputs) -> artifact`."""
SUPERVISED = "supervised"
"""Variant of the adapter from which the distillation starts."""


class TrainedAdapter(NamedTuple):
    """An adapter, and what it was distilled from: earlier adapters and their samples, in the order of the DAG."""

    adapter: Input
    distilled_from: tuple[Input, ...] = ()


def train_adapter(
    spec: TrainSpec, tokenizer: TokenizerName, step: Step, rows: Input, variant: str | None
) -> TrainedAdapter:
    """The adapter that the recipe asks for, as an artifact of this variant.

    spec: of the supervised training. tokenizer: compares the samples.
    """
    distill = spec.train.distill
    if not distill.samples:
        return TrainedAdapter(step(TRAIN, variant, spec, rows=rows))

    def named(what: str) -> str:
        return " ".join(filter(None, [variant, what]))

    start = step(TRAIN, named(SUPERVISED), spec, rows=rows)
    made = [start]
    samplers: dict[Fold | None, Input] = {None: start}
    if distill.folds > 1:
        samplers = {}
        for part in (Fold(index=i, count=distill.folds) for i in range(distill.folds)):
            without = spec.model_copy(update={"without": part})
            samplers[part] = step(TRAIN, named(f"without {_number(part)}"), without, rows=rows)
        made += samplers.values()
    preference = spec.model_copy(update={"preference": distill})
    for number in range(1, distill.rounds + 1):
        candidates = {}
        for fold, sampler in samplers.items():
            what = f"round {number}" if fold is None else _number(fold)
            role = "candidates" if fold is None else f"candidates_{fold.index}"
            candidates[role] = step(SAMPLE, named(what), sample_spec(spec, tokenizer, fold), rows=rows, adapter=sampler)
        name = variant if number == distill.rounds else named(f"round {number}")
        start = step(TRAIN, name, preference, rows=rows, adapter=start, **candidates)
        samplers = {None: start}
        made += [*candidates.values(), start]
    return TrainedAdapter(start, tuple(made[:-1]))


def distilled_from(adapter: Manifest) -> tuple[Manifest, ...]:
    """The adapters and samples from which an existing adapter was distilled, as far as the store has them intact."""
    store = Store.current()
    earlier = []
    for m in sorted(lineage(store, [adapter]).values(), key=lambda m: m.provenance.at):
        if m.stage in (TRAIN.name, SAMPLE.name) and m.id != adapter.id:
            with suppress(DamageError):
                store.check_payload(m)
                earlier.append(m)
    return tuple(earlier)


def sample_spec(spec: TrainSpec, tokenizer: TokenizerName, fold: Fold | None = None) -> SampleSpec:
    """How candidates are sampled for the dialogues that an adapter is trained on."""
    train, distill = spec.train, spec.train.distill
    return SampleSpec(
        model=spec.model,
        turns=spec.turns,
        generate=GenerateConfig(
            limit=train.limit,
            max_new_tokens=distill.max_new_tokens,
            max_prompt_tokens=max(16, train.max_length - distill.max_new_tokens),
            candidates=distill.samples,
            temperature=distill.temperature,
            epsilon=distill.epsilon,
            seed=train.seed,
            quantization=spec.quantization,  # the log-probabilities of DPO are those of these weights
        ),
        stride=train.stride,
        fold=fold,
        rouge_tokenizer=tokenizer,
    )


def _number(fold: Fold) -> str:
    return f"fold {fold.index + 1} of {fold.count}"
