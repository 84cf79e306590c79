"""Each stage as a flow of its own: makes one artifact, known by its id alone.

So any stage is rerun from the UI, and a retraining on a machine without a GPU has its adapters and summaries made on the
GPU pool (flows/sending.py).
"""

from typing import Annotated, Any

from prefect import Flow, flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import Field

from artifacts.errors import RequestError
from artifacts.needs import Uses
from artifacts.store import Store
from tasks import away
from tasks.gate import gpu_gate
from tasks.shell import RunEvents, run_stage, title
from tasks.stage import Job, decide
from tasks.stages import STAGES


def _run_name() -> str:
    """`train smollm2-135m-instruct r32 3 epochs`, and which share of it."""
    given = flow_run.parameters
    try:
        name = title(away.kept(given["artifact"]))
    except RequestError:
        name = given["artifact"]  # the run itself says what is wrong
    shards = given.get("shards", 1)
    return f"{name}, {given['shard'] + 1} of {shards}" if shards > 1 else name


def _job(artifact: str, refresh: bool) -> Job:
    """The job of an artifact as today's code does it. Another version makes another artifact, never this one anew."""
    job = away.kept(artifact)
    stage = STAGES[job.stage]
    decision = decide(stage, job.of, stage.spec.model_validate(job.spec), job.inputs)
    if decision.identity != job.identity:
        get_run_logger().warning(
            "%s is the work of other code than this worker has: making %s-%s", artifact, job.stage, decision.key[:8]
        )
    return job.model_copy(update={"identity": decision.identity, "refresh": refresh, "run": str(flow_run.id)})


def _make(artifact: str, refresh: bool) -> State[Any]:
    job = _job(artifact, refresh)
    away.keep(job)
    uses = Uses(job.run)
    uses.hold(job.artifact, *(ref.id for ref in job.inputs.values()))
    ref = run_stage(job)
    uses.end()
    return Completed(message=f"{ref.id}: {ref.rows} rows, {Store.current().absolute(ref.path)}")


def _stage_flow(name: str) -> Flow[..., Any]:
    stage = STAGES[name]
    identifier = Annotated[str, Field(pattern=rf"^{name}-[0-9a-f]{{8}}$", examples=[f"{name}-1a2b3c4d"])]

    def make(artifact: identifier, refresh: bool = True) -> State[Any]:
        """Make one artifact again from its id.

        Args:
            artifact: id of the artifact, as `dialogsum show` and the UI's artifacts list it.
            refresh: make it although it is there and whole.
        """
        return _make(artifact, refresh)

    return flow(
        name=f"stage-{name}", description=(stage.function.__doc__ or "").split("\n")[0], flow_run_name=_run_name, persist_result=False
    )(make)  # fmt: skip


download, format_, train, score, promote, report = map(
    _stage_flow, ("download", "format", "train", "score", "promote", "report")
)


@flow(name="stage-generate", flow_run_name=_run_name, persist_result=False)
def generate(
    artifact: Annotated[str, Field(pattern=r"^generate-[0-9a-f]{8}$", examples=["generate-1a2b3c4d"])],
    refresh: bool = True,
    shard: Annotated[int, Field(ge=0, le=999)] = 0,
    shards: Annotated[int, Field(ge=1, le=1000)] = 1,
) -> State[Any]:
    """Predict summaries, or one share of them.

    Args:
        artifact: id of the artifact, as `dialogsum show` and the UI's artifacts list it.
        refresh: make it although it is there and whole.
        shard: which share of the rows, counted from 0; leave it when `shards` is 1.
        shards: how many runs share the rows; the one that asked for them joins what they made.
    """
    if shards == 1:
        return _make(artifact, refresh)
    job = _job(artifact, False)
    share = (shard, shards)
    if shard >= shards:
        raise RequestError(f"shard is {shard}, but there are {shards}, counted from 0")
    events = RunEvents(_run_name())
    away.perform_share(job, share, events, gpu_gate("gpu"))
    events.finish()
    return Completed(message=f"share {shard + 1} of {shards} of {artifact}")
