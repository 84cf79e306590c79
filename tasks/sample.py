"""sample: formatted rows, a base model and an adapter -> several sampled summaries of each dialogue, compared.

Reads   rows (format, train); adapter (train)
Writes  candidates.parquet (artifacts.schemas.CANDIDATES), in the order of the rows: every sampled summary, its mean
        agreement with the others, and its mean agreement with the references
Rerun   dialogsum run RECIPE --refresh sample

Agreement is that of minimum Bayes risk decoding (tasks/decoding/minimum_bayes_risk.py). The work is done by
tasks/sampling/worker.py as that of generate is: in batches that are saved one by one, shared by GPUs and machines.
"""

from typing import Any

from artifacts.errors import RequestError
from artifacts.schemas import CANDIDATES, write_table
from tasks.config import SampleSpec
from tasks.decoding.worker_records import Measurements, SamplingWorkerConfig
from tasks.decoding_shards import collect_rows, shard_configs
from tasks.execution.stage import Artifact, Context, Stage, StageResult
from tasks.sampling.dialogues import sampled_dialogues
from tasks.workers.launcher import run_workers

WORKER = "tasks.sampling.worker"


def sample(spec: SampleSpec, context: Context, rows: Artifact, adapter: Artifact) -> StageResult:
    """Sample for each dialogue. RequestError if the adapter was trained by an engine that cannot distil."""
    ids = [row["id"] for row in sampled_dialogues(spec, rows.payload).rows]
    sampled, measured = collect_rows(ids, CANDIDATES, context, lambda: sample_shard(spec, context, rows, adapter))
    write_table(sampled, CANDIDATES, context.out / "candidates.parquet")
    finished = sum(sum(row["finished"]) for row in sampled)
    facts = {"candidates": spec.generate.candidates, "finished": finished}
    return StageResult(rows=len(sampled), facts=facts, measured=measured)


def sample_shard(spec: SampleSpec, context: Context, rows: Artifact, adapter: Artifact) -> dict[str, Any]:
    """Write the candidates of the shard `context.shard` to `work/parts`. Returns its measurements."""
    _refuse_other_engines(spec, adapter)
    count = len(sampled_dialogues(spec, rows.payload).rows)
    configs, environments = shard_configs(SamplingWorkerConfig, spec, context, rows, adapter, count)
    measurements = run_workers(WORKER, configs, Measurements, context.work, context.events, environments)
    return Measurements.merge(measurements).model_dump()


def _refuse_other_engines(spec: SampleSpec, adapter: Artifact) -> None:
    """RequestError, before hours of sampling, if preference training would refuse the model of this adapter."""
    engine = adapter.manifest.provenance.measured.get("engine", "packed")
    if spec.split == "train" and engine != "packed":
        raise RequestError(
            f"{adapter.manifest.id} was trained with {engine}, but only the packed engine distils: set "
            "train.distill.samples=0, or choose a Gemma or Llama model"
        )


def _label(spec: SampleSpec) -> str:
    fold = f" fold {spec.fold.index + 1} of {spec.fold.count}" if spec.fold else ""
    split = "" if spec.split == "train" else f" {spec.split}"
    return f"{spec.model.name}{split} x{spec.generate.candidates}{fold}"


SAMPLE = Stage(
    name="sample",
    version=1,
    function=sample,
    spec=SampleSpec,
    label=_label,
    pool="gpu",
    worker=WORKER,
    run_shard=sample_shard,
)
