"""Transformers' own generate, for beams and for models that the decoder does not know: left-padded, step by step."""

from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from artifacts.errors import StageError
from tasks.config import GenerateConfig
from tasks.decoding.decoder import NotFiniteError


class _Finite(LogitsProcessor):
    """Stops at the first score that is no number."""

    def __init__(self, width: int, beams: int) -> None:
        self.width, self.beams = width, beams

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        broken = scores.isnan().any(-1)
        if broken.any():
            raise NotFiniteError(int(broken.nonzero()[0]) // self.beams, input_ids.shape[1] - self.width + 1)
        return scores


@torch.inference_mode()
def generate(
    model: Any, pad_id: int, stop_id: int, prompts: list[list[int]], settings: GenerateConfig
) -> list[list[int]]:
    """Token ids of each prompt -> ids that follow, the stop token included."""
    width = max(map(len, prompts))
    ids = torch.tensor([[pad_id] * (width - len(row)) + row for row in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts], device=model.device)
    generated = model.generate(
        input_ids=ids,
        attention_mask=mask,
        generation_config=GenerationConfig(
            max_new_tokens=settings.max_new_tokens, num_beams=settings.beams, do_sample=False,
            length_penalty=settings.length_penalty if settings.beams > 1 else None,
            eos_token_id=stop_id, pad_token_id=pad_id,
        ),
        logits_processor=LogitsProcessorList([_Finite(width, settings.beams)]),
    )[:, width:].tolist()  # fmt: skip
    if len(generated) != len(prompts):
        raise StageError(f"{len(generated)} outputs for {len(prompts)} prompts")
    return [row[: row.index(stop_id) + 1] if stop_id in row else row for row in generated]
