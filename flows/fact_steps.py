"""The steps of the DAG that measure the facts of a model: its probe, beside its summaries."""

from collections.abc import Callable
from dataclasses import dataclass

from artifacts.record import Record
from tasks.config import GenerateConfig, ProbeConfig, ProbeSpec, ResolvedModel
from tasks.execution.decision import Input
from tasks.metrics.score_table import PROBE_ROLE
from tasks.probe import PROBE


@dataclass(frozen=True)
class Probed:
    """A model as it is evaluated: its prompts, chat template and adapter."""

    prompts: Input
    turns: str
    generate: GenerateConfig
    adapter: Input | None


def probes(
    config: ProbeConfig,
    model: ResolvedModel,
    step: Callable[..., Input],
    dataset: Input,
    systems: dict[str, Probed],
) -> dict[str, Input]:
    """The probe of each system, by its role as an input of score and report; none if the recipe probes no dialogue."""
    if not config.dialogues:
        return {}
    return {
        f"{PROBE_ROLE}{system}": step(
            PROBE,
            system,
            _spec(config, model, probed),
            dataset=dataset,
            rows=probed.prompts,
            **({"adapter": probed.adapter} if probed.adapter is not None else {}),
        )
        for system, probed in systems.items()
    }


def _spec(config: ProbeConfig, model: ResolvedModel, probed: Probed) -> Record:
    """`generate.limit` is the number of dialogues that are summarized: no more are probed."""
    limit = probed.generate.limit
    dialogues = config.dialogues if limit is None else min(config.dialogues, limit)
    return ProbeSpec.model_validate(
        {"model": model, "turns": probed.turns, "max_prompt_tokens": probed.generate.max_prompt_tokens}
        | {"quantization": probed.generate.quantization}
        | {"probe": config.model_copy(update={"dialogues": dialogues})}
    )
