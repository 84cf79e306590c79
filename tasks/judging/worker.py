"""The process of the judge: judges its shard of the batches by a classifier and saves each batch.

python -m tasks.judging.worker CONFIG.json        (tasks/judge.py writes CONFIG.json)
"""

import time

import torch

from tasks.judging.batches import batches, finished, save
from tasks.judging.classifier import Classifier
from tasks.judging.worker_records import JudgedTexts, JudgeMeasurements, JudgeWorkerConfig
from tasks.models.loading import device_description, pick_device
from tasks.workers.cpus import cpu_threads
from tasks.workers.events import Events
from tasks.workers.worker_main import worker_main


def run(config: JudgeWorkerConfig, events: Events) -> JudgeMeasurements:
    """Judge the summaries of the shard's batches that are not finished yet."""
    device = pick_device(config.runtime.device)
    if device.type == "cpu":
        torch.set_num_threads(cpu_threads(config.runtime.threads, config.shards))
    texts = JudgedTexts.model_validate_json(config.texts.read_text(encoding="utf-8")).texts
    done = finished(config.parts)
    if done and config.shard == 0:
        events.log(f"{len(done)} of {len(texts)} summaries were judged by an earlier run; resuming")
    own = batches(texts)[config.shard :: config.shards]
    remaining = [[text for text in batch if text.key not in done] for batch in own]
    total = sum(map(len, own))
    completed = total - sum(map(len, remaining))
    events.progress(completed, total, "loading the judge")
    classifier = Classifier(config.classifier, device)
    if config.shard == 0:
        events.log(f"the score is the probability of the label {classifier.label_name!r}")
    started = time.perf_counter()
    for batch in filter(None, remaining):
        save(classifier.judge(batch), config.parts)
        completed += len(batch)
        events.progress(completed, total, f"{classifier.tokens / (time.perf_counter() - started):.0f} tokens/s")
    seconds = time.perf_counter() - started
    return JudgeMeasurements(
        device=device_description(device),
        label=classifier.label_name,
        judging_seconds=round(seconds, 2),
        tokens=classifier.tokens,
        tokens_per_second=round(classifier.tokens / seconds, 1) if classifier.tokens else None,
    )


def main() -> None:
    """Run as a worker process."""
    worker_main(run, JudgeWorkerConfig)


if __name__ == "__main__":
    main()
