"""From a batch of prompts to its predictions: which decoder, how many candidates, what to do when memory runs out."""

import gc
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from artifacts.errors import RequestError, StageError
from tasks.config import GenerateConfig
from tasks.decoding import hf_generate
from tasks.decoding.batching import Row, shape
from tasks.decoding.decoder import Decoder, NotFiniteError
from tasks.decoding.minimum_bayes_risk import choose
from tasks.decoding.sampling import Sampling, draws

FAMILIES = ("gemma", "llama", "mistral", "qwen2", "qwen3")
"""Model types whose layers are attention over all earlier tokens and nothing else, tested in tests/tasks/decoding/test_decoder.py."""


def supported(model: Any) -> bool:
    """Whether `Decoder` computes what this model means."""
    config = model.config
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    return (
        config.model_type in FAMILIES
        and not getattr(config, "use_sliding_window", config.model_type == "mistral" and config.sliding_window)
        and rope not in ("dynamic", "longrope")  # they change with the longest row of the batch
    )


class Engine:
    """Decodes batches for one model. What it spent is in `spent`."""

    def __init__(self, model: Any, tokenizer: Any, stop_id: int, settings: GenerateConfig) -> None:
        self.model, self.tokenizer, self.stop_id, self.settings = model, tokenizer, stop_id, settings
        self.own = settings.beams == 1 and supported(model)
        if settings.candidates > 1 and not self.own:
            raise RequestError(
                f"generate.candidates is {settings.candidates}, but {model.config.model_type} has 1 only"
            )
        self.most: int | None = None
        """Rows that memory was found to hold."""
        self.decoder: Decoder | None = None
        self.spent = {
            "tokens": 0.0, "decoding_seconds": 0.0, "recording_seconds": 0.0, "choosing_seconds": 0.0, "halved": 0.0
        }  # fmt: skip

    def predict(self, batch: list[Row]) -> list[dict[str, Any]]:
        """A prediction a row (artifacts.schemas.PREDICTIONS). StageError where the model computes no numbers."""
        settings = self.settings
        sampled = [
            np.stack([draws(settings.seed, name, candidate, settings.max_new_tokens) for name, _ in batch])
            for candidate in range(settings.candidates if settings.candidates > 1 else 0)
        ]
        started = time.perf_counter()
        passes = self._decode(batch, [None, *sampled])
        decoded = time.perf_counter()
        answers = [self._chosen(said) for said in zip(*passes, strict=True)]
        self.spent["tokens"] += sum(len(said) for answered in passes for said in answered)
        self.spent["decoding_seconds"] += decoded - started
        self.spent["choosing_seconds"] += time.perf_counter() - decoded
        return [{"id": name} | answer for (name, _), answer in zip(batch, answers, strict=True)]

    def _chosen(self, said: Sequence[list[int]]) -> dict[str, Any]:
        """One of the answers to a prompt. `tokens` counts what was generated, the stop token included."""
        bare = [tokens[:-1] if tokens[-1:] == [self.stop_id] else tokens for tokens in said]
        texts = [text.strip() for text in self.tokenizer.batch_decode(bare, skip_special_tokens=True)]
        best = choose(texts) if len(texts) > 1 else 0
        stop = "stop_token" if len(bare[best]) < len(said[best]) else "limit"
        return {"prediction": texts[best], "tokens": len(said[best]), "stop": stop}

    def _decode(self, batch: list[Row], numbers: list[np.ndarray | None]) -> list[list[list[int]]]:
        """Ids for each of `numbers` and each row, in halves where memory does not hold them all."""
        if self.most is None or len(batch) <= self.most:
            try:
                return self._attempt(batch, numbers)
            except torch.OutOfMemoryError as error:
                if len(batch) == 1:
                    raise StageError(
                        f"a prompt of {len(batch[0][1])} tokens does not fit into the memory of the GPU: "
                        "lower generate.max_prompt_tokens"
                    ) from error
            # outside of `except`, whose traceback holds on to what filled the memory
            self.most = -(-len(batch) // 2)
            self.spent["halved"] += 1
            self._release()
        half = -(-len(batch) // 2)
        parts = [
            self._decode(batch[part], [None if table is None else table[part] for table in numbers])
            for part in (slice(half), slice(half, None))
        ]
        return [first + second for first, second in zip(*parts, strict=True)]

    def _attempt(self, batch: list[Row], numbers: list[np.ndarray | None]) -> list[list[list[int]]]:
        prompts = [ids for _, ids in batch]
        try:
            if not self.own:
                pad = self.tokenizer.pad_token_id
                return [hf_generate.generate(self.model, pad, self.stop_id, prompts, self.settings)]
            if self.decoder is None or not self.decoder.fits(prompts):
                self._release()
                sampling = Sampling(self.settings.temperature, self.settings.epsilon)
                self.decoder = Decoder(
                    self.model, self.stop_id, *shape(prompts), self.settings.max_new_tokens, sampling
                )
            graphs = self.decoder.graphs
            before = graphs.seconds if graphs else 0.0
            said = self.decoder.decode(prompts, numbers)
            self.spent["recording_seconds"] += graphs.seconds - before if graphs else 0.0
            return said
        except NotFiniteError as error:
            raise StageError(
                f"the model computes no numbers for row {batch[error.row][0]!r} at token {error.position}: "
                "its weights or those of the adapter are broken, or too large for half precision"
            ) from error

    def _release(self) -> None:
        """Give the memory of the cache and the graphs back."""
        self.decoder = None
        gc.collect()
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
