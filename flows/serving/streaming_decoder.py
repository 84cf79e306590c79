"""The decoder and engine of the pipeline, which also tell every few steps what was generated so far.

They extend the classes of tasks/decoding from outside: an edit there would change the keys of stored predictions.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch

from tasks.decoding.batching import Row
from tasks.decoding.decoder import Decoder, Delivery
from tasks.decoding.engine import Engine
from tasks.decoding.kv_cache import CacheShape
from tasks.decoding.sampling import Sampling


class Watcher(Protocol):
    """Follows the rows of a batch; a row is known by its tuple, since two rows may have the same id."""

    def limit(self, row: Row) -> int:
        """The most tokens that the row may have."""

    def on_tokens(self, row: Row, tokens: list[int]) -> bool:
        """Gets the tokens so far; returns whether the row goes on."""


class StreamingDecoder(Decoder):
    """Calls `on_tokens` with index and tokens of each row that is not finished; a row that should not go on ends."""

    on_tokens: Callable[[int, list[int]], bool] | None = None
    """For batches with one candidate for each row."""

    def _final_lengths(self, prompts: int, candidates: int) -> np.ndarray:
        """Calls `on_tokens` whenever the host looks which candidates have finished, and ends the rows it refuses."""
        lengths = super()._final_lengths(prompts, candidates)
        if self.on_tokens is not None:
            sequences = self.active.nonzero()[:, 0]
            rows, counts = self.candidates[sequences], self.own_lengths[sequences]
            table = torch.cat([torch.stack([sequences, rows, counts], 1), self.generated[rows]], 1).tolist()
            for sequence, row, count, *tokens in table:
                if count and not self.on_tokens(row, tokens[:count]):
                    self.active[sequence] = False
                    self.final_lengths[row] = lengths[row] = count
        return lengths


class StreamingEngine(Engine):
    """Predicts batches whose rows are watched, and end at limits of their own."""

    watcher: Watcher
    _on_tokens: Callable[[int, list[int]], bool] | None = None

    def _decode_batch(self, batch: list[Row], uniforms: list[np.ndarray | None], deliver: Delivery) -> None:
        watch, self._on_tokens = self.watcher, None
        if len(uniforms) == 1:  # several candidates, of which one is chosen at the end: nothing can be streamed
            self._on_tokens = lambda row, ids: watch.on_tokens(batch[row], ids)
        limits = [watch.limit(row) for row in batch]
        super()._decode_batch(
            batch, uniforms, lambda row, candidates: deliver(row, [ids[: limits[row]] for ids in candidates])
        )

    def _decoder_for(self, prompts: list[list[int]], candidates: int) -> Decoder:
        decoder = super()._decoder_for(prompts, candidates)
        assert isinstance(decoder, StreamingDecoder)
        decoder.on_tokens = self._on_tokens
        return decoder

    def _new_decoder(self, shape: CacheShape, sampling: Sampling) -> Decoder:
        return StreamingDecoder(self.model, self.stop_id, shape, sampling)
