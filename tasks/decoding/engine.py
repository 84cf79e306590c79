"""Predictions for batches of prompts: choice of the decoder, candidates, and batches that do not fit into memory."""

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from artifacts.errors import RequestError, StageError
from tasks.config import GenerateConfig, TokenizerName
from tasks.decoding import hf_generate
from tasks.decoding.batching import Row, batch_shape
from tasks.decoding.decoder import Decoder, NonFiniteError
from tasks.decoding.decoder_choice import choose_decoder
from tasks.decoding.minimum_bayes_risk import choose
from tasks.decoding.sampling import Sampling, draw_uniforms


@dataclass(frozen=True)
class Output:
    """What was decoded for a prompt."""

    text: str
    tokens: int
    """Tokens that were generated, including the stop token."""
    finished: bool
    """Whether it ended with the stop token, not at the limit."""


@dataclass
class EngineStats:
    """What an engine has done so far."""

    tokens: int = 0
    """Tokens generated, of all candidates."""
    decoding_seconds: float = 0.0
    capture_seconds: float = 0.0
    """Capture of CUDA graphs."""
    choosing_seconds: float = 0.0
    """Minimum Bayes risk."""
    splits: int = 0
    """How often a batch was split because memory ran out."""


class Engine:
    """Decodes batches for one model."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        stop_id: int,
        settings: GenerateConfig,
        rouge_tokenizer: TokenizerName = "auto",
    ) -> None:
        """RequestError if the model cannot be sampled from. rouge_tokenizer: compares candidates."""
        self.model, self.tokenizer, self.stop_id, self.settings = model, tokenizer, stop_id, settings
        self.rouge_tokenizer = rouge_tokenizer
        self.native = choose_decoder(settings, model.config).name == "decoder"
        """Whether `Decoder` decodes it, and not transformers."""
        if settings.candidates > 1 and not self.native:
            raise RequestError(
                f"generate.candidates is {settings.candidates}, but only generate.candidates=1 is supported for "
                f"{model.config.model_type}"
            )
        self.max_rows: int | None = None
        """The most rows that fit into memory, known once it has run out."""
        self.decoder: Decoder | None = None
        self.stats = EngineStats()

    def predict(self, batch: list[Row]) -> list[dict[str, Any]]:
        """A prediction per row (artifacts.schemas.PREDICTIONS). StageError if the logits are NaN or infinite."""
        samples = self._uniforms(batch) if self.settings.candidates > 1 else []
        outputs = self._outputs(batch, [None, *samples])
        started = time.perf_counter()
        best = [self._choose(candidates) for candidates in outputs]
        self.stats.choosing_seconds += time.perf_counter() - started
        return [
            {
                "id": row_id,
                "prediction": output.text,
                "tokens": output.tokens,
                "stop": "stop_token" if output.finished else "limit",
            }
            for (row_id, _), output in zip(batch, best, strict=True)
        ]

    def sample(self, batch: list[Row]) -> list[list[Output]]:
        """`generate.candidates` samples for each row. StageError if the logits are NaN or infinite."""
        return self._outputs(batch, self._uniforms(batch))

    def _uniforms(self, batch: list[Row]) -> list[np.ndarray | None]:
        """Random numbers for each candidate."""
        seed, new_tokens = self.settings.seed, self.settings.max_new_tokens
        return [
            np.stack([draw_uniforms(seed, row_id, candidate, new_tokens) for row_id, _ in batch])
            for candidate in range(self.settings.candidates)
        ]

    def _outputs(self, batch: list[Row], uniforms: list[np.ndarray | None]) -> list[list[Output]]:
        """An output for each row and each of `uniforms`, of which None decodes greedily."""
        started = time.perf_counter()
        passes = self._decode(batch, uniforms)
        self.stats.decoding_seconds += time.perf_counter() - started
        self.stats.tokens += sum(len(tokens) for outputs in passes for tokens in outputs)
        started = time.perf_counter()
        outputs = [self._texts(candidates) for candidates in zip(*passes, strict=True)]
        self.stats.choosing_seconds += time.perf_counter() - started
        return outputs

    def _texts(self, candidates: Sequence[list[int]]) -> list[Output]:
        """The texts of token ids."""
        bare = [tokens[:-1] if tokens[-1:] == [self.stop_id] else tokens for tokens in candidates]
        texts = self.tokenizer.batch_decode(bare, skip_special_tokens=True)
        return [
            Output(text.strip(), len(tokens), len(ids) < len(tokens))
            for text, tokens, ids in zip(texts, candidates, bare, strict=True)
        ]

    def _choose(self, candidates: Sequence[Output]) -> Output:
        """The candidate that agrees most with the others."""
        if len(candidates) == 1:
            return candidates[0]
        return candidates[choose([candidate.text for candidate in candidates], self.rouge_tokenizer)]

    def _decode(self, batch: list[Row], uniforms: list[np.ndarray | None]) -> list[list[list[int]]]:
        """Token ids for each of `uniforms` and each row. A batch that does not fit into memory is split in two."""
        if self.max_rows is None or len(batch) <= self.max_rows:
            try:
                return self._decode_batch(batch, uniforms)
            except torch.OutOfMemoryError as error:
                if len(batch) == 1:
                    raise StageError(
                        f"a prompt of {len(batch[0][1])} tokens does not fit into the memory of the GPU: "
                        "lower generate.max_prompt_tokens"
                    ) from error
            # outside of `except`, whose traceback keeps the tensors that filled the memory
            self.max_rows = -(-len(batch) // 2)
            self.stats.splits += 1
            self._release()
        middle = -(-len(batch) // 2)
        parts = [
            self._decode(batch[part], [None if numbers is None else numbers[part] for numbers in uniforms])
            for part in (slice(middle), slice(middle, None))
        ]
        return [first + second for first, second in zip(*parts, strict=True)]

    def _decode_batch(self, batch: list[Row], uniforms: list[np.ndarray | None]) -> list[list[list[int]]]:
        prompts = [ids for _, ids in batch]
        try:
            if not self.native:
                pad_id = self.tokenizer.pad_token_id
                return [hf_generate.generate(self.model, pad_id, self.stop_id, prompts, self.settings)]
            if self.decoder is None or not self.decoder.fits(prompts):
                self._release()
                sampling = Sampling(self.settings.temperature, self.settings.epsilon)
                self.decoder = Decoder(
                    self.model, self.stop_id, *batch_shape(prompts), self.settings.max_new_tokens, sampling
                )
            graphs = self.decoder.graphs
            captured_before = graphs.capture_seconds if graphs else 0.0
            outputs = self.decoder.decode(prompts, uniforms)
            self.stats.capture_seconds += graphs.capture_seconds - captured_before if graphs else 0.0
            return outputs
        except NonFiniteError as error:
            raise StageError(
                f"the model produced NaN or infinite logits for row {batch[error.row][0]!r} at token {error.position}: "
                "the weights of the model or of the adapter are broken, or too large for half precision"
            ) from error

    def _release(self) -> None:
        """Free the memory of the cache and the graphs."""
        self.decoder = None
        gc.collect()
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
