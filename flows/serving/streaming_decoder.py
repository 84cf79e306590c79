"""The decoder and engine of the pipeline, which also tell every few steps what was generated so far.

They extend the classes of tasks/decoding from outside: an edit there would change the keys of stored predictions.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from tasks.decoding.batching import Row, batch_shape
from tasks.decoding.decoder import Decoder
from tasks.decoding.engine import Engine
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

    def _active_rows(self, order: list[int]) -> list[int]:
        active = super()._active_rows(order)
        if self.on_tokens is not None:
            generated = self.generated[: len(order), : int(self.column)].tolist()
            for row, tokens in enumerate(generated):
                if active[row] and not self.on_tokens(order[row], tokens):
                    self.active[row] = active[row] = 0
        return active


class StreamingEngine(Engine):
    """Predicts batches whose rows are watched, and end at limits of their own."""

    watcher: Watcher

    def _decode_batch(self, batch: list[Row], uniforms: list[np.ndarray | None]) -> list[list[list[int]]]:
        if self.native:
            decoder = self._decoder_for([ids for _, ids in batch])
            watch = self.watcher
            # several passes make candidates, of which one is chosen at the end: nothing can be streamed
            decoder.on_tokens = (lambda row, ids: watch.on_tokens(batch[row], ids)) if len(uniforms) == 1 else None
        passes = super()._decode_batch(batch, uniforms)
        limits = [self.watcher.limit(row) for row in batch]
        return [[ids[:limit] for ids, limit in zip(outputs, limits, strict=True)] for outputs in passes]

    def _decoder_for(self, prompts: list[list[int]]) -> StreamingDecoder:
        """The decoder of earlier batches, or one that is large enough for them and for this one."""
        if not isinstance(self.decoder, StreamingDecoder) or not self.decoder.fits(prompts):
            shape, earlier = batch_shape(prompts), self.decoder.max_shape if self.decoder else (0, 0, 0)
            rows, tokens, longest = map(max, shape, earlier)
            self._release()
            sampling = Sampling(self.settings.temperature, self.settings.epsilon)
            self.decoder = StreamingDecoder(
                self.model, self.stop_id, rows, tokens, longest, self.settings.max_new_tokens, sampling
            )
        return self.decoder
