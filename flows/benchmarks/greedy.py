"""bench greedy: does our decoder say what transformers' greedy `generate` says? Texts and ROUGE of both, in each precision.

In half precision two correct decoders part wherever two tokens score nearly alike: `generate` itself does when its batches
are cut otherwise. So it takes part twice, the second row shows how far apart is no fault, and all are held against fp32.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from artifacts.errors import RequestError
from flows.benchmarks.child_process import be_child
from flows.benchmarks.environment import Asked, running

PLAIN = "generate, 64 at once"
"""What all are compared with."""
PEERS = {PLAIN: 64, "generate, 16 at once": 16}
"""Rows that transformers' `generate` takes at once."""


def bench_greedy(asked: Asked, limit: int, new_tokens: int) -> tuple[list[dict[str, Any]], str]:
    """Summaries of `limit` test dialogues, up to their stop token; returns a row a precision and decoder, and a remark."""
    greedy = ("generate.candidates=1", "generate.beams=1")
    overrides = (*greedy, f"generate.limit={limit}", f"generate.max_new_tokens={new_tokens}", "train.limit=1")
    said: dict[str, dict[str, list[str]]] = {}
    with running(replace(asked, real=asked.model is None)) as run:
        facts, rows = run.prepare(*overrides)
        for dtype in ("float32", "bfloat16"):
            found = run.tried(dtype, "greedy", *overrides, dtype=dtype, rows=str(rows), model=facts["model"])
            if "failed" in found:
                raise RequestError(f"no comparison in {dtype}: {found['failed']}")
            said[dtype] = found["said"]
        references = json.loads(rows.read_text())["references"]
    return compared(said, references), (
        f"{facts['prompts']} test dialogues, {new_tokens} new tokens at most. Same: texts equal to those of `{PLAIN}`; as fp32: "
        "to what it says in fp32. ROUGE F1 x 100, mean over references; apart: the largest of the three differences to "
        f"`{PLAIN}`, from fp32: to that in fp32."
    )


def work(config: dict[str, Any]) -> dict[str, Any]:
    """Decode the same rows by every decoder with one loaded model: `generate` first, before ours has touched the model."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from flows.recipe import load_recipe
    from tasks.decoding.batching import batch_size, deal
    from tasks.decoding.engine import Engine
    from tasks.models.loading import pick_device

    recipe, given = load_recipe(config["recipe"], config["overrides"]), json.loads(Path(config["rows"]).read_text())
    device, prompts, stop = pick_device(recipe.runtime.device), given["test"], given["stop_id"]
    tokenizer: Any = AutoTokenizer.from_pretrained(config["model"])
    model: Any = AutoModelForCausalLM.from_pretrained(config["model"], dtype=getattr(torch, config["dtype"]))
    model = model.to(device).eval()
    said = {name: _generated(model, tokenizer, stop, prompts, recipe.generate.max_new_tokens, size) for name, size in PEERS.items()}  # fmt: skip
    engine = Engine(model, tokenizer, stop, recipe.generate)
    if not engine.own:
        raise RuntimeError(
            f"{model.config.model_type} is decoded by transformers' generate: there is nothing to compare"
        )
    rows = [(str(i), ids) for i, ids in enumerate(prompts)]
    ours = [row for batch in deal(rows, batch_size(recipe.runtime, device.type)) for row in engine.predict(batch)]
    said["ours"] = [row["prediction"] for row in sorted(ours, key=lambda row: int(row["id"]))]
    return {"said": said}


def _generated(model: Any, tokenizer: Any, stop: int, prompts: list[list[int]], new: int, size: int) -> list[str]:
    """Texts of plain greedy `generate`, left-padded, longest first, in the order of the prompts."""
    import torch

    texts = [""] * len(prompts)
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    for some in (order[start : start + size] for start in range(0, len(order), size)):
        width = len(prompts[some[0]])
        ids = torch.tensor([[pad] * (width - len(prompts[i])) + prompts[i] for i in some], device=model.device)
        mask = torch.tensor(
            [[0] * (width - len(prompts[i])) + [1] * len(prompts[i]) for i in some], device=model.device
        )
        with torch.no_grad():
            made = model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=new, do_sample=False, eos_token_id=stop, pad_token_id=pad
            )  # fmt: skip
        for i, row in zip(some, made[:, width:].tolist(), strict=True):
            bare = row[: row.index(stop)] if stop in row else row
            texts[i] = tokenizer.decode(bare, skip_special_tokens=True).strip()
    return texts


def compared(said: dict[str, dict[str, list[str]]], references: list[list[str]]) -> list[dict[str, Any]]:
    """`said[precision][decoder]` -> a row each: texts like those of `PLAIN`, here and in fp32, and how far ROUGE is from theirs."""
    points = {dtype: _points(texts, references) for dtype, texts in said.items()}
    table = []
    exact, exact_points = said["float32"][PLAIN], points["float32"][PLAIN]
    for dtype, spoken in said.items():
        plain, plain_points = spoken[PLAIN], points[dtype][PLAIN]
        for name, texts in spoken.items():
            found = points[dtype][name]
            table.append(
                {"precision": dtype, "decoder": name, "rows": len(texts), "same": _equal(texts, plain), "as fp32": _equal(texts, exact)}
                | {column: round(point, 2) for column, point in zip(("ROUGE-1", "ROUGE-2", "ROUGE-L"), found, strict=True)}
                | {"apart": _apart(found, plain_points), "from fp32": _apart(found, exact_points)}
            )  # fmt: skip
    return table


def _points(texts: dict[str, list[str]], references: list[list[str]]) -> dict[str, list[float]]:
    """ROUGE-1, 2, L of each decoder, F1 x 100."""
    from tasks.metrics.protocols import F1, score_under_all_protocols
    from tasks.metrics.score_table import HEADLINE_PROTOCOL, ROUGE_TYPES

    kinds = [ROUGE_TYPES.index(kind) for kind in ("rouge1", "rouge2", "rougeL")]
    scores = score_under_all_protocols(texts, references)[HEADLINE_PROTOCOL]
    return {name: (100 * scores[name][:, kinds, F1].mean(axis=0)).tolist() for name in texts}


def _equal(some: list[str], others: list[str]) -> int:
    return sum(a == b for a, b in zip(some, others, strict=True))


def _apart(some: list[float], others: list[float]) -> float:
    return round(max(abs(a - b) for a, b in zip(some, others, strict=True)), 2)


if __name__ == "__main__":
    be_child(work)
