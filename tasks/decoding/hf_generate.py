"""Generation by transformers, for beam search and for models that the decoder does not support: left-padded batches."""

from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from artifacts.errors import StageError
from tasks.config import GenerateConfig
from tasks.decoding.decoder import NonFiniteError


class _StopAtNaN(LogitsProcessor):
    """Raises NonFiniteError at the first logit that is NaN."""

    def __init__(self, width: int, beams: int) -> None:
        self.width, self.beams = width, beams

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        has_nan = scores.isnan().any(-1)
        if has_nan.any():
            raise NonFiniteError(int(has_nan.nonzero()[0]) // self.beams, input_ids.shape[1] - self.width + 1)
        return scores


@torch.inference_mode()
def generate(
    model: Any, pad_id: int, stop_id: int, prompts: list[list[int]], settings: GenerateConfig
) -> list[list[int]]:
    """Token ids of each prompt -> the ids that follow, including the stop token."""
    width = max(map(len, prompts))
    ids = torch.tensor([[pad_id] * (width - len(row)) + row for row in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts], device=model.device)
    generation_config = GenerationConfig(
        max_new_tokens=settings.max_new_tokens,
        num_beams=settings.beams,
        do_sample=False,
        length_penalty=settings.length_penalty if settings.beams > 1 else None,
        eos_token_id=stop_id,
        pad_token_id=pad_id,
    )
    sequences = model.generate(
        input_ids=ids,
        attention_mask=mask,
        generation_config=generation_config,
        logits_processor=LogitsProcessorList([_StopAtNaN(width, settings.beams)]),
    )
    generated = sequences[:, width:].tolist()
    if len(generated) != len(prompts):
        raise StageError(f"transformers returned {len(generated)} outputs for {len(prompts)} prompts")
    return [row[: row.index(stop_id) + 1] if stop_id in row else row for row in generated]
