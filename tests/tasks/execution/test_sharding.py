"""Sharding: a worker makes an artifact from its id alone, and shards of a generation write the bytes of one machine."""

import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from artifacts.refs import Ref
from artifacts.schemas import FORMATTED_EVAL
from tasks.config import GenerateConfig, GenerateSpec, ModelConfig, Runtime
from tasks.execution import sharding
from tasks.execution.decision import identity
from tasks.execution.executor import execute
from tasks.execution.job import Job, load_job, save_job
from tasks.execution.sharding import parts_folder
from tasks.execution.stage import Shard
from tasks.generate import GENERATE
from tasks.registry import STAGES
from tasks.sources.resolve import resolve_model
from tasks.workers.events import NullListener
from tests.support.artifacts import ArtifactFactory

pytestmark = pytest.mark.usefixtures("workers_inline")
ROWS = 7


@pytest.fixture
def job(artifact_factory: ArtifactFactory, models: dict[str, Path]) -> Job:
    """Summaries of the tiny Llama for seven rows, two at a time."""
    rows = [{"id": f"test_{i}", "prompt": f"Person {i}: " + "hello " * i} for i in range(ROWS)]
    source = artifact_factory.artifact("format", "prompts", rows, FORMATTED_EVAL)
    model = resolve_model(ModelConfig(source=str(models["llama"])))
    spec = GenerateSpec(model=model, turns="chatml", generate=GenerateConfig(max_new_tokens=4))
    inputs = {"rows": Ref.of_manifest(source.manifest)}
    return Job(
        stage="generate",
        variant="base",
        spec=spec,
        inputs=inputs,
        run="test",
        identity=identity(GENERATE, spec, inputs),
        runtime=Runtime(device="cpu", threads=1, generate_batch_size=2),
    )


def share(job: Job, n: int, k: int) -> None:
    sharding.execute_shard(Store.current(), GENERATE, job, Shard(n, k), NullListener(), nullcontext())


def test_a_job_is_saved_completely_under_the_id_of_its_artifact(job: Job, store: Store) -> None:
    """What comes out of the store makes the same artifact; `refresh` was a wish of that one run."""
    save_job(Store.current(), job.model_copy(update={"refresh": True}))
    assert load_job(store, job.artifact, STAGES) == job
    assert job.artifact == execute(Store.current(), GENERATE, job, NullListener())[0].id


def test_job_that_cannot_be_had_says_what_to_do(job: Job, store: Store) -> None:
    """An unknown id, and one whose input is damaged."""
    with pytest.raises(RequestError, match=r"generate-00000000: the store .* has no job for it; run its recipe"):
        load_job(store, "generate-00000000", STAGES)
    save_job(Store.current(), job)
    file = store.payload(job.inputs["rows"].path) / "prompts.parquet"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(
        RequestError, match=r"cannot be made: inputs rows: .*has \d+ bytes.*make that artifact again first"
    ):
        load_job(store, job.artifact, STAGES)


@pytest.mark.parametrize("machines", [2, *(pytest.param(count, marks=pytest.mark.slow) for count in (3, 5))])
def test_machines_that_share_the_rows_write_the_bytes_of_one(job: Job, store: Store, machines: int) -> None:
    """In whatever order they end, even where there are more machines than batches; what was shared is cleared away."""
    one, _ = execute(Store.current(), GENERATE, job, NullListener())
    shutil.rmtree(store.payload(one.path).parent)
    for n in reversed(range(machines)):
        share(job, n, machines)
    assert sharding.missing_shards(store, job, machines) == []
    joined, ran = execute(Store.current(), GENERATE, job, NullListener())
    assert ran
    assert joined.files == one.files
    assert store.side_files.names(*parts_folder(job)) == []


def test_a_shard_of_an_artifact_that_another_run_has_finished_is_not_made(
    job: Job, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parts are merged and removed: no worker starts, and no part is left behind. A damaged artifact is made."""
    from tasks import generate

    made, _ = execute(Store.current(), GENERATE, job, NullListener())
    with monkeypatch.context() as patch:
        patch.setattr(generate, "run_workers", lambda *_: pytest.fail("a worker was started"))
        share(job, 0, 2)
    assert store.side_files.names(*parts_folder(job)) == []
    (store.payload(made.path) / "predictions.parquet").write_bytes(b"damaged")
    share(job, 0, 2)
    assert store.side_files.names(*parts_folder(job)) != []


@pytest.mark.slow
def test_lost_share_alone_is_made_again(job: Job, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shares of the others are kept, and joining them needs no model."""
    from tasks import generate

    share(job, 0, 3)
    share(job, 2, 3)
    names = store.side_files.names(*parts_folder(job))
    assert sharding.missing_shards(store, job, 3) == [Shard(1, 3)]
    share(job, 1, 3)
    assert set(names) < set(store.side_files.names(*parts_folder(job)))

    def none(*_: Any) -> None:
        raise AssertionError("a worker was started")

    monkeypatch.setattr(generate, "run_workers", none)
    share(job, 1, 3)  # done already
    assert execute(Store.current(), GENERATE, job, NullListener())[0].rows == ROWS
