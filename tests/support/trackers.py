"""Trackers as their own readers show them, a real MLflow server, and what a store should look like in a tracker."""

import json
import os
import signal
import struct
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pandas as pd
import psutil

from artifacts.artifact_store import Store
from tests.support.servers import Process, free_ports, until

Curve = dict[int, dict[str, float]]


@dataclass
class SeenRun:
    """A run of a tracker."""

    parameters: dict[str, str] = field(default_factory=dict)
    curve: Curve = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    parent: str | None = None

    def add(self, name: str, step: int, value: float) -> None:
        if name.startswith("curve/"):
            self.curve.setdefault(step, {})[name.removeprefix("curve/")] = value
        else:
            self.metrics[name] = value


def normal(value: Any) -> str:
    """A setting as text: TensorBoard has every number as a float."""
    try:
        return repr(float(value))
    except ValueError:
        return str(value)


class MlflowServer:
    """A process of `mlflow server` with a database and a folder of artifacts, which survive a restart."""

    def __init__(self, folder: Path) -> None:
        self.folder, (self.port,) = folder, free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        folder.mkdir(parents=True)
        self.start()

    def start(self) -> None:
        options = ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db", "--workers", "1"]
        options += ["--artifacts-destination", str(self.folder / "artifacts"), "--port", str(self.port)]
        off = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", *options]
        self.server = Process(command, self.folder / "log", **off)
        until(lambda: urllib.request.urlopen(f"{self.url}/health", timeout=2).read() == b"OK", "MLflow")

    def kill(self) -> None:
        self.server.stop(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(self.url)


def mlflow_runs(server: MlflowServer, name: str = "dialogsum") -> dict[str, SeenRun]:
    """All runs of the experiment; an artifact with two runs is an error."""
    client, runs, ids = server.client, dict[str, SeenRun](), dict[str, str]()
    experiment = client.get_experiment_by_name(name)
    found = list(client.search_runs([experiment.experiment_id])) if experiment else []
    for run in found:
        tags = {name.removeprefix("dialogsum."): value for name, value in run.data.tags.items()}
        own = {name: value for name, value in tags.items() if not name.startswith("mlflow.")}
        parameters = {name: normal(value) for name, value in run.data.params.items()}
        seen = SeenRun(parameters, tags=own, parent=tags.get("mlflow.parentRunId"))
        for name in run.data.metrics:
            history = client.get_metric_history(run.info.run_id, name)
            assert len({point.step for point in history}) == len(history), f"{name} has a step twice"
            for point in history:
                seen.add(name, point.step, point.value)
        assert tags["artifact"] not in runs
        runs[tags["artifact"]] = seen
        ids[run.info.run_id] = tags["artifact"]
    for seen in runs.values():
        seen.parent = ids.get(seen.parent or "")
    return runs


def tensorboard_runs(folder: Path) -> dict[str, SeenRun]:
    """All runs below a folder, as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    plexer = EventMultiplexer(size_guidance={"scalars": 0, "tensors": 0}).AddRunsFromDirectory(str(folder)).Reload()
    runs: dict[str, SeenRun] = {}
    for path, tags in plexer.Runs().items():
        *parents, name = path.split("/")
        seen = runs[name] = SeenRun(parent=parents[0] if parents else None)
        for scalar in tags["scalars"]:
            points = plexer.Scalars(path, scalar)
            assert len({point.step for point in points}) == len(points), f"{scalar} has a step twice"
            for point in points:
                seen.add(scalar, point.step, point.value)
        summary = plexer.SummaryMetadata(path, metadata.SESSION_START_INFO_TAG).plugin_data.content
        settings = HParamsPluginData.FromString(summary).session_start_info.hparams
        seen.parameters = {key: normal(getattr(x, x.WhichOneof("kind"))) for key, x in settings.items()}
        (text,) = plexer.Tensors(path, "tags/text_summary")
        rows = text.tensor_proto.string_val[0].decode().splitlines()[2:]
        seen.tags = dict(row.strip("| ").split(" | ", 1) for row in rows)
    return runs


def trackio_runs(folder: Path) -> dict[str, SeenRun]:
    """All runs of Trackio's local store, read by Trackio in a process of its own, which knows one folder only."""
    import subprocess

    script = """
import json
from trackio.sqlite_storage import SQLiteStorage as S
runs = S.get_run_records("dialogsum")
names = [run["name"] for run in runs]
print(json.dumps([[n, S.get_run_config("dialogsum", n), S.get_logs("dialogsum", n)] for n in names]))
"""
    environment = os.environ | {"TRACKIO_DIR": str(folder)}
    read = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    ).stdout
    runs: dict[str, SeenRun] = {}
    for name, config, logs in json.loads(read.splitlines()[-1]):
        assert name not in runs
        group = config.pop("_Group")
        config = {key: value for key, value in config.items() if not key.startswith("_")}
        seen = runs[name] = SeenRun({k: normal(v) for k, v in config.items()}, parent=None if group == name else group)
        seen.tags = {k: str(v) for k, v in config.items()}
        for row in logs:
            for metric, value in row.items():
                if metric not in ("step", "timestamp"):
                    assert value is not None
                    assert metric not in seen.metrics
                    assert metric not in {f"curve/{column}" for column in seen.curve.get(row["step"], {})}
                    seen.add(metric, row["step"], value)
    return runs


def _wandb_records(file: Path) -> Iterator[Any]:
    """The records of a .wandb file: blocks of 32 KiB in LevelDB's log format, after a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    content, position, parts = file.read_bytes(), 7, b""
    while position + 7 <= len(content):
        if (left := 32768 - position % 32768) < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        parts += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield wandb_internal_pb2.Record.FromString(parts)
            parts = b""


def wandb_runs(folder: Path) -> dict[str, SeenRun]:
    """All runs that wandb wrote offline; of several sessions of a run, each has everything, and the last counts."""
    runs: dict[str, SeenRun] = {}
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime_ns):
        seen = SeenRun()
        for record in _wandb_records(file):
            match record.WhichOneof("record_type"):
                case "run":
                    name, group, tags = record.run.run_id, record.run.run_group, list(record.run.tags)
                case "config":
                    for item in record.config.update:
                        value = json.loads(item.value_json)
                        seen.tags |= value if item.key == "dialogsum" else {}
                        seen.parameters |= {} if item.key == "dialogsum" else {item.key: normal(value)}
                case "history":
                    row = {".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
                    for metric in row.keys() - {"_step", "_runtime", "_timestamp"}:
                        seen.add(metric, row["_step"], row[metric])
                case "summary":
                    for item in record.summary.update:
                        if not item.nested_key and not item.key.startswith("_"):
                            seen.metrics[item.key] = json.loads(item.value_json)
        seen.parent = None if group == name else group
        seen.tags["wandb"] = ", ".join(tags)
        runs[name] = seen
    return runs


def expected_curve(store: Store, adapter: str) -> Curve:
    """curve.parquet as pandas reads it."""
    frame = pd.read_parquet(store.payload(store.by_id(adapter).path) / "curve.parquet")
    return {
        int(row["step"]): {name: value for name, value in row.items() if name != "step" and not pd.isna(value)}
        for row in frame.to_dict("records")
    }


def expected_scores(store: Store, scores: str) -> dict[str, float]:
    """Scores, intervals, differences and diagnostics of scores.json."""
    content = json.loads((store.payload(store.by_id(scores).path) / "scores.json").read_text())
    protocol = content["protocols"][content["headline"]]
    split, expected = protocol["protocol"]["split"], dict[str, float]()
    for system in {"base", "tuned", "champion", "before"} & protocol["systems"].keys():
        for rouge, score in protocol["systems"][system].items():
            low, high = score["interval"]
            key = f"{split}/{system}/{rouge}"
            expected |= {key: score["f1"], f"{key}_low": low, f"{key}_high": high}
    for other, by_type in content["differences"].items():
        for rouge, difference in by_type.items():
            low, high = difference["interval"]
            key = f"{split}/tuned-{other}/{rouge}"
            expected |= {key: difference["mean"], f"{key}_low": low, f"{key}_high": high}
    for system, measures in content["behaviour"].items():
        expected |= {f"{split}/{system}/{measure}": value for measure, value in measures.items()}
    return expected


def expected_settings(store: Store, adapter: str) -> dict[str, str]:
    """The section `train` of the adapter's settings.json; lists are joined, `null` is none."""
    settings = json.loads((store.payload(store.by_id(adapter).path) / "settings.json").read_text())["train"]
    nested = {f"train.lora.{name}": value for name, value in settings.pop("lora").items()}
    plain = nested | {f"train.{name}": value for name, value in settings.items()}
    texts = {name: ", ".join(x) if isinstance(x, list) else json.dumps(x).strip('"') for name, x in plain.items()}
    return {name: normal(text.replace("null", "none")) for name, text in texts.items()}


def flat(curve: Curve) -> dict[str, float]:
    """`12 train_loss` -> value."""
    return {f"{step} {name}": value for step, values in curve.items() for name, value in values.items()}


def delivered(seconds: float = 150) -> None:
    """Wait until the processes that deliver to trackers for runs of this process have ended."""

    def running() -> list[psutil.Process]:
        children = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
        return [p for p in children if "flows.integrations.delivery" in p.cmdline()]

    until(lambda: not running(), "the delivery to the trackers", seconds)


def numbers(values: dict[str, float]) -> dict[str, float]:
    """Without what a training measured of itself."""
    return {name: value for name, value in values.items() if not name.startswith("measured/")}
