"""Child of the benchmarks: one architecture with random weights, through the train stage and the generation engine."""

import gc
import json
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from artifacts.artifact_store import Store
from flows import dag
from flows.architectures import ARCHITECTURES, TINY
from flows.benchmarks.child_process import child_main
from flows.benchmarks.children import our_stages, small_tokenizer
from flows.recipe import load_recipe
from tasks.config import GenerateConfig
from tasks.decoding import hf_generate
from tasks.decoding.decoder_choice import choose_decoder
from tasks.decoding.engine import Engine
from tasks.models.adapter_merging import load_merged_model
from tasks.models.loading import device_description, half_precision, load_tokenizer, pick_device

CHECKED_ROWS = 8
"""Prompts whose texts are compared in fp32."""


def measure(config: dict[str, Any]) -> dict[str, Any]:
    """Make the model, train it, decode a batch. The model's folder is removed."""
    Store.current().check_writable()
    device = pick_device("auto")
    folder = Path(config["folder"])
    try:
        parameters = _make_model(config["architecture"], config["shapes"], folder, device)
        resolved = dag.resolve_recipe(load_recipe(config["recipe"], config["overrides"]))
        rows = folder.parent / "rows.data"
        our_stages.prepare(resolved, {"rows": str(rows)})
        trained = our_stages.train(resolved, {"warm": 0})
        adapter = Store.current().payload(Store.current().by_id(trained["adapter"]).path)
        model = load_merged_model(resolved.model, adapter, device)
        decoded = _decode(model, load_tokenizer(resolved.model), resolved.recipe.decoding, json.loads(rows.read_text()))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "device": device_description(device),
        "parameters": parameters,
        "engine": trained["measured"]["engine"],
        "train_tokens_per_second": trained["measured"]["tokens_per_second"],
        "first_loss": trained["losses"][0],
        "last_loss": trained["losses"][-1],
        **decoded,
    }


def _make_model(name: str, published: bool, folder: Path, device: torch.device) -> int:
    """Save random weights and a small tokenizer in the folder. Returns the number of parameters."""
    from tasks.sources import resolve

    sample = Path(resolve.__file__).parent / "sample" / "train.csv"
    small_tokenizer.measure({"texts": [sample.read_text(encoding="utf-8")], "to": str(folder)})
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    ids = {key: getattr(tokenizer, key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    vocabulary = {} if published else {"vocab_size": len(tokenizer)}
    config = ARCHITECTURES[name].config(**({} if published else TINY), **ids, **vocabulary)
    torch.manual_seed(0)
    with device:
        model: Any = AutoModelForCausalLM.from_config(
            config, dtype=half_precision(device) if device.type == "cuda" else torch.float32
        )
    model.save_pretrained(folder)
    parameters = int(model.num_parameters())
    del model
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()  # the trainer is another process
    return parameters


def _decode(model: Any, tokenizer: Any, settings: GenerateConfig, rows: dict[str, Any]) -> dict[str, Any]:
    """Decode all prompts as one batch, with the engine and with `generate`, and compare their texts."""
    prompts, stop = rows["test"], rows["stop_id"]
    choice = choose_decoder(settings, model.config)
    engine_texts, engine_speed = _timed(_Ours(model, tokenizer, stop, settings), prompts)
    texts, speed = _timed(_Transformers(model, tokenizer, stop, settings), prompts)
    same = {}
    if choice.name == "decoder":
        same[str(model.dtype).removeprefix("torch.")] = (_equal(engine_texts, texts), len(texts))
        if model.dtype != torch.float32:
            exact, some = model.float(), prompts[:CHECKED_ROWS]
            ours, theirs = (kind(exact, tokenizer, stop, settings)(some)[0] for kind in (_Ours, _Transformers))
            same["float32"] = (_equal(ours, theirs), len(some))
    return {
        "decoder": str(choice),
        "new_tokens_per_second": engine_speed,
        "generate_tokens_per_second": speed,
        "same": same,
    }


class _Ours:
    """The engine of the generate stage."""

    def __init__(self, model: Any, tokenizer: Any, stop: int, settings: GenerateConfig) -> None:
        self.engine = Engine(model, tokenizer, stop, settings)

    def __call__(self, prompts: list[list[int]]) -> tuple[list[str], int]:
        """Texts, and the number of their tokens."""
        predictions = self.engine.predict([(str(i), ids) for i, ids in enumerate(prompts)])
        return [row["prediction"] for row in predictions], sum(row["tokens"] for row in predictions)


class _Transformers:
    """Greedy `generate` of transformers, left-padded."""

    def __init__(self, model: Any, tokenizer: Any, stop: int, settings: GenerateConfig) -> None:
        self.model, self.tokenizer, self.stop, self.settings = model, tokenizer, stop, settings

    def __call__(self, prompts: list[list[int]]) -> tuple[list[str], int]:
        """Texts, and the number of their tokens."""
        pad = self.tokenizer.pad_token_id
        outputs = hf_generate.generate(self.model, pad, self.stop, prompts, self.settings)
        bare = [ids[:-1] if ids[-1:] == [self.stop] else ids for ids in outputs]
        texts = [text.strip() for text in self.tokenizer.batch_decode(bare, skip_special_tokens=True)]
        return texts, sum(map(len, outputs))


def _timed(decode: Any, prompts: list[list[int]]) -> tuple[list[str], float]:
    """Texts of the second pass, in which all graphs are captured, and its tokens per second."""
    decode(prompts)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    texts, tokens = decode(prompts)
    return texts, tokens / (time.perf_counter() - started)


def _equal(texts: list[str], others: list[str]) -> int:
    return sum(a == b for a, b in zip(texts, others, strict=True))


if __name__ == "__main__":
    child_main(measure)
