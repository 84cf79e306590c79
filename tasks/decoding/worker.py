"""The generation process: predicts its shard of the batches.

python -m tasks.decoding.worker CONFIG.json        (tasks/generate.py writes CONFIG.json)
"""

from artifacts.schemas import FORMATTED_EVAL, PREDICTIONS, read_table
from tasks.decoding.engine import Engine
from tasks.decoding.shard import decode_shard
from tasks.decoding.worker_records import DecodingWorkerConfig, Measurements
from tasks.workers.events import Events
from tasks.workers.worker_main import worker_main


def run(config: DecodingWorkerConfig, events: Events) -> Measurements:
    """Predict the rows of the shard's batches that are not finished yet."""
    rows = read_table(config.rows / "prompts.parquet", FORMATTED_EVAL)[: config.spec.generate.limit]
    return decode_shard(config, config.spec, rows, PREDICTIONS, Engine.predict, events)


def main() -> None:
    """Run as a worker process."""
    worker_main(run, DecodingWorkerConfig)


if __name__ == "__main__":
    main()
