"""Each stage as a flow of its own, which rebuilds one artifact from its id.

Any stage can be rerun from the UI, and a retraining on a machine without a GPU runs its GPU stages on the GPU pool
(flows/gpu_pool.py).
"""

from typing import Annotated, Any

from prefect import Flow, flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import Field

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from artifacts.retention import RunNotes
from flows.failures import fails_in_one_line
from flows.run_names import kept_or
from flows.slurm.run_on_slurm import run_on_slurm
from flows.slurm.settings import slurm_settings
from tasks.execution.decision import decide
from tasks.execution.job import Job, load_job, save_job
from tasks.execution.live_curve import LiveCurveWriter
from tasks.execution.sharding import execute_shard
from tasks.execution.stage import Shard
from tasks.gpu_lease import hold_gpu
from tasks.prefect_task import RunEvents, listening, publish_pages, run_stage, title
from tasks.registry import STAGES


def _run_name(parameters: dict[str, Any]) -> str:
    """Name of the run: `train smollm2-135m-instruct r32 3 epochs`, and its shard if there are several."""
    try:
        name = title(load_job(Store.current(), parameters["artifact"], STAGES))
    except RequestError:
        name = parameters["artifact"]  # the run itself says what is wrong
    shards = parameters.get("shards", 1)
    return f"{name}, {parameters['shard'] + 1} of {shards}" if shards > 1 else name


def _job(artifact: str, refresh: bool) -> Job:
    """The job of an artifact with the current code. If the code changed since, the job makes another artifact."""
    store = Store.current()
    job = load_job(store, artifact, STAGES)
    stage = STAGES[job.stage]
    decision = decide(store, stage, job.variant, job.spec, job.inputs)
    if decision.identity != job.identity:
        get_run_logger().warning(
            "%s was made by other code than this worker's: making %s-%s", artifact, job.stage, decision.key[:8]
        )
    return job.model_copy(update={"identity": decision.identity, "refresh": refresh, "run": str(flow_run.id)})


def _make(artifact: str, refresh: bool) -> State[Any]:
    job = _job(artifact, refresh)
    save_job(Store.current(), job)
    uses = RunNotes(Store.current(), job.run)
    uses.add(job.artifact, *(ref.id for ref in job.inputs.values()))
    with LiveCurveWriter(Store.current(), job) as writer, listening(writer):
        settings = slurm_settings() if STAGES[job.stage].pool_for(job.spec) == "gpu" else None
        if settings is not None:
            run_on_slurm(job, settings)
            job = job.model_copy(update={"refresh": False})
        ref = run_stage(job)
    uses.finish()
    publish_pages([Store.current().verified(ref.path)])
    return Completed(message=f"{ref.id}: {ref.rows} rows, {Store.current().absolute(ref.path)}")


def _description(name: str) -> str:
    """What the UI shows above the form."""
    maker = "`dialogsum review --votes` runs" if name == "review" else "Jobs such as `retrain` run"
    return (
        f"Makes one `{name}` artifact again from its id. `refresh` is on: it is rebuilt even if it is intact. "
        f"{maker} this stage without this form."
    )


def _stage_flow(name: str) -> Flow[..., Any]:
    identifier = Annotated[str, Field(pattern=rf"^{name}-[0-9a-f]{{8}}$", examples=[f"{name}-1a2b3c4d"])]

    def make(artifact: identifier, refresh: bool = True) -> State[Any]:
        """Make one artifact again from its id.

        Args:
            artifact: Id of the artifact, as listed by `dialogsum show` and on the UI's artifact pages.
            refresh: Rebuild it even if it exists and is intact.
        """
        return _make(artifact, refresh)

    return flow(
        name=f"stage-{name}", description=_description(name), flow_run_name=kept_or(_run_name), persist_result=False
    )(fails_in_one_line(make))


download, format_, train, probe, judge, score, review, promote, report = map(
    _stage_flow, ("download", "format", "train", "probe", "judge", "score", "review", "promote", "report")
)


def _sharded_stage_flow(name: str) -> Flow[..., Any]:
    """The flow of a stage whose rows several machines may share."""
    identifier = Annotated[str, Field(pattern=rf"^{name}-[0-9a-f]{{8}}$", examples=[f"{name}-1a2b3c4d"])]

    def make(
        artifact: identifier,
        refresh: bool = True,
        shard: Annotated[int, Field(ge=0, le=999)] = 0,
        shards: Annotated[int, Field(ge=1, le=1000)] = 1,
    ) -> State[Any]:
        """Make one artifact again from its id, or one share of it.

        Args:
            artifact: Id of the artifact, as listed by `dialogsum show` and on the UI's artifact pages.
            refresh: Rebuild it even if it exists and is intact. Ignored for one of several shards.
            shard: Number of the shard of the rows to decode, counted from 0. Keep 0 if `shards` is 1.
            shards: Number of runs that share the rows. Keep 1 unless several machines share the work.
        """
        return _make(artifact, refresh) if shards == 1 else _make_shard(artifact, shard, shards)

    return flow(
        name=f"stage-{name}", description=_description(name), flow_run_name=kept_or(_run_name), persist_result=False
    )(fails_in_one_line(make))


def _make_shard(artifact: str, shard: int, shards: int) -> State[Any]:
    job = _job(artifact, False)
    if shard >= shards:
        raise RequestError(f"shard is {shard}; expected a number from 0 to {shards - 1}, since shards is {shards}")
    settings, part = slurm_settings(), Shard(shard, shards)
    if settings is not None:
        run_on_slurm(job, settings, part)
    else:
        events = RunEvents(_run_name(flow_run.parameters))
        execute_shard(Store.current(), STAGES[job.stage], job, part, events, hold_gpu("gpu"))
        events.finish()
    return Completed(message=f"shard {shard + 1} of {shards} of {artifact}")


sample, generate = map(_sharded_stage_flow, ("sample", "generate"))
