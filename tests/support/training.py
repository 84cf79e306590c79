"""Short trainings: rows, specs, the stage, its worker process, and the loop alone."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from artifacts.artifact_store import Store
from artifacts.record import Record
from artifacts.refs import Ref
from tasks.config import (
    DataConfig,
    DownloadSpec,
    FormatSpec,
    LoraConfig,
    ModelConfig,
    Runtime,
    TrainConfig,
    TrainSpec,
)
from tasks.download import DOWNLOAD
from tasks.execution.decision import identity
from tasks.execution.executor import execute
from tasks.execution.job import Job
from tasks.execution.stage import Artifact, Stage
from tasks.format import FORMAT
from tasks.sources.resolve import resolve_data, resolve_model
from tasks.train import TRAIN
from tasks.training.builder import build_packed
from tasks.training.loop import Loop
from tasks.training.objective import Supervised
from tasks.training.packing import LabelledRows
from tasks.training.process_group import ProcessGroup
from tasks.training.worker_records import TrainingWorkerConfig
from tasks.workers.events import EVENT_PREFIX, NullListener
from tests.support.paths import ROOT

TURNS_OF = {"gemma": "gemma", "llama": "chatml"}


def run_stage(stage: Stage, spec: Record, runtime: dict[str, Any] | None = None, **inputs: Artifact) -> Artifact:
    """Run a stage as the flow does, and publish what it makes."""
    refs = {role: Ref.of_manifest(artifact.manifest) for role, artifact in inputs.items()}
    job = Job(
        stage=stage.name,
        variant=None,
        spec=spec,
        inputs=refs,
        run="test",
        refresh=True,
        identity=identity(stage, spec, refs),
        runtime=Runtime(**{"device": "cpu", "threads": 1} | (runtime or {})),
    )
    manifest, _ = execute(Store.current(), stage, job, NullListener())
    return Artifact(Store.current().payload(manifest.path), manifest)


def formatted_rows(data: Path) -> Artifact:
    """The artifact with the rows for training that a folder's data give."""
    dataset = run_stage(DOWNLOAD, DownloadSpec(data=resolve_data(DataConfig(source=str(data)))))
    return run_stage(FORMAT, FormatSpec(rows="train", template="Summarize.\n\n{dialogue}"), dataset=dataset)


def train_spec(model: Path, quantization: str = "none", **settings: Any) -> TrainSpec:
    """The spec of a training that takes a second: four steps of four rows."""
    small = {"max_steps": 4, "batch_size": 4, "max_length": 256, "learning_rate": 1e-2, "evaluations": 2}
    return TrainSpec(
        model=resolve_model(ModelConfig(source=str(model))),
        turns=TURNS_OF[model.name],
        quantization=quantization,
        train=TrainConfig(**small | {"lora": LoraConfig(rank=4)} | settings),
    )


def train(spec: TrainSpec, rows: Artifact, **runtime: Any) -> Artifact:
    return run_stage(TRAIN, spec, runtime, rows=rows)


def adapter_tensors(artifact: Artifact) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(artifact.payload / "adapter_model.safetensors")
    return tensors


def run_to_end(loop: Loop) -> tuple[torch.Tensor, list[dict[str, Any]]]:
    loop.run()
    return loop.model.adapter.values.data.clone(), loop.progress.curve


def engine_loop(engine: str, model: Any, tokenizer: Path, smoothing: float = 0.0, **arguments: Any) -> Loop:
    """The loop of `packed` or `trl` over a peft model on the CPU in fp32. `arguments`: of Loop, and the rows."""
    arguments = {
        "settings": TrainConfig(),
        "validation": LabelledRows([], []),
        "group": ProcessGroup(0, 1, torch.device("cpu")),
        "events": NullListener(),
        "token_budget": 1 << 40,
    } | arguments
    if engine == "packed":
        return Loop(Supervised(build_packed(model, torch.float32, smoothing), arguments.pop("train")), **arguments)
    from tasks.training.trl_loop import TrlLoop, TrlModel

    return TrlLoop(TrlModel(model, torch.float32, smoothing), AutoTokenizer.from_pretrained(tokenizer), **arguments)


def worker_config(models: dict[str, Path], data: Path, folder: Path, **settings: Any) -> Path:
    """Write the config that tasks/train.py writes for its worker."""
    rows, spec = formatted_rows(data), train_spec(models["llama"], **{"max_steps": 12, "evaluations": 2} | settings)
    for name in ("out", "work"):
        (folder / name).mkdir(parents=True)
    file = folder / "config.json"
    config = TrainingWorkerConfig(
        spec=spec,
        runtime=Runtime(device="cpu", threads=1),
        rows=rows.payload,
        expected_rows=rows.manifest.facts["rows"],
        in_train_and_test=rows.manifest.facts["in_train_and_test"],
        out=folder / "out",
        work=folder / "work",
        checkpoint_seconds=0.0,
    )
    file.write_text(config.model_dump_json())
    return file


def start_worker(file: Path, *launcher: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, *launcher, "-m", "tasks.training.worker", str(file)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment,
    )


def worker_result(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    lines = [line for line in output.splitlines() if line.startswith(EVENT_PREFIX)]
    event = json.loads(lines[-1].removeprefix(EVENT_PREFIX))
    assert event["event"] == "result"
    result: dict[str, Any] = event["result"]
    return result
