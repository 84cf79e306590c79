"""vLLM as the engine: one base model, each adapter as a LoRA request, so that a new champion loads in a moment.

Imported only where vLLM is installed. BENCHMARKS.md has what was tried on a GPU.
"""

import itertools
import uuid
from collections.abc import AsyncGenerator
from typing import Any

from vllm import AsyncEngineArgs, SamplingParams
from vllm.lora.request import LoRARequest
from vllm.v1.engine.async_llm import AsyncLLM

from artifacts.errors import RequestError
from flows.serving.inference_engine import Generation, GenerationRequest, Weights
from tasks.config import SummarizeSpec
from tasks.models.loading import load_tokenizer, model_folder
from tasks.summarization.request import SelectedModel

MAX_LORA_RANK = 128
"""That of the recipe smollm2-135m; vLLM reserves memory for it."""


class VllmEngine:
    """Greedy decoding only: beam search and candidates are refused, since vLLM would decode them in another way."""

    name = "vllm"

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._engine: Any = None
        self._numbers = itertools.count(1)

    def load(self, selected: SelectedModel) -> Weights:
        """The base model with the first call; an adapter with its first request."""
        generate = selected.spec.generate
        if generate.beams > 1 or generate.candidates > 1:
            raise RequestError(
                "the engine vllm decodes greedily, and this model was evaluated with beams or candidates: use "
                "--engine native, or --set generate.candidates=1 --set generate.beams=1"
            )
        if generate.quantization != "none":
            raise RequestError(
                "the engine vllm keeps the base weights unquantized, and this model summarizes with NF4 weights, as it "
                "was trained or evaluated: use --engine native, or give vLLM itself the folder of `dialogsum export "
                "FOLDER --merged`; --set generate.quantization=none serves the adapter on unquantized weights, where "
                "its summaries can be worse"
            )
        tokenizer: Any = load_tokenizer(selected.spec.model)
        if self._engine is None:
            arguments = AsyncEngineArgs(
                model=str(model_folder(selected.spec.model)),
                enable_lora=True,
                max_lora_rank=MAX_LORA_RANK,
                max_num_seqs=self.rows,
                enable_log_requests=False,
            )
            self._engine = AsyncLLM.from_engine_args(arguments)
        adapter = selected.adapter
        lora = LoRARequest(adapter.parent.name, next(self._numbers), str(adapter)) if adapter else None
        return Weights(tokenizer, self._engine.model_config.max_model_len, lora)

    async def generate(
        self, weights: Weights, spec: SummarizeSpec, request: GenerationRequest
    ) -> AsyncGenerator[Generation, None]:
        """Cumulative texts; closing the iterator aborts the request in vLLM."""
        stop_id = request.stop_id
        parameters = SamplingParams(
            temperature=0, max_tokens=request.max_tokens, stop_token_ids=[stop_id], ignore_eos=True, detokenize=False
        )
        prompt = {"prompt_token_ids": request.prompt}
        outputs = self._engine.generate(prompt, parameters, uuid.uuid4().hex, lora_request=weights.model)
        async for output in outputs:
            ids = list(output.outputs[0].token_ids)
            bare = ids[:-1] if ids[-1:] == [stop_id] else ids
            text = weights.tokenizer.decode(bare, skip_special_tokens=True).strip()
            stop = ("stop_token" if len(bare) < len(ids) else "limit") if output.finished else ""
            yield Generation(text if stop else text.rstrip("\ufffd"), len(ids), stop)

    def unload(self, weights: Weights) -> None:
        """vLLM frees adapters by itself."""

    def close(self) -> None:
        """Stop vLLM's processes."""
        if self._engine is not None:
            self._engine.shutdown()
