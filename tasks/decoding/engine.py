"""Predictions for batches of prompts: choice of the decoder, candidates, and batches that do not fit into memory."""

import gc
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

from artifacts.errors import RequestError, StageError
from tasks.config import GenerateConfig, TokenizerName
from tasks.decoding import hf_generate
from tasks.decoding.batching import SEQUENCES_PER_ROW, Row
from tasks.decoding.decoder import Decoder, Delivery, NonFiniteError
from tasks.decoding.decoder_choice import choose_decoder
from tasks.decoding.kv_cache import CacheShape
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
    """Texts of candidates and minimum Bayes risk, while other rows are decoded."""
    splits: int = 0
    """How often a batch was split because memory ran out."""


SWITCH_INTERVAL = 0.0002
"""Seconds after which Python makes a thread that computes let another one go on. The thread that starts decode steps
waits that long for the one that finishes rows. Python's 5 ms are longer than a step: the GPU would run out of work."""
FinishedT = TypeVar("FinishedT")
Finish = Callable[[str, Sequence[Output]], FinishedT]
"""Gets the id of a row and its candidates."""


@contextmanager
def _short_switches() -> Iterator[None]:
    """While the block runs, threads of Python take turns after SWITCH_INTERVAL."""
    previous = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(previous)


def _deliver_part(deliver: Delivery, part: Sequence[int], row: int, candidates: list[list[int]]) -> None:
    """Deliver row `row` of a part of a batch."""
    deliver(part[row], candidates)


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
        return self._finished(batch, [None, *samples], self._prediction)

    def sample(self, batch: list[Row], finish: Finish[FinishedT]) -> list[FinishedT]:
        """What `finish` makes of `generate.candidates` samples for each row. StageError as `predict`."""
        return self._finished(batch, self._uniforms(batch), finish)

    def _uniforms(self, batch: list[Row]) -> list[np.ndarray | None]:
        """Random numbers for each candidate."""
        seed, new_tokens = self.settings.seed, self.settings.max_new_tokens
        return [
            np.stack([draw_uniforms(seed, row_id, candidate, new_tokens) for row_id, _ in batch])
            for candidate in range(self.settings.candidates)
        ]

    def _finished(
        self, batch: list[Row], uniforms: list[np.ndarray | None], finish: Finish[FinishedT]
    ) -> list[FinishedT]:
        """What `finish` makes of the outputs for each row, one for each of `uniforms`; None decodes greedily.

        It is called in another thread, while the device decodes the rows that are not finished.
        """
        started = time.perf_counter()
        results: dict[int, Future[FinishedT]] = {}

        def finish_row(row: int, candidates: list[list[int]]) -> FinishedT:
            finishing = time.perf_counter()
            result = finish(batch[row][0], self._texts(candidates))
            self.stats.choosing_seconds += time.perf_counter() - finishing
            return result

        with ThreadPoolExecutor(1) as thread, _short_switches():

            def deliver(row: int, candidates: list[list[int]]) -> None:
                if row in results:  # a batch that was split is decoded again
                    return
                self.stats.tokens += sum(map(len, candidates))
                results[row] = thread.submit(finish_row, row, candidates)

            self._decode(batch, uniforms, deliver)
            self.stats.decoding_seconds += time.perf_counter() - started
            return [results[row].result() for row in range(len(batch))]

    def _texts(self, candidates: Sequence[list[int]]) -> list[Output]:
        """The texts of token ids."""
        bare = [tokens[:-1] if tokens[-1:] == [self.stop_id] else tokens for tokens in candidates]
        texts = self.tokenizer.batch_decode(bare, skip_special_tokens=True)
        return [
            Output(text.strip(), len(tokens), len(ids) < len(tokens))
            for text, tokens, ids in zip(texts, candidates, bare, strict=True)
        ]

    def _prediction(self, row_id: str, candidates: Sequence[Output]) -> dict[str, Any]:
        """The candidate that agrees most with the others."""
        texts = [candidate.text for candidate in candidates]
        best = candidates[choose(texts, self.rouge_tokenizer) if len(texts) > 1 else 0]
        stop = "stop_token" if best.finished else "limit"
        return {"id": row_id, "prediction": best.text, "tokens": best.tokens, "stop": stop}

    def _decode(self, batch: list[Row], uniforms: list[np.ndarray | None], deliver: Delivery) -> None:
        """Deliver the candidates of each row. A batch that does not fit into memory is split in two."""
        if self.max_rows is None or len(batch) <= self.max_rows:
            try:
                return self._decode_batch(batch, uniforms, deliver)
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
        for part in (range(middle), range(middle, len(batch))):
            rows = slice(part.start, part.stop)
            numbers_of_part = [None if numbers is None else numbers[rows] for numbers in uniforms]
            self._decode(batch[rows], numbers_of_part, partial(_deliver_part, deliver, part))
        return None

    def _decode_batch(self, batch: list[Row], uniforms: list[np.ndarray | None], deliver: Delivery) -> None:
        prompts = [ids for _, ids in batch]
        try:
            if self.native:
                decoder = self._decoder_for(prompts, len(uniforms))
                captured_before = decoder.capture_seconds
                decoder.decode(prompts, uniforms, deliver)
                self.stats.capture_seconds += decoder.capture_seconds - captured_before
                return
            pad_id = self.tokenizer.pad_token_id
            outputs = hf_generate.generate(self.model, pad_id, self.stop_id, prompts, self.settings)
        except NonFiniteError as error:
            raise StageError(
                f"the model produced NaN or infinite logits for row {batch[error.prompt][0]!r} at token "
                f"{error.position}: the weights of the model or of the adapter are broken, or too large for half "
                "precision"
            ) from error
        for row, tokens in enumerate(outputs):
            deliver(row, [tokens])

    def _decoder_for(self, prompts: list[list[int]], candidates: int) -> Decoder:
        """The decoder of earlier batches, or one with room for them and for this one."""
        lengths, rows = [len(prompt) for prompt in prompts], len(prompts)
        sequences = min(rows * candidates, rows * SEQUENCES_PER_ROW[self.model.device.type])
        shape = CacheShape(rows, sum(lengths), max(lengths), candidates, sequences, self.settings.max_new_tokens)
        if self.decoder is None or not self.decoder.shape.holds(shape):
            if self.decoder is not None:
                shape = CacheShape(*map(max, shape, self.decoder.shape))
            self._release()
            self.decoder = self._new_decoder(shape, Sampling(self.settings.temperature, self.settings.epsilon))
        return self.decoder

    def _new_decoder(self, shape: CacheShape, sampling: Sampling) -> Decoder:
        return Decoder(self.model, self.stop_id, shape, sampling)

    def _release(self) -> None:
        """Free the memory of the cache and the graphs."""
        self.decoder = None
        gc.collect()
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
