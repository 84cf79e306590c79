#!/usr/bin/env python3
"""Generation on GPUs: transformers' generate against the engine that the worker runs, the whole stage, and candidates.

    GPU_FILES=/path python proto/bench_generate.py [--tiny] [--only flash,hf,engine,ends,mbr,parity,stage]

Gemma-2B's exact shape with random weights, the 500 DialogSum test dialogues in the real prompt. $GPU_FILES holds
gemma-tokenizer/ and dialogsum/. --tiny runs every section on the CPU with a tiny model.
"""

import argparse
import csv
import gc
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
import traceback
from pathlib import Path

START = time.perf_counter()
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
from transformers import AutoTokenizer, GemmaConfig, GemmaForCausalLM, GenerationConfig
from transformers.utils import logging

from tasks.config import GenerateConfig, GenerateSpec, ResolvedModel, Runtime
from tasks.decoding.batches import ON_GPU, deal, shape
from tasks.decoding.decoder import Decoder
from tasks.decoding.engine import Engine
from tasks.decoding.flash_cache import FlashCache
from tasks.decoding.kv_cache import EvenCache
from tasks.turns import TurnEncoder

logging.set_verbosity_error()
arguments = argparse.ArgumentParser()
arguments.add_argument("--tiny", action="store_true")
arguments.add_argument("--only", default="flash,hf,engine,ends,mbr,parity,stage")
arguments = arguments.parse_args()
TINY, CUDA = arguments.tiny, torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
ROWS, NEW = (24, 8) if TINY else (500, 50)
STOP = -1  # random weights never stop: every row runs to the limit


def say(*words):
    print(f"[{time.perf_counter() - START:6.1f}s]", *words, flush=True)


def sync():
    if CUDA:
        torch.cuda.synchronize()


def section(name):
    """Run the function if it was asked for; a failure is shown and does not end the script."""

    def run(function):
        if name not in arguments.only.split(","):
            return
        say(f"===== {name}")
        try:
            function()
        except Exception:
            traceback.print_exc()
            sys.stderr.flush()
        clean()

    return run


def clean():
    gc.collect()
    if CUDA:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def build(dtype):
    shape = dict(hidden_size=2048, num_hidden_layers=18, num_attention_heads=8, head_dim=256, intermediate_size=16384)
    if TINY:
        shape = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, head_dim=16, intermediate_size=64)
    # an output head of its own, of the same shape: with the tied one random weights repeat the last token for ever
    config = GemmaConfig(
        vocab_size=256000, num_key_value_heads=1, tie_word_embeddings=False, initializer_range=0.3 if TINY else 0.02, **shape
    )
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    with DEVICE:
        model = GemmaForCausalLM(config).eval()
    torch.set_default_dtype(torch.float32)
    return model


def load_prompts():
    global tokenizer, texts
    files = Path(os.environ.get("GPU_FILES", ROOT.parent / "shared"))
    folder = next(p for p in (files / "gemma-tokenizer", files / "models" / "gemma-tokenizer") if p.is_dir())
    data = next(p for p in (files / "dialogsum", files / "data" / "dialogsum") if p.is_dir())
    with (data / "test.csv").open(newline="", encoding="utf-8") as f:
        dialogues = list(dict.fromkeys(row["dialogue"] for row in csv.DictReader(f)))[:ROWS]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoder = TurnEncoder(tokenizer, "gemma")
    ask = "Summarize the following dialogue in one or two sentences.\n\n"
    texts = [ask + text for text in dialogues]
    return sorted(encoder.prompts(texts, 2048)[0], key=len, reverse=True)


class Timed(Decoder):
    """Prefill and decode timed apart (which makes the GPU wait once more a batch)."""

    reading = speaking = 0.0

    def _read(self, prompts):
        sync()
        start = time.perf_counter()
        super()._read(prompts)
        sync()
        Timed.reading += time.perf_counter() - start

    def _speak(self, prompts, draws):
        start = time.perf_counter()
        found = super()._speak(prompts, draws)
        sync()
        Timed.speaking += time.perf_counter() - start
        return found


class Ends(Timed):
    """Rows end where `limits` says: random weights do not."""

    limits: dict

    def _speak(self, prompts, draws):
        if not hasattr(self, "left"):
            self.left = torch.zeros_like(self.lengths)  # one tensor for good: the graphs read it
        self.left[: len(prompts)] = torch.tensor([Ends.limits[tuple(p)] for p in prompts], device=DEVICE)
        return super()._speak(prompts, draws)

    def _step(self, rows, width, sampled):
        super()._step(rows, width, sampled)
        self.alive[:rows] *= self.left[:rows] > self.column

    def _keep(self, rows):
        super()._keep(rows)
        self.left[: len(rows)] = self.left[torch.tensor(rows, device=DEVICE)]


def engine_of(model, kind=Timed, **settings):
    """The worker's engine with a decoder that keeps time."""
    import tasks.decoding.engine as module

    module.Decoder = kind
    engine = Engine(model, tokenizer, STOP, GenerateConfig(**{"max_new_tokens": NEW} | settings))
    said, real = {}, engine._attempt

    def remembering(batch, numbers):
        passes = real(batch, numbers)
        said.update({name: tokens for (name, _), tokens in zip(batch, passes[0], strict=True)})
        return passes

    engine._attempt = remembering
    return engine, said


def hf(model, prompts, size, new=NEW):
    """transformers' greedy generate in left-padded batches of rows sorted by length."""
    found = []
    for start in range(0, len(prompts), size):
        batch = prompts[start : start + size]
        width = max(map(len, batch))
        ids = torch.tensor([[0] * (width - len(p)) + p for p in batch], device=DEVICE)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in batch], device=DEVICE)
        settings = GenerationConfig(max_new_tokens=new, do_sample=False, pad_token_id=0, eos_token_id=None)
        with torch.inference_mode():
            found += model.generate(input_ids=ids, attention_mask=mask, generation_config=settings)[:, width:].tolist()
    return found


def measure(name, model, size, repeats=3, kind=Timed, **settings):
    """The engine over all prompts, as the worker calls it; returns the greedy answers in the order of `prompts`."""
    clean()
    engine, said = engine_of(model, kind, **settings)
    batches = deal([(f"{i:04d}", p) for i, p in enumerate(prompts)], size)
    for turn in range(repeats):
        Timed.reading = Timed.speaking = 0.0
        engine.spent = dict.fromkeys(engine.spent, 0.0)
        start = time.perf_counter()
        for batch in batches:
            engine.predict(batch)
        sync()
        seconds = time.perf_counter() - start
        peak = torch.cuda.max_memory_allocated() / 2**30 if CUDA else 0
        say(
            f"RESULT {name:34s} pass {turn}: {seconds:7.3f} s  prefill {Timed.reading:.3f}  decode {Timed.speaking:.3f}  choosing "
            f"{engine.spent['choosing_seconds']:.3f}  {engine.spent['tokens'] / seconds:7.0f} tok/s  halved {engine.spent['halved']:.0f}  "
            f"peak {peak:.1f} GiB  {type(engine.decoder.cache).__name__}, {len(batches)} batches"
        )
    return [said[f"{i:04d}"] for i in range(len(prompts))]


def compare(name, found, wanted):
    if found is None or wanted is None:
        return say(f"PARITY {name}: not measured")
    same = sum(a == b for a, b in zip(found, wanted, strict=True))
    agreed = [next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(b)) for a, b in zip(found, wanted, strict=True)]
    say(f"PARITY {name}: {same} of {len(wanted)} rows equal ({100 * same / len(wanted):.1f} %), first tokens in common {statistics.mean(agreed):.1f}")


say(f"torch {torch.__version__}, {torch.cuda.get_device_name() if CUDA else 'CPU'}, model loading")
prompts = load_prompts()
lengths = list(map(len, prompts))
say(f"{len(prompts)} prompts, {sum(lengths)} tokens, mean {statistics.mean(lengths):.0f}, longest {lengths[0]}, first ids {prompts[0][:6]}")
HALF = torch.float32 if TINY and not CUDA else torch.bfloat16
model = build(HALF)
sync()
say(f"model ready, {sum(p.numel() for p in model.parameters()) / 1e9:.2f} G parameters, {model.config.hidden_act}")
said = {}


@section("flash")
def flash_section():
    """FlashCache against EvenCache, the same random rows: prompts, a step, a step after rows were dropped."""
    if not CUDA:
        return say("no GPU")
    rows, extra, generator = [70, 33, 1, 129, 64], 4, torch.Generator(DEVICE).manual_seed(0)
    config, total = model.config, sum([70, 33, 1, 129, 64])
    caches = [
        FlashCache(config, 6, total + 7 * extra, DEVICE, torch.bfloat16), EvenCache(config, 6, 6 * 133, DEVICE, torch.bfloat16)
    ]  # fmt: skip

    def both(shape_length, rows_now):
        q, k, v = (
            torch.randn(rows_now, heads, shape_length, config.head_dim, device=DEVICE, generator=generator).to(torch.bfloat16)
            for heads in (config.num_attention_heads, 1, 1)
        )
        a, b = (cache.attend(0, q, k, v, 0.0625) for cache in caches)
        return ((a.float() - b.float()).norm() / b.float().norm()).item()

    for cache in caches:
        starts = cache.place([n + extra for n in rows], extra)
        cache.begin_prompts(starts, rows)
    say(f"CHECK prompts: relative difference {both(total, 1):.1e}")
    used = torch.tensor([*rows, 0], device=DEVICE)  # the sixth row only fills the batch
    for name, keep in (("step", None), ("step after dropping", [0, 3, 4])):
        if keep:
            for cache in caches:
                cache.keep(keep)
            used = torch.tensor([used[i] for i in keep], device=DEVICE)
        used = used + 1
        for cache in caches:
            cache.begin_step(used.to(torch.int32), 133)
        say(f"CHECK {name}: relative difference {both(1, len(used)):.1e}")


@section("hf")
def hf_section():
    for size in (64, len(prompts)):
        for _ in range(2):
            sync()
            start = time.perf_counter()
            said[f"hf {size}"] = hf(model, prompts, size)
            sync()
            seconds = time.perf_counter() - start
        peak = torch.cuda.max_memory_allocated() / 2**30 if CUDA else 0
        say(f"RESULT transformers generate, batch {size:<4d}       {seconds:6.3f} s  {len(prompts) * NEW / seconds:6.0f} tok/s  peak {peak:.1f} GiB")
        clean()


@section("engine")
def engine_section():
    """Batches as the worker deals them, and all rows at once."""
    size = ON_GPU if CUDA else 8
    said["dealt"] = measure(f"engine, batches of {size}", model, size)
    said["whole"] = measure(f"engine, one batch of {ROWS}", model, ROWS)
    reference = said.get("hf 64")
    compare("bf16, engine against hf batch 64", said["dealt"], reference)
    compare("bf16, one batch against hf batch 64", said["whole"], reference)
    compare("bf16, batches against one batch", said["dealt"], said["whole"])
    compare("bf16, the same again", measure("engine, again", model, size, repeats=1), said["dealt"])
    tokens = [token for row in said["dealt"] for token in row]
    say(f"distinct tokens said: {len(set(tokens))} of {len(tokens)}")


@section("ends")
def ends_section():
    """Rows that end as summaries do (mean 30 tokens, limit 96)."""
    limit = 12 if TINY else 96
    dice = random.Random(0)
    Ends.limits = {tuple(p): min(limit, max(3, round(dice.lognormvariate(3.3, 0.45)))) for p in prompts}
    measure("ends, batches", model, ON_GPU if CUDA else 8, repeats=2, kind=Ends, max_new_tokens=limit)


@section("mbr")
def mbr_section():
    """Candidates that run to the limit (the worst case), and that end as summaries do."""
    size = ON_GPU if CUDA else 8
    Ends.limits = dict.fromkeys(map(tuple, prompts), NEW)
    dice = random.Random(0)
    for candidates in (2, 3) if TINY else (16, 32):
        # random weights have flat probabilities: epsilon 0.02 would leave the best token alone
        measure(f"mbr {candidates}, to the limit", model, size, repeats=1, candidates=candidates, epsilon=0.0)
        limit = 12 if TINY else 96
        Ends.limits = {tuple(p): min(limit, max(3, round(dice.lognormvariate(3.3, 0.45)))) for p in prompts}
        measure(f"mbr {candidates}, ends", model, size, repeats=1, kind=Ends, candidates=candidates, epsilon=0.0, max_new_tokens=limit)


@section("parity")
def parity_section():
    """fp32: rows equal to plain greedy generate, and how close the call was where they differ."""
    some = prompts[:: max(1, len(prompts) // 128)][:128]
    exact = build(HALF).float()
    start = time.perf_counter()
    wanted = hf(exact, some, 16)
    say(f"transformers in fp32: {time.perf_counter() - start:.1f} s")
    for name, options in {"graphs": {}, "no graphs": {"graphs": False}}.items() if CUDA else {"no graphs": {}}.items():
        found = Decoder(exact, STOP, *shape(some), NEW, **options).decode(some)[0]
        compare(f"fp32, {name}, {len(some)} rows", found, wanted)
        for prompt, a, b in zip(some, found, wanted, strict=True):
            if a != b:
                at = next(i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
                with torch.inference_mode():
                    logits = exact(torch.tensor([prompt + b[:at]], device=DEVICE), use_cache=False, logits_to_keep=1).logits[0, -1]
                top = logits.topk(2).values
                say(f"  differs at token {at}, gap of the two best {(top[0] - top[1]).item():.2e}")
        clean()


@section("stage")
def stage_section():
    """The stage function with its real processes: one GPU, all GPUs; bytes compared."""
    from artifacts.manifest import Made
    from artifacts.schemas import FORMATTED_EVAL, write_table
    from artifacts.store import Store
    from tasks.events import Silent
    from tasks.generate import generate
    from tasks.hardware import visible_gpus
    from tasks.stage import Artifact, Context

    folder = Path(tempfile.mkdtemp())
    os.environ["DIALOGSUM_STORE"] = str(folder / "store")
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    (folder / "rows").mkdir()
    write_table([{"id": f"test_{i}", "prompt": text} for i, text in enumerate(texts)], FORMATTED_EVAL, folder / "rows" / "test.parquet")
    manifest = Store.current().publish(
        folder / "rows", stage="format", of=None, name="made", key="0" * 64, rows=len(texts), identity={}, inputs={}, facts={},
        made=Made(at="2026-01-01T00:00:00", seconds=0, run="bench"),
    )  # fmt: skip
    rows = Artifact(Store.current().payload(manifest.path), manifest)
    say(f"{visible_gpus()} GPUs are visible")
    found = {}
    for candidates in (1, 2) if TINY else (1, 16):
        for gpus in (1, 2) if visible_gpus() > 1 or not CUDA else (1,):
            for name in ("work", "out"):
                shutil.rmtree(folder / name, ignore_errors=True)
                (folder / name).mkdir()
            spec = GenerateSpec(
                model=ResolvedModel(revision="0" * 64, location=str(folder / "model"), origin="bench"), turns="gemma",
                generate=GenerateConfig(max_new_tokens=NEW, candidates=candidates, epsilon=0.0),
            )  # fmt: skip
            start = time.perf_counter()
            runtime = Runtime(gpus=gpus, generate_batch_size=None if CUDA else 8)
            done = generate(spec, Context(folder / "out", folder / "work", runtime, Silent()), rows)
            seconds = time.perf_counter() - start
            found[candidates, gpus] = (folder / "out" / "predictions.parquet").read_bytes()
            say(f"RESULT stage, {candidates} candidates, {gpus} processes: {seconds:.2f} s in all; {done.measured} {done.facts}")
        if (candidates, 2) in found:
            say(f"PARITY 1 and 2 processes, {candidates} candidates: bytes equal: {found[candidates, 1] == found[candidates, 2]}")
    shutil.rmtree(folder)


say("done")
