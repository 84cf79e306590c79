"""The default engine: requests that wait for the same model and decoding settings are decoded together, in a thread.

Greedy decoding streams its tokens. Beam search and the best of several candidates give one text at the end.
"""

import asyncio
import copy
import threading
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import torch

from flows.serving.inference_engine import Generation, GenerationRequest, Weights
from flows.serving.metrics import BATCH_ROWS
from flows.serving.streaming_decoder import StreamingEngine
from tasks.config import SummarizeSpec
from tasks.decoding.batching import Row, batch_size
from tasks.models.adapter_merging import load_merged_model
from tasks.models.loading import load_tokenizer, pick_device
from tasks.summarization.request import SelectedModel
from tasks.workers.cpus import cpu_threads


@dataclass
class _Model:
    """A model in memory, with an engine for each of the decoding settings that were asked for."""

    model: Any
    tokenizer: Any
    """A copy that only decodes, while the other one encodes in other threads."""
    rows: int
    """The most rows of a batch."""
    threads: int
    """Of torch, on the CPU."""
    engines: dict[str, StreamingEngine] = field(default_factory=dict)


@dataclass(eq=False)
class _Waiting:
    """A request that waits or is decoded, and where its results go."""

    weights: Weights
    spec: SummarizeSpec
    request: GenerationRequest
    loop: asyncio.AbstractEventLoop
    results: "asyncio.Queue[Generation | Exception]"
    batch_key: tuple[Any, ...]
    """Requests with the same key can be decoded together."""
    given_up: bool = False

    def put(self, result: Generation | Exception) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.results.put_nowait, result)


class BatchingEngine:
    """One thread that decodes batch after batch, the request that has waited longest first."""

    name = "native"

    def __init__(self) -> None:
        self._queue: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def load(self, selected: SelectedModel) -> Weights:
        """The base model with the adapter merged into it."""
        device = pick_device(selected.runtime.device)
        tokenizer = load_tokenizer(selected.spec.model)
        quantization = selected.spec.generate.quantization
        model = load_merged_model(selected.spec.model, selected.adapter, device, quantization)
        context = getattr(model.config, "max_position_embeddings", None)
        rows = batch_size(selected.runtime, device.type, selected.spec.generate.candidates)
        threads = cpu_threads(selected.runtime.threads, 1)
        return Weights(tokenizer, context, _Model(model, copy.deepcopy(tokenizer), rows, threads))

    def unload(self, weights: Weights) -> None:
        """Nothing to do: the memory is freed with the last reference."""

    async def generate(
        self, weights: Weights, spec: SummarizeSpec, request: GenerationRequest
    ) -> AsyncGenerator[Generation, None]:
        """Wait for a place in a batch, then yield what is generated."""
        # another limit changes the other tokens of a beam search
        limit = request.max_tokens if spec.generate.beams > 1 else 0
        results: asyncio.Queue[Generation | Exception] = asyncio.Queue()
        key = (id(weights), spec.model_dump_json(include={"generate", "turns", "rouge_tokenizer"}), limit)
        waiting = _Waiting(weights, spec, request, asyncio.get_running_loop(), results, key)
        with self._changed:
            self._queue.append(waiting)
            self._changed.notify()
        try:
            while True:
                result = await results.get()
                if isinstance(result, Exception):
                    raise result
                yield result
                if result.stop:
                    return
        finally:
            waiting.given_up = True

    def close(self) -> None:
        """End the thread after the batch that it decodes."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while batch := self._next_batch():
            BATCH_ROWS.observe(len(batch))
            try:
                self._decode(batch)
            except Exception as error:
                for waiting in batch:
                    waiting.put(error)

    def _next_batch(self) -> list[_Waiting]:
        """The first waiting request and all that can be decoded with it; empty once the engine is closed."""
        with self._changed:
            while not self._closed:
                self._queue = deque(waiting for waiting in self._queue if not waiting.given_up)
                if self._queue:
                    first = self._queue[0]
                    same = [waiting for waiting in self._queue if waiting.batch_key == first.batch_key]
                    batch = same[: first.weights.model.rows]
                    self._queue = deque(waiting for waiting in self._queue if waiting not in batch)
                    return batch
                self._changed.wait()
        return []

    def _decode(self, batch: list[_Waiting]) -> None:
        torch.set_num_threads(batch[0].weights.model.threads)
        engine = self._engine(batch[0])
        rows: list[Row] = [(waiting.request.row, waiting.request.prompt) for waiting in batch]
        engine.watcher = _BatchWatcher(engine, dict(zip(map(id, rows), batch, strict=True)))
        for waiting, prediction in zip(batch, engine.predict(rows), strict=True):
            waiting.put(Generation(prediction["prediction"], prediction["tokens"], prediction["stop"]))

    def _engine(self, waiting: _Waiting) -> StreamingEngine:
        """The engine for the decoding settings of a request. A model has few of them: prompts change none but one."""
        model, spec, key = waiting.weights.model, waiting.spec, str(waiting.batch_key)
        if key not in model.engines:
            beams = spec.generate.beams > 1
            settings = spec.generate.model_copy(update={"max_new_tokens": waiting.request.max_tokens} if beams else {})
            stop_id = waiting.request.stop_id
            model.engines[key] = StreamingEngine(model.model, model.tokenizer, stop_id, settings, spec.rouge_tokenizer)
            while len(model.engines) > 4:
                model.engines.pop(next(iter(model.engines)))
        return model.engines[key]  # type: ignore[no-any-return]


@dataclass
class _BatchWatcher:
    """Sends the tokens of each row to its request, and ends rows at their limit or whose client has gone."""

    engine: StreamingEngine
    requests: dict[int, _Waiting]
    """By the identity of the row."""

    def limit(self, row: Row) -> int:
        return self.requests[id(row)].request.max_tokens

    def on_tokens(self, row: Row, tokens: list[int]) -> bool:
        waiting = self.requests[id(row)]
        if waiting.given_up or len(tokens) >= waiting.request.max_tokens:
            return False
        if waiting.request.stream:
            text = self.engine.tokenizer.decode(tokens, skip_special_tokens=True).strip()
            waiting.put(Generation(text.rstrip("\ufffd"), len(tokens)))  # half of a character is not sent
        return True
