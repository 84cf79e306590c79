"""The process of the probe: scores every reference and corruption behind the dialogue's prompt.

python -m tasks.probing.worker CONFIG.json        (tasks/probe.py writes CONFIG.json)
"""

import time
from collections import defaultdict
from typing import Any

import torch

from artifacts.schemas import FORMATTED_EVAL, read_table, write_table
from tasks.metrics.probe_table import LIKELIHOODS, PAIRS
from tasks.models.adapter_merging import load_merged_model
from tasks.models.chat_template import TurnEncoder
from tasks.models.loading import device_description, load_tokenizer, pick_device
from tasks.probing.likelihood import Question, Scorer, Tree
from tasks.probing.worker_records import ProbeMeasurements, ProbeWorkerConfig
from tasks.workers.cpus import cpu_threads
from tasks.workers.events import Events
from tasks.workers.worker_main import worker_main

NO_LIMIT = 10**9


def run(config: ProbeWorkerConfig, events: Events) -> ProbeMeasurements:
    """Write a row of LIKELIHOODS for each pair."""
    spec, runtime = config.spec, config.runtime
    device = pick_device(runtime.device)
    if device.type == "cpu":
        torch.set_num_threads(cpu_threads(runtime.threads, 1))
    started = time.perf_counter()
    pairs = read_table(config.pairs, PAIRS)
    events.progress(0, len({pair["id"] for pair in pairs}), "loading the model")
    tokenizer = load_tokenizer(spec.model)
    encoder = TurnEncoder(tokenizer, spec.turns)
    prompts = {row["id"]: row["prompt"] for row in read_table(config.rows / "prompts.parquet", FORMATTED_EVAL)}
    questions, texts = _questions(pairs, prompts, encoder, spec.max_prompt_tokens)
    scorer = Scorer(load_merged_model(spec.model, config.adapter, device, spec.quantization))
    loaded = time.perf_counter()
    sums: dict[tuple[str, str], float] = {}
    for done, (question, values) in enumerate(scorer.score(questions), 1):
        sums |= {(question.id, text): value for text, value in zip(texts[question.id], values, strict=True)}
        if done % 16 == 0 or done == len(questions):
            events.progress(done, len(questions), f"{done / (time.perf_counter() - loaded):.1f} dialogues/s")
    lengths = {
        (question.id, text): len(ids)
        for question in questions
        for text, ids in zip(texts[question.id], question.texts, strict=True)
    }
    write_table([pair | _scores(pair, sums, lengths) for pair in pairs], LIKELIHOODS, config.out)
    return ProbeMeasurements(
        device=device_description(device),
        dtype=str(scorer.model.dtype).removeprefix("torch."),
        loading_seconds=round(loaded - started, 2),
        scoring_seconds=round(time.perf_counter() - loaded, 2),
        tokens=sum(len(Tree.of(question).ids) for question in questions),
        halved=scorer.halved,
        peak_gib=round(torch.cuda.max_memory_allocated() / 2**30, 2) if device.type == "cuda" else None,
    )


def _questions(
    pairs: list[dict[str, Any]], prompts: dict[str, str], encoder: TurnEncoder, max_prompt_tokens: int
) -> tuple[list[Question], dict[str, list[str]]]:
    """The prompt of each dialogue with the ids of its texts, and these texts."""
    texts: dict[str, dict[str, None]] = defaultdict(dict)
    for pair in pairs:
        texts[pair["id"]] |= {pair["reference"]: None, pair["corruption"]: None}
    encoded, _ = encoder.prompts([prompts[name] for name in texts], max_prompt_tokens)
    questions = [
        Question(name, ids, _completions(list(of_dialogue), encoder))
        for (name, of_dialogue), ids in zip(texts.items(), encoded, strict=True)
    ]
    return questions, {name: list(of_dialogue) for name, of_dialogue in texts.items()}


def _completions(texts: list[str], encoder: TurnEncoder) -> list[list[int]]:
    """The ids of each text as training has them behind a prompt, without the stop token."""
    rows = encoder.rows([""] * len(texts), texts, NO_LIMIT, stop=False).rows
    return [ids[start:] for ids, start in rows]


def _scores(
    pair: dict[str, Any], sums: dict[tuple[str, str], float], lengths: dict[tuple[str, str], int]
) -> dict[str, Any]:
    reference, corruption = (pair["id"], pair["reference"]), (pair["id"], pair["corruption"])
    return {
        "logp_reference": sums[reference],
        "logp_corruption": sums[corruption],
        "tokens_reference": lengths[reference],
        "tokens_corruption": lengths[corruption],
    }


def main() -> None:
    """Run as a worker process."""
    worker_main(run, ProbeWorkerConfig)


if __name__ == "__main__":
    main()
