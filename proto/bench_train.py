#!/usr/bin/env python3
"""Training speed of tasks/training on Gemma-2B's shape with random weights, and of transformers + peft beside it.

    PYTHONPATH=. python3 proto/bench_train.py [--variants a,b,…] [--steps 20] [--profile a,b] [--parity 200] [--tiny]
    PYTHONPATH=. python3 proto/bench_train.py --loop plain,graphs,joined,graphs-joined [--steps 60]      the real loop
    PYTHONPATH=. python3 -m accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 \\
        --mixed_precision no --dynamo_backend no proto/bench_train.py --loop plain,graphs                the same, 2 GPUs

Reads $GPU_FILES/dialogsum/train.csv and $GPU_FILES/gemma-tokenizer (else ../shared). One process, one model: each variant
runs for itself, and one that fails does not stop the rest. Tokens count no padding; steps count the optimizer and the
copy of the batch. MFU: 8.55 GFLOP a token over 790 TFLOP/s.
"""

import argparse
import contextlib
import csv
import functools
import gc
import os
import random
import sys
import time
import traceback
from pathlib import Path
from typing import Any

os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from transformers import AttentionInterface, AutoTokenizer, GemmaConfig, GemmaForCausalLM

from tasks.training import model as decoder_module
from tasks.training import pointwise, varlen
from tasks.training.model import Decoder, sites_of, unsupported
from tasks.training.flat_adapter import FlatAdapter
from tasks.training.lora_linear import adapter_order, lora_of
from tasks.training.graphs import GraphedDecoder
from tasks.training.group import Group
from tasks.training.loop import Loop as RealLoop
from tasks.training.loop import Rows
from tasks.training.memory import budget
from tasks.training.pack import IGNORED, Pack, micro_batches, pack, targets

print = functools.partial(print, flush=True)
CUDA = torch.cuda.is_available()
if CUDA:
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
DEVICE = torch.device("cuda" if CUDA else "cpu")
HALF = torch.bfloat16
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def rows_of(count: int) -> list[Any]:
    """Real DialogSum rows with the baselines' template: (ids, labels)."""
    given = os.environ.get("GPU_FILES")
    shared = Path(__file__).resolve().parents[2] / "shared"
    data = Path(given) / "dialogsum" if given else shared / "data" / "dialogsum"
    folder = Path(given) / "gemma-tokenizer" if given else shared / "models" / "gemma-tokenizer"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with (data / "train.csv").open(newline="", encoding="utf-8") as file:
        source = [row for row, _ in zip(csv.DictReader(file), range(count), strict=False)]
    ask = "<bos><start_of_turn>user\nSummarize the following dialogue.\n\n{}<end_of_turn>\n<start_of_turn>model\n"
    asked = tokenizer([ask.format(r["dialogue"]) for r in source], add_special_tokens=False)["input_ids"]
    said = tokenizer([r["summary"] + "<end_of_turn>" for r in source], add_special_tokens=False)["input_ids"]
    return [(a + s, [IGNORED] * len(a) + s) for a, s in zip(asked, said, strict=True)]


def build(tiny: bool) -> Any:
    shape = dict(hidden_size=2048, num_hidden_layers=18, num_attention_heads=8, head_dim=256, intermediate_size=16384)
    if tiny:
        shape = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, head_dim=16, intermediate_size=64)
    config = GemmaConfig(vocab_size=256000, num_key_value_heads=1, **shape)
    torch.manual_seed(0)
    torch.set_default_dtype(HALF)
    with DEVICE:
        base = GemmaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    model = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules=LINEARS, task_type="CAUSAL_LM"))
    return model.train()


def layers_of(model: Any) -> Any:
    return model.get_base_model().model.layers


def to_nf4(model: Any) -> None:
    """The linears' weights in NF4, in place."""
    import bitsandbytes as bnb

    for layer in layers_of(model):
        for module in (m for site in sites_of(layer) for m in site):
            old = module.base_layer
            new = bnb.nn.Linear4bit(old.in_features, old.out_features, bias=False, compute_dtype=HALF, quant_type="nf4")
            new.weight = bnb.nn.Params4bit(old.weight.data.contiguous(), requires_grad=False, quant_type="nf4")
            module.base_layer = new.to(DEVICE)
            assert new.weight.quant_state is not None


# -- what computes the loss of a pack


class Hf:
    """transformers and peft: `padded` rows with a mask, or packed with varlen attention. The head sees labels only."""

    current: Pack

    def __init__(self, model: Any, padded: bool, compiled: bool = False) -> None:
        self.model, self.padded, self.dtype = model, padded, HALF
        self.adapter = FlatAdapter(adapter_order([s for layer in layers_of(model) for s in sites_of(layer)]), torch.float32)
        self.causal = model.get_base_model()
        self.causal.config._attn_implementation = "sdpa" if padded else "packed"
        if compiled:
            for layer in layers_of(model):
                layer.compile(dynamic=True)

    def loss(self, p: Pack) -> torch.Tensor:
        Hf.current = p
        head = self.causal.get_output_embeddings()
        with torch.autocast(DEVICE.type, HALF):
            if self.padded:
                pieces = p.ids.split(p.lengths)
                ids = torch.nn.utils.rnn.pad_sequence(pieces, batch_first=True)
                width = ids.shape[1]
                mask = torch.arange(width, device=ids.device)[None] < torch.tensor(p.lengths, device=ids.device)[:, None]
                hidden = self.causal.model(input_ids=ids, attention_mask=mask.long(), use_cache=False).last_hidden_state
                hidden = hidden[mask]
            else:
                hidden = self.causal.model(
                    input_ids=p.ids[None], position_ids=p.positions[None], use_cache=False
                ).last_hidden_state[0]
            logits = head(hidden[p.picked].to(head.weight.dtype)).float()
        return F.cross_entropy(logits, p.labels, reduction="sum")


def packed_attention(module: Any, q: Any, k: Any, v: Any, mask: Any, **_: Any) -> Any:
    q, k, v = (x[0].transpose(0, 1).to(HALF if CUDA else x.dtype) for x in (q, k, v))
    return decoder_module.attend(q, k, v, Hf.current)[None], None


def repeated(q: Any, k: Any, v: Any, p: Pack) -> Any:
    """Should this torch not share key heads."""
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    return varlen.attend(q, k, v, p)


AttentionInterface.register("packed", packed_attention)
try:
    from transformers import AttentionMaskInterface

    AttentionMaskInterface.register("packed", lambda *a, **k: None)
except ImportError:
    traceback.print_exc()


def engine(model: Any, fused: bool = True, joined: bool = False) -> Decoder:
    assert (why := unsupported(model)) is None, why
    original = pointwise.fuse
    try:
        if not fused:
            pointwise.fuse = lambda function, device: function
        return Decoder(model, HALF if CUDA else torch.float32, joined)
    finally:
        pointwise.fuse = original


VARIANTS = {  # name: (what computes, rows of a step, rows of a micro-batch)
    "engine": (engine, 32, 32),
    "engine-eager": (lambda m: engine(m, False), 32, 32),
    "engine-64": (engine, 64, 64),
    "engine-16": (engine, 16, 16),  # a process's share of 32 on two GPUs
    "engine-2x16": (engine, 32, 16),
    "joined": (lambda m: engine(m, joined=True), 32, 32),
    "graphs": (lambda m: GraphedDecoder(engine(m)), 32, 32),
    "graphs-256": (lambda m: GraphedDecoder(engine(m), 256), 32, 32),
    "graphs-joined": (lambda m: GraphedDecoder(engine(m, joined=True)), 32, 32),
    "graphs-joined-64": (lambda m: GraphedDecoder(engine(m, joined=True)), 64, 64),
    "graphs-16": (lambda m: GraphedDecoder(engine(m), 256), 16, 16),
    "graphs-joined-16": (lambda m: GraphedDecoder(engine(m, joined=True), 256), 16, 16),
    "engine-nf4": (engine, 32, 32),
    "hf-varlen": (lambda m: Hf(m, False), 32, 32),
    "hf-varlen-compiled": (lambda m: Hf(m, False, True), 32, 32),
    "hf-padded": (lambda m: Hf(m, True), 32, 16),
}


class Loop:
    """Optimizer steps without waiting for the device."""

    def __init__(self, model: Any, rate: float = 2e-4) -> None:
        self.model = model
        self.optimizer = torch.optim.AdamW([model.adapter.values], lr=rate, weight_decay=0.0, fused=CUDA)
        self.losses: list[torch.Tensor] = []

    def step(self, rows: list[Any], most_rows: int) -> None:
        count = sum(map(targets, rows))
        total = torch.zeros((), device=DEVICE)
        for group in micro_batches([len(ids) for ids, _ in rows], 1 << 40, most_rows):
            loss = self.model.loss(pack([rows[i] for i in group]).to(DEVICE)) / count
            loss.backward()
            total += loss.detach()
        grads = self.model.adapter.grads
        grads.mul_((1.0 / (grads.norm() + 1e-6)).clamp(max=1.0))
        self.optimizer.step()
        grads.zero_()
        self.model.adapter.refresh()
        self.losses.append(total)


def sync() -> None:
    if CUDA:
        torch.cuda.synchronize()


def clean() -> None:
    gc.collect()
    if CUDA:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def batches(rows: list[Any], size: int, count: int, seed: int = 0) -> list[list[Any]]:
    order = random.Random(seed)
    return [order.sample(rows, size) for _ in range(count)]


def measure(name: str, model: Any, rows: list[Any], steps: int) -> tuple[float, Loop, int]:
    make, size, most = VARIANTS[name]
    clean()
    started = time.perf_counter()
    loop = Loop(make(model))
    todo = batches(rows, size, steps)
    loop.step(max(todo, key=lambda step: sum(len(ids) for ids, _ in step)), most)
    sync()
    first = time.perf_counter() - started
    for step in batches(rows, size, 4, seed=1):
        loop.step(step, most)
    if name.startswith("graphs"):  # each size twice: the second time it is recorded
        for step in todo + todo:
            loop.step(step, most)
    sync()
    warm = time.perf_counter() - started
    started, waits = time.perf_counter(), []
    for step in todo:
        t = time.perf_counter()
        loop.step(step, most)
        waits.append(time.perf_counter() - t)
    issued = time.perf_counter() - started
    sync()
    seconds = time.perf_counter() - started
    tokens = sum(len(ids) for step in todo for ids, _ in step)
    peak = torch.cuda.max_memory_allocated() / 2**30 if CUDA else 0
    held = torch.cuda.max_memory_reserved() / 2**30 if CUDA else 0
    print(
        f"RESULT {name}: {tokens / seconds:,.0f} real tok/s, {steps * size / seconds:.1f} samples/s, "
        f"{seconds / steps * 1e3:.1f} ms a step of {tokens / steps:.0f} tokens, MFU {tokens / seconds * 8.55e9 / 790e12:.1%}, "
        f"peak {peak:.1f} GiB (reserved {held:.1f}), first step {first:.1f} s, warm after {warm:.1f} s, "
        f"issuing took {issued / steps * 1e3:.1f} ms a step (quickest {min(waits) * 1e3:.1f}), last loss {loop.losses[-1].item():.4f}"
    )
    return tokens / seconds, loop, most


def profiled(loop: Loop, most: int, rows: list[Any], size: int) -> None:
    from torch.profiler import ProfilerActivity, profile

    todo = batches(rows, size, 3, seed=2)
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if CUDA else [])
    with profile(activities=activities) as recorded:
        for step in todo:
            loop.step(step, most)
        sync()
    events = [e for e in recorded.key_averages() if str(e.device_type).endswith("CUDA")] if CUDA else list(recorded.key_averages())
    cost = (lambda e: e.self_device_time_total) if CUDA else (lambda e: e.self_cpu_time_total)
    total = sum(map(cost, events))
    tokens = sum(len(ids) for step in todo for ids, _ in step)
    print(f"PROFILE {total / 3e3:.1f} ms of kernels a step of {tokens / 3:.0f} tokens, {sum(e.count for e in events) / 3:.0f} launches")
    for e in sorted(events, key=cost, reverse=True)[:40]:
        print(f"  {cost(e) / total:6.1%} {cost(e) / 3e3:8.2f} ms {e.count / 3:6.0f} x {cost(e) / e.count:8.1f} us  {e.key[:150]}")


def timed(function: Any, repeat: int = 10) -> float:
    """Milliseconds."""
    for _ in range(3):
        function()
    sync()
    started = time.perf_counter()
    for _ in range(repeat):
        function()
    sync()
    return (time.perf_counter() - started) / repeat * 1e3


def products(tokens: int = 9000) -> None:
    """The layer's matrix products alone, and the LoRA ones."""
    def t(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=DEVICE, dtype=HALF) * 0.02

    total = 0.0
    for name, out, inn, r in (("qkv", 2560, 2048, 24), ("o", 2048, 2048, 8), ("gate+up", 32768, 2048, 16), ("down", 2048, 16384, 8)):
        x, w, y, a, b, low = t(tokens, inn), t(out, inn), t(tokens, out), t(r, inn), t(out, 8), t(tokens, r)
        big = 2e-9 * tokens * out * inn
        found = {
            "x W'": timed(lambda: x @ w.t()), "y W": timed(lambda: y @ w), "x A'": timed(lambda: x @ a.t()),
            "y += low B'": timed(lambda: y.addmm_(low[:, :8], b.t(), alpha=2.0)), "y B": timed(lambda: y @ b),
            "low' x": timed(lambda: low.t() @ x), "y' low": timed(lambda: y.t() @ low[:, :8]),
            "x += low A": timed(lambda: x.addmm_(low, a, alpha=2.0)),
        }
        total += sum(found.values())
        print(f"  {name}: " + ", ".join(f"{k} {v:.3f} ms" + (f" ({big / v:.0f} TFLOP/s)" if k in ("x W'", "y W") else "") for k, v in found.items()))
    print(f"  sum of a layer {total:.2f} ms, of 18 layers {18 * total:.1f} ms for {tokens} tokens")


def check_attention(attention: Any = varlen.attend) -> None:
    """varlen attention against each row alone, forward and backward, and its time."""
    lengths, heads, size = ([180, 33, 700, 281] * 8, 8, 256) if CUDA else ([18, 3, 40], 2, 16)
    total = sum(lengths)
    p = Pack(*[torch.zeros(0)] * 2, torch.tensor([0, *lengths]).cumsum(0).int().to(DEVICE), *[torch.zeros(0)] * 2, tuple(lengths))
    print(f"  varlen_attn{__import__('inspect').signature(varlen.varlen_attn)}")
    qkv = [torch.randn(total, h, size, device=DEVICE, dtype=HALF if CUDA else torch.float32).requires_grad_() for h in (heads, 1, 1)]
    grad = torch.randn_like(qkv[0])
    out = attention(*qkv, p)
    found = [out, *torch.autograd.grad(out, qkv, grad)]
    split = zip(*(x.float().transpose(0, 1)[None].split(lengths, 2) for x in qkv), strict=True)
    plain = torch.cat([F.scaled_dot_product_attention(*(y.expand(1, heads, -1, -1) for y in row), is_causal=True) for row in split], 2)[0].transpose(0, 1)
    wanted = [plain, *torch.autograd.grad(plain, qkv, grad.float())]
    print("  relative error of out, dq, dk, dv:", [f"{((a - b).norm() / b.norm()).item():.1e}" for a, b in zip(found, wanted, strict=True)])
    forward = timed(lambda: attention(*qkv, p))
    both = timed(lambda: torch.autograd.grad(attention(*qkv, p), qkv, grad))
    print(f"  {total} tokens, keys {'shared' if attention is varlen.attend else 'repeated'}: forward {forward:.2f} ms, forward and backward {both:.2f} ms")
    assert all((a - b).norm() / b.norm() < 0.03 for a, b in zip(found, wanted, strict=True)), "wrong attention"


def parity(model: Any, rows: list[Any], steps: int) -> None:
    """The same batches and first adapter through peft + transformers (padded, bf16 autocast, fp32 adapter) and the engine."""
    start = {n: p.data.clone() for n, p in model.named_parameters() if p.requires_grad}
    todo, curves = batches(rows, 32, steps, seed=3), {}

    def reset(noise: float) -> None:
        torch.manual_seed(5)
        for n, p in model.named_parameters():
            if p.requires_grad:
                p.data = (start[n] + (noise * torch.randn_like(start[n]) if "lora_B" in n else 0)).clone()
                p.grad = None

    grads = {}
    for name, make in (("engine", engine), ("hf-padded", lambda m: Hf(m, True))):
        clean()
        reset(0.01)
        probe = make(model)
        for group in micro_batches([len(ids) for ids, _ in todo[0]], 1 << 40, 16):
            probe.loss(pack([todo[0][i] for i in group]).to(DEVICE)).backward()
        grads[name] = probe.adapter.grads.clone()
        del probe
        clean()
        reset(0.0)
        loop = Loop(make(model))
        for step in todo:
            loop.step(step, 32 if name == "engine" else 16)
        curves[name] = torch.stack(loop.losses).float().cpu()
        del loop
    a, b = grads.values()
    print(f"PARITY gradients at the first step: cosine {F.cosine_similarity(a, b, 0).item():.5f}, norms {a.norm().item():.4f} {b.norm().item():.4f}")
    ours, theirs = curves.values()
    for at in sorted({0, *range(0, steps, max(1, steps // 10)), steps - 1}):
        print(f"  step {at}: engine {ours[at]:.4f}, hf {theirs[at]:.4f}, {(ours[at] / theirs[at] - 1).item():+.3%}")
    last = slice(-min(20, steps), None)
    worst = (ours / theirs - 1).abs().max().item()
    print(
        f"PARITY {steps} steps: mean of the last {min(20, steps)}: engine {ours[last].mean():.4f}, hf {theirs[last].mean():.4f}, "
        f"{(ours[last].mean() / theirs[last].mean() - 1).item():+.3%}; worst step {worst:.3%}"
    )


class Quiet:
    def progress(self, done: int, total: int, note: str = "") -> None: ...
    def log(self, line: str) -> None:
        print(f"  {line}")


def real_loop(model: Any, rows: list[Any], names: list[str], steps: int, batch: int) -> None:
    """The loop of the worker, with its checkpoints and validation; all processes of the launcher."""
    import tempfile

    from tasks.config import TrainConfig
    from tasks.training.measures import _flops

    group = Group.join("auto")
    start = {n: p.data.clone() for n, p in model.named_parameters() if p.requires_grad}
    data, held = (Rows(part, [str(i) for i in range(len(part))]) for part in (rows[200:], rows[:200]))
    for name in names:
        for n, p in model.named_parameters():
            if p.requires_grad:
                p.data, p.grad = start[n].clone(), None
        clean()
        base = engine(model, joined="joined" in name)
        trained = GraphedDecoder(base, 256 if "256" in name or group.size > 1 else 512) if "graphs" in name else base
        settings = TrainConfig(max_steps=steps, batch_size=batch, learning_rate=2e-4, evaluations=1, seed=1)
        tokens = budget(group.device, model.config, 2, False)
        with tempfile.TemporaryDirectory() as work:
            loop = RealLoop(trained, settings, data, held, group, Quiet(), tokens, None, Path(work), "bench")
            loop.checkpoint_seconds = 5.0
            marks: list[tuple[int, float]] = []
            loop.events.progress = lambda done, total, note="", m=marks: m.append((done, time.perf_counter()))  # type: ignore[method-assign]
            try:
                loop.run()
            except Exception:
                print(f"FAILED loop {name}")
                traceback.print_exc()
                continue
        timing = loop.timing
        late = [(d, t) for d, t in marks if d >= steps // 2 and d < steps]  # the second half: graphs are there
        count = sum(data.lengths[i] for step in range(late[0][0], late[-1][0]) for i in loop.plan.rows(step))
        labelled = sum(data.targets[i] for step in range(late[0][0], late[-1][0]) for i in loop.plan.rows(step))
        speed = count / (late[-1][1] - late[0][1])
        mfu = _flops(model.get_base_model(), count, labelled) / (late[-1][1] - late[0][1]) / (989e12 * group.size)
        if group.rank == 0:
            graphs = len(trained.graphs) if isinstance(trained, GraphedDecoder) else 0
            print(
                f"LOOP {name}, {group.size} processes, {batch} rows a step: {speed:,.0f} real tok/s in the second half, "
                f"{timing.tokens / (timing.training - timing.validation):,.0f} over all {steps} steps, MFU {mfu:.1%} of 989 TFLOP/s, "
                f"warm-up {timing.warm:.1f} s, validation of {len(held.rows)} rows twice {timing.validation:.2f} s, {graphs} graphs, "
                f"budget {tokens} tokens, largest {loop.largest}, peak {torch.cuda.max_memory_allocated() / 2**30 if CUDA else 0:.1f} GiB, "
                f"last loss {loop.progress.curve[-1]['train_loss']:.4f}, validation {loop.progress.curve[-1].get('validation_loss')}"
            )
        del loop, trained, base
    group.leave()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--variants", default=",".join(v for v in VARIANTS if v != "hf-varlen-compiled"))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--parity", type=int, default=0)
    parser.add_argument("--profile", default="", help="variants to profile")
    parser.add_argument("--loop", default="", help="the real loop, with these: plain, graphs, joined, graphs-joined")
    parser.add_argument("--batch", type=int, default=32, help="rows of a step of --loop")
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    started = time.perf_counter()
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name() if CUDA else 'CPU'}, variants {arguments.variants}")
    rows = rows_of(60 if arguments.tiny else 3200)
    if arguments.tiny:
        rows = [(ids[:20] + ids[-20:], labels[:20] + labels[-20:]) for ids, labels in rows]
    print(f"{len(rows)} rows, mean {sum(len(ids) for ids, _ in rows) / len(rows):.0f} tokens, {sum(map(targets, rows)) / len(rows):.0f} of them labelled")

    @contextlib.contextmanager
    def part(name: str) -> Any:
        print(f"== {name} (at {time.perf_counter() - started:.0f} s)")
        try:
            yield
        except Exception:
            print(f"FAILED {name}")
            traceback.print_exc()
            sys.stderr.flush()
            clean()

    model = build(arguments.tiny)
    sync()
    print(f"model built at {time.perf_counter() - started:.0f} s; linears without lora: {sum(lora_of(m) is None for l in layers_of(model) for s in sites_of(l) for m in s)}")
    if arguments.loop:
        rows = rows if not arguments.tiny else rows * 10
        return real_loop(model, rows, arguments.loop.split(","), arguments.steps, arguments.batch)
    shared = False
    with part("attention"):
        check_attention()
        shared = True
    with part("attention with repeated keys"):
        check_attention(repeated)
    if not shared:
        print("NOTE all variants repeat keys")
        decoder_module.attend = repeated
    with part("products"):
        products(9000 if CUDA else 100)
    names = arguments.variants.split(",")
    for name in sorted(names, key=lambda n: n.endswith("nf4")):  # NF4 replaces the weights: last
        if name.endswith("nf4"):
            with part("parity"):
                if arguments.parity:
                    parity(model, rows, arguments.parity)
            arguments.parity = 0
            with part("quantize"):
                to_nf4(model)
        with part(name):
            _, loop, most = measure(name, model, rows, arguments.steps)
            if name in arguments.profile.split(","):
                profiled(loop, most, rows, VARIANTS[name][1])
            del loop
    if arguments.parity:
        with part("parity"):
            parity(model, rows, arguments.parity)
    print(f"done after {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
