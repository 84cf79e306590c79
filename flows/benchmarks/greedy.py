"""bench greedy: our decoder compared with transformers' greedy `generate`: texts and ROUGE, in fp32 and bf16.

In half precision two correct decoders differ where two tokens have nearly the same logit. `generate` differs from
itself when its batches are cut in another way. So it takes part with two batch sizes: the second row shows how large a
harmless difference is. All texts are compared with fp32 as well.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from artifacts.errors import RequestError
from flows.benchmarks.child_process import child_main
from flows.benchmarks.environment import BenchmarkSettings, benchmark_run

REFERENCE = "generate, batch 64"
"""Decoder with which all are compared."""
PEERS = {REFERENCE: 64, "generate, batch 16": 16}
"""Name -> batch size of transformers' `generate`."""
Texts = dict[str, list[str]]
"""Decoder -> its summaries, in the order of the prompts."""


def bench_greedy(settings: BenchmarkSettings, limit: int, new_tokens: int) -> tuple[list[dict[str, Any]], str]:
    """Summarize `limit` test dialogues. Returns a row for each precision and decoder, and a remark."""
    greedy = ("generate.candidates=1", "generate.beams=1")
    overrides = (*greedy, f"generate.limit={limit}", f"generate.max_new_tokens={new_tokens}", "train.limit=1")
    summaries: dict[str, Texts] = {}
    with benchmark_run(replace(settings, real=settings.model is None)) as run:
        facts, rows = run.prepare(*overrides)
        for dtype in ("float32", "bfloat16"):
            result = run.run_system(dtype, "greedy", *overrides, dtype=dtype, rows=str(rows), model=facts["model"])
            if "failed" in result:
                raise RequestError(f"no comparison in {dtype}: {result['failed']}")
            summaries[dtype] = result["summaries"]
        references = json.loads(rows.read_text())["references"]
    return compare_decoders(summaries, references), (
        f"{facts['prompts']} test dialogues, at most {new_tokens} new tokens. Same: texts equal to those of "
        f"`{REFERENCE}`; same as fp32: equal to those of its fp32 row. ROUGE: F1 x 100, mean over references. "
        f"Difference: the largest of the three ROUGE differences to `{REFERENCE}`; to fp32: to its fp32 row."
    )


def measure(config: dict[str, Any]) -> dict[str, Any]:
    """Decode the same rows with every decoder and one loaded model. `generate` runs before ours changes the model."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from flows.recipe import load_recipe
    from tasks.decoding.batching import batch_size, make_batches
    from tasks.decoding.engine import Engine
    from tasks.models.loading import pick_device

    recipe, rows = load_recipe(config["recipe"], config["overrides"]), json.loads(Path(config["rows"]).read_text())
    device, prompts, stop = pick_device(recipe.runtime.device), rows["test"], rows["stop_id"]
    limit = recipe.generate.max_new_tokens
    tokenizer: Any = AutoTokenizer.from_pretrained(config["model"])
    model: Any = AutoModelForCausalLM.from_pretrained(config["model"], dtype=getattr(torch, config["dtype"]))
    model = model.to(device).eval()
    summaries = {name: _generate(model, tokenizer, stop, prompts, limit, size) for name, size in PEERS.items()}
    engine = Engine(model, tokenizer, stop, recipe.decoding)
    if not engine.native:
        raise RuntimeError(
            f"{model.config.model_type} is decoded by transformers' generate: there is nothing to compare"
        )
    numbered = [(str(i), ids) for i, ids in enumerate(prompts)]
    batches = make_batches(numbered, batch_size(recipe.runtime, device.type, recipe.generate.candidates))
    predictions = [row for batch in batches for row in engine.predict(batch)]
    summaries["ours"] = [row["prediction"] for row in sorted(predictions, key=lambda row: int(row["id"]))]
    return {"summaries": summaries}


def _generate(model: Any, tokenizer: Any, stop: int, prompts: list[list[int]], limit: int, size: int) -> list[str]:
    """Texts of greedy `generate` in batches of `size`, left-padded, longest first; in the prompts' order."""
    import torch

    texts = [""] * len(prompts)
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    for batch in (order[start : start + size] for start in range(0, len(order), size)):
        width = len(prompts[batch[0]])
        ids = torch.tensor([[pad] * (width - len(prompts[i])) + prompts[i] for i in batch], device=model.device)
        mask = torch.tensor(
            [[0] * (width - len(prompts[i])) + [1] * len(prompts[i]) for i in batch], device=model.device
        )
        with torch.no_grad():
            output = model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=limit,
                do_sample=False,
                eos_token_id=stop,
                pad_token_id=pad,
            )
        for i, row in zip(batch, output[:, width:].tolist(), strict=True):
            completion = row[: row.index(stop)] if stop in row else row
            texts[i] = tokenizer.decode(completion, skip_special_tokens=True).strip()
    return texts


def compare_decoders(summaries: dict[str, Texts], references: list[list[str]]) -> list[dict[str, Any]]:
    """A row for each precision and decoder: equal texts and largest ROUGE difference, to `REFERENCE` here and in fp32.

    Args:
        summaries: precision -> decoder -> texts.
        references: of each row.
    """
    scores = {dtype: rouge(texts, references) for dtype, texts in summaries.items()}
    exact, exact_scores = summaries["float32"][REFERENCE], scores["float32"][REFERENCE]
    table = []
    for dtype, decoders in summaries.items():
        for name, texts in decoders.items():
            own = scores[dtype][name]
            columns = zip(("ROUGE-1", "ROUGE-2", "ROUGE-L"), own, strict=True)
            row: dict[str, Any] = {"precision": dtype, "decoder": name, "rows": len(texts)}
            row |= {"same": _equal(texts, decoders[REFERENCE]), "same as fp32": _equal(texts, exact)}
            row |= {column: round(score, 2) for column, score in columns}
            row |= {"difference": _largest_difference(own, scores[dtype][REFERENCE])}
            table.append(row | {"to fp32": _largest_difference(own, exact_scores)})
    return table


def rouge(texts: Texts, references: list[list[str]]) -> dict[str, list[float]]:
    """ROUGE-1, ROUGE-2 and ROUGE-L of each decoder, F1 x 100."""
    from tasks.metrics.protocols import F1, score_under_all_protocols
    from tasks.metrics.score_table import HEADLINE_PROTOCOL, ROUGE_TYPES

    types = [ROUGE_TYPES.index(each) for each in ("rouge1", "rouge2", "rougeL")]
    scores = score_under_all_protocols(texts, references)[HEADLINE_PROTOCOL]
    return {name: (100 * scores[name][:, types, F1].mean(axis=0)).tolist() for name in texts}


def _equal(texts: list[str], others: list[str]) -> int:
    return sum(a == b for a, b in zip(texts, others, strict=True))


def _largest_difference(scores: list[float], others: list[float]) -> float:
    return round(max(abs(a - b) for a, b in zip(scores, others, strict=True)), 2)


if __name__ == "__main__":
    child_main(measure)
