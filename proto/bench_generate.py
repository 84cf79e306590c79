#!/usr/bin/env python3
"""Generation on one GPU: transformers' generate against tasks/decoder.py, side by side, with parity and profiles.

    GPU_FILES=/path python proto/bench_generate.py [--tiny] [--only flash,hf,decoder,ends,parity,profile]

Gemma-2B's exact shape with random weights, the 500 DialogSum test dialogues in the real prompt. $GPU_FILES holds
gemma-tokenizer/ and dialogsum/. --tiny runs every section on the CPU with a tiny model.
"""

import argparse
import csv
import gc
import os
import random
import statistics
import sys
import time
import traceback
from contextlib import nullcontext
from pathlib import Path

START = time.perf_counter()
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
from transformers import AutoTokenizer, GemmaConfig, GemmaForCausalLM, GenerationConfig
from transformers.utils import logging

from tasks.decoder import Decoder
from tasks.flash_cache import FlashCache
from tasks.kv_cache import EvenCache
from tasks.turns import TurnEncoder

logging.set_verbosity_error()
arguments = argparse.ArgumentParser()
arguments.add_argument("--tiny", action="store_true")
arguments.add_argument("--only", default="flash,hf,decoder,ends,parity,profile")
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
    files = Path(os.environ.get("GPU_FILES", ROOT.parent / "shared"))
    tokenizer = next(p for p in (files / "gemma-tokenizer", files / "models" / "gemma-tokenizer") if p.is_dir())
    data = next(p for p in (files / "dialogsum", files / "data" / "dialogsum") if p.is_dir())
    with (data / "test.csv").open(newline="", encoding="utf-8") as f:
        dialogues = list(dict.fromkeys(row["dialogue"] for row in csv.DictReader(f)))[:ROWS]
    encoder = TurnEncoder(AutoTokenizer.from_pretrained(tokenizer), "gemma")
    ask = "Summarize the following dialogue in one or two sentences.\n\n"
    return sorted(encoder.prompts([ask + text for text in dialogues], 2048)[0], key=len, reverse=True)


def dealt(prompts, size):
    """Batches of equal size with the same mixture of lengths, longest first: what a worker on a GPU would plan."""
    count = -(-len(prompts) // size)
    return [prompts[start::count] for start in range(count)]


class Timed(Decoder):
    """Prefill and decode timed apart (which makes the GPU wait once more a batch)."""

    def _read(self, prompts):
        sync()
        start = time.perf_counter()
        super()._read(prompts)
        sync()
        self.reading = getattr(self, "reading", 0.0) + time.perf_counter() - start

    def _speak(self, rows, longest):
        start = time.perf_counter()
        found = super()._speak(rows, longest)
        sync()
        self.speaking = getattr(self, "speaking", 0.0) + time.perf_counter() - start
        return found


class Ends(Timed):
    """Rows end where `limits` says: random weights do not."""

    def _note(self, rows):
        super()._note(rows)
        self.alive[:rows] &= self.limits[:rows] > self.column

    def _keep(self, rows):
        super()._keep(rows)
        self.limits[: len(rows)] = self.limits[torch.tensor(rows, device=DEVICE)]


def make(model, batches, new=NEW, kind=Timed, **options):
    return kind(
        model, STOP, max(map(len, batches)), max(sum(map(len, b)) for b in batches), max(len(p) for b in batches for p in b), new,
        **options,
    )  # fmt: skip


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


def fusing(model, wanted):
    if not wanted:
        return nullcontext()
    from tasks.fused_layers import fused

    return fused(model)


def measure(name, model, size, fuse=False, repeats=2, **options):
    """One variant of the decoder over all prompts; returns what it said, in the order of `prompts`."""
    try:
        clean()
        batches = dealt(prompts, size)
        with fusing(model, fuse):
            start = time.perf_counter()
            decoder = make(model, batches, **options)
            decoder.warm_up()
            sync()
            warm, start = time.perf_counter() - start, time.perf_counter()
            said = [decoder.decode(batch) for batch in batches]
            sync()
            first = time.perf_counter() - start
            for _ in range(repeats):
                decoder.reading = decoder.speaking = 0.0
                start = time.perf_counter()
                said = [decoder.decode(batch) for batch in batches]
                sync()
                seconds = time.perf_counter() - start
        steps = len(batches) * (NEW - 1)
        peak = torch.cuda.max_memory_allocated() / 2**30 if CUDA else 0
        say(
            f"RESULT {name:34s} {seconds:6.3f} s  prefill {decoder.reading:.3f}  decode {decoder.speaking:.3f} "
            f"({1e3 * decoder.speaking / steps:.2f} ms/step)  {len(prompts) * NEW / seconds:6.0f} tok/s  "
            f"warm-up {warm:.2f}  first pass {first:.3f}  peak {peak:.1f} GiB  {type(decoder.cache).__name__}"
        )
        found = [None] * len(prompts)
        for index, part in enumerate(said):
            found[index :: len(batches)] = part
        return found
    except Exception:
        say(f"FAILED {name}")
        traceback.print_exc()
        sys.stderr.flush()
        return None


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
                cache.keep(torch.tensor(keep, device=DEVICE))
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


@section("decoder")
def decoder_section():
    whole, half, quarter = ROWS, ROWS // 2, ROWS // 4
    said["plain 500"] = measure("decoder 500", model, whole)
    said["plain 250"] = measure("decoder 250", model, half)
    if CUDA:
        measure("decoder 500, no graph", model, whole, graphs=False, repeats=1)
        said["fused 500"] = measure("decoder 500, fused layers", model, whole, fuse=True)
        said["fused 250"] = measure("decoder 250, fused layers", model, half, fuse=True)
        measure("decoder 125, fused layers", model, quarter, fuse=True)
        import tasks.decoder as module

        for tokens in (8_192, 32_768):
            module.PROMPT_TOKENS["cuda"] = tokens
            measure(f"decoder 500, fused, prompts {tokens}", model, whole, fuse=True, repeats=1)
        module.PROMPT_TOKENS["cuda"] = 16_384
    reference = said.get("hf 64")
    if f"hf {len(prompts)}" in said:
        compare("bf16, hf batch 500 against hf batch 64", said[f"hf {len(prompts)}"], reference)
    for name in ("plain 500", "plain 250", "fused 500", "fused 250"):
        compare(f"bf16, {name} against hf batch 64", said.get(name), reference)
    compare("bf16, decoder 250 against 500", said.get("plain 250"), said.get("plain 500"))
    tokens = [token for row in said["plain 500"] or [] for token in row]
    say(f"distinct tokens said: {len(set(tokens))} of {len(tokens)}")


@section("ends")
def ends_section():
    """Rows that end as summaries do (mean 30 tokens, limit 96), dropped or not."""
    limit = 12 if TINY else 96
    dice = random.Random(0)
    limits = [min(limit, max(3, round(dice.lognormvariate(3.3, 0.45)))) for _ in prompts]
    for size in (ROWS, ROWS // 2):
        for shrink in (False, True):
            for fuse in (False, True) if CUDA else (False,):
                clean()
                batches = dealt(prompts, size)
                ends = [limits[start :: len(batches)] for start in range(len(batches))]
                with fusing(model, fuse):
                    decoder = make(model, batches, new=limit, kind=Ends, shrink=shrink)
                    decoder.limits = torch.full((len(batches[0]),), 0, device=DEVICE)
                    decoder.warm_up()
                    times = []
                    for _ in range(3):
                        decoder.reading = decoder.speaking = 0.0
                        start = time.perf_counter()
                        for batch, end in zip(batches, ends, strict=True):
                            decoder.limits.zero_()
                            decoder.limits[: len(end)] = torch.tensor(end, device=DEVICE)
                            decoder.decode(batch)
                        sync()
                        times.append((time.perf_counter() - start, decoder.reading, decoder.speaking))
                first, last = times[0][0], times[-1]
                say(
                    f"RESULT ends, batch {size}, shrink {shrink!s:5}, fused {fuse!s:5}: {last[0]:.3f} s (prefill {last[1]:.3f}, "
                    f"decode {last[2]:.3f}); first pass, graphs made on the way: {first:.3f}"
                )
                del decoder


@section("parity")
def parity_section():
    """fp32: rows equal to plain greedy generate, and how close the call was where they differ."""
    some = prompts[:: max(1, len(prompts) // 128)][:128]
    exact = build(HALF).float()
    start = time.perf_counter()
    wanted = hf(exact, some, 16)
    say(f"transformers in fp32: {time.perf_counter() - start:.1f} s")
    for name, options in {"graphs": {}, "no graphs": {"graphs": False}}.items() if CUDA else {"no graphs": {}}.items():
        found = make(exact, [some], **options).decode(some)
        compare(f"fp32, {name}, {len(some)} rows", found, wanted)
        for prompt, a, b in zip(some, found, wanted, strict=True):
            if a != b:
                at = next(i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
                with torch.inference_mode():
                    logits = exact(torch.tensor([prompt + b[:at]], device=DEVICE), use_cache=False, logits_to_keep=1).logits[0, -1]
                top = logits.topk(2).values
                say(f"  differs at token {at}, gap of the two best {(top[0] - top[1]).item():.2e}")
        clean()


@section("profile")
def profile_section():
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CUDA] if CUDA else [ProfilerActivity.CPU]

    def show(title, prof, times):
        entries = sorted(prof.key_averages(), key=lambda e: -(e.self_device_time_total if CUDA else e.self_cpu_time_total))
        total = sum(e.self_device_time_total if CUDA else e.self_cpu_time_total for e in entries)
        say(f"PROFILE {title}: {total / times / 1e3:.3f} ms, {sum(e.count for e in entries) / times:.0f} kernels each")
        for e in entries[:15]:
            spent = e.self_device_time_total if CUDA else e.self_cpu_time_total
            print(f"    {spent / times / 1e3:9.3f} ms {e.count / times:7.1f} x  {e.key[:110]}", flush=True)

    for fuse in (False, True) if CUDA else (False,):
        with fusing(model, fuse), torch.inference_mode():
            batches = dealt(prompts, ROWS)
            decoder = make(model, batches, kind=Decoder)
            decoder.warm_up()
            decoder.decode(prompts)
            part = slice(0, 40)
            with decoder._attention():
                with profile(activities=activities) as prof:
                    decoder._read(prompts[part])
                    sync()
                show(f"prefill of {sum(map(len, prompts[part]))} tokens, fused {fuse}", prof, 1)
                decoder._read(prompts)
                sync()
                with profile(activities=activities) as prof:
                    for _ in range(4):
                        decoder._replay(ROWS) if CUDA else decoder._step(ROWS, decoder.width)
                    sync()
                show(f"decode step of {ROWS} rows, fused {fuse}", prof, 4)
            del decoder
            clean()


say("done")
