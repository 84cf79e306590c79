"""Runs in a checkout of version 0.1.0 (commit b86b7ce), with that version's modules: fills the store DIALOGSUM_STORE.

`python make_store.py MODEL DATA`, in the root of that checkout. Three retrainings become champion (the third is rolled
back), one is rejected, one fails; an adapter is evaluated with another prompt, and the first champion is pinned.
Everything is real but the generated texts: of the references' ten words the base model writes three, an adapter five
or more.
"""

import importlib
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from prefect.testing.utilities import prefect_test_harness

SUMMARY = "alpha beta gamma delta epsilon zeta eta theta iota kappa"
FAILING = 99
"""The seed of the retraining that fails after its training."""
WORDS = {1: 5, 2: 7, 3: 6, 4: 9, 5: 4}
"""Seed of an adapter -> how many words of a reference it writes."""


def generate(command: Any, configs: Any, *rest: Any) -> list[dict[str, Any]]:
    """Texts whose scores are known, instead of those of a random model."""
    from artifacts.schemas import FORMATTED_EVAL, read_table
    from tasks.generate import save_part

    words, config = 3, configs[0]
    if config["adapter"]:
        seed = json.loads((Path(config["adapter"]) / "settings.json").read_text())["train"]["seed"]
        if seed == FAILING:
            raise RuntimeError("the GPU is lost")
        words = WORDS[seed]
    ids = [row["id"] for row in read_table(Path(config["rows"]) / "test.parquet", FORMATTED_EVAL)]
    Path(config["parts"]).mkdir(exist_ok=True)
    text = " ".join(SUMMARY.split()[:words])
    rows = [{"id": name, "prediction": text, "tokens": 1, "stop": "stop_token"} for name in ids]
    save_part(rows, Path(config["parts"]))
    return [{"device": "CPU", "dtype": "float32", "tokens": 1, "halved": 0}]


def write_data(folder: Path) -> None:
    """Tiny data whose summaries are all the same."""
    older = importlib.import_module("tests.conftest")  # that of version 0.1.0
    older.tiny_data(folder)
    for file in folder.glob("*.csv"):
        older.write_csv(file, [row | {"summary": SUMMARY} for row in older.read_csv(file)])


def main(model: Path, data: Path) -> None:
    """Fill the store."""
    from artifacts.needs import pin
    from artifacts.store import Store
    from flows.commands.running import rollback

    from flows import pipeline
    from tasks import generate as generation

    older = importlib.import_module("tests.conftest")
    write_data(data)
    with pytest.MonkeyPatch.context() as patch, prefect_test_harness(server_startup_timeout=900):
        older.put_workers_inline(patch)
        patch.setattr(generation, "run_workers", generate)
        settings = older.shrunk("smollm2-135m", model, data, "gate.least_rows=1", "runtime.threads=1")

        def retrain(seed: int) -> None:
            pipeline.retrain(recipe="smollm2-135m", overrides=[*settings, f"train.seed={seed}"])

        retrain(1)
        pin(Store.current().manifests("train")[0].id)
        pipeline.evaluate(
            recipe="smollm2-135m", overrides=[*settings, "train.seed=1", 'evaluation.prompt="brief"'], adapter="latest"
        )
        retrain(2)
        retrain(3)
        retrain(4)
        rollback("smollm2-135m", settings, as_json=True)
        with suppress(Exception):
            retrain(FAILING)


if __name__ == "__main__":
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    sys.path.insert(0, str(Path.cwd()))
    main(Path(sys.argv[1]), Path(sys.argv[2]))
