"""The stage judge: what it reads and writes, and that a run that was killed goes on."""

from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from artifacts.cache_key import identity_of
from artifacts.errors import StageError
from artifacts.manifest import Provenance
from artifacts.schemas import DATASET, JUDGEMENTS, PREDICTIONS, read_table, write_table
from tasks.config import JudgeClassifier, JudgeEndpoint, JudgeSpec, ModelConfig, Runtime
from tasks.execution.stage import Artifact, Context
from tasks.judge import JUDGE, judge
from tasks.judging import batches
from tasks.judging.batches import finished
from tasks.judging.worker import Classifier
from tasks.sources.resolve import resolve_model
from tests.support.data import tiny_data
from tests.support.data_stages import downloaded_dataset
from tests.support.judges import Reply, judge_server, tiny_classifier
from tests.support.listeners import RecordingListener

pytestmark = pytest.mark.usefixtures("workers_inline")
REFERENCE, OTHER = "reference", "reference of another dialogue"


@pytest.fixture
def dataset(store: Store, tmp_path: Path) -> Artifact:
    manifest = downloaded_dataset(tiny_data(tmp_path / "data"))
    return Artifact(store.payload(manifest.path), manifest)


@pytest.fixture
def spec(tmp_path: Path, models: dict[str, Path]) -> JudgeSpec:
    folder = tiny_classifier(tmp_path / "judge", models["llama"])
    model = resolve_model(ModelConfig(source=str(folder)), "judge.model")
    return JudgeSpec(classifier=JudgeClassifier(model=model, label=None, chunk_tokens=384, threshold=0.5))


def endpoint(url: str) -> JudgeSpec:
    template = "{dialogue} {summary}"
    return JudgeSpec(
        endpoint=JudgeEndpoint(url=url, name="lab/Some-Model", template=template, temperature=0, max_new_tokens=9)
    )


def predictions(store: Store, tmp_path: Path, dataset: Artifact) -> Artifact:
    rows = read_table(dataset.payload / "test.parquet", DATASET)
    out = tmp_path / "predictions"
    out.mkdir()
    made = [{"id": row["id"], "prediction": f"This is {row['id']}.", "tokens": 3, "stop": "limit"} for row in rows]
    write_table(made, PREDICTIONS, out / "predictions.parquet")
    manifest = store.publish(
        out,
        stage="generate",
        variant="base",
        name="made",
        key="0" * 64,
        rows=len(made),
        identity={},
        inputs={},
        facts={},
        provenance=Provenance(at="2026-01-01T00:00:00", seconds=0, run="test"),
    )
    return Artifact(store.payload(manifest.path), manifest)


def run(
    folder: Path, spec: JudgeSpec, dataset: Artifact, events: Any = None, **inputs: Artifact
) -> list[dict[str, Any]]:
    """Run the stage with the scratch folder of earlier calls; returns its table."""
    out, work = folder / "out", folder / "work"
    for each in (out, work):
        each.mkdir(exist_ok=True, parents=True)
    context = Context(out, work, Runtime(device="cpu", threads=1), events or RecordingListener())
    result = judge(spec, context, dataset, **inputs)
    rows: list[dict[str, Any]] = read_table(out / "judgements.parquet", JUDGEMENTS)
    assert result.rows == len(rows)
    return rows


def test_references_are_judged_with_their_own_and_with_another_dialogue(tmp_path: Path, dataset: Artifact) -> None:
    """The two ends of the scale: a judge that compares words gives the one 100 points and the other none."""
    rows = read_table(dataset.payload / "test.parquet", DATASET)
    own = {row["dialogue"] + " " + row["references"][0] for row in rows}
    with judge_server(lambda _, prompt: Reply(text=f'{{"score": {100 * (prompt in own)}}}')) as server:
        judged = run(tmp_path, endpoint(server.url), dataset)
    assert {(row["kind"], row["score"]) for row in judged} == {(REFERENCE, 1.0), (OTHER, 0.0)}
    assert [row["id"] for row in judged if row["kind"] == REFERENCE] == [row["id"] for row in rows]


def test_predictions_are_judged_in_the_order_of_the_dialogues(
    tmp_path: Path, store: Store, dataset: Artifact, spec: JudgeSpec
) -> None:
    """`dialogues` takes the first of them."""
    output = predictions(store, tmp_path, dataset)
    judged = run(tmp_path / "all", spec, dataset, predictions=output)
    assert [row["id"] for row in judged] == [
        row["id"] for row in read_table(output.payload / "predictions.parquet", PREDICTIONS)
    ]
    assert {row["kind"] for row in judged} == {"prediction"}
    assert all(0 < row["score"] < 1 for row in judged)
    two = run(tmp_path / "two", spec.model_copy(update={"dialogues": 2}), dataset, predictions=output)
    assert two == judged[:2]


def test_a_killed_run_goes_on_at_the_batch_it_had_reached(
    tmp_path: Path, dataset: Artifact, spec: JudgeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its table is that of a run that was not killed, and no finished batch is judged again."""
    monkeypatch.setattr(batches, "BATCH", 3)
    whole = run(tmp_path / "whole", spec, dataset)
    judged: list[int] = []
    judge_batch = Classifier.judge

    def dies_in_the_third_batch(self: Classifier, texts: Any) -> Any:
        if len(judged) == 2:
            raise KeyboardInterrupt
        judged.append(len(texts))
        return judge_batch(self, texts)

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "judge", dies_in_the_third_batch)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "killed", spec, dataset)
    assert len(finished(tmp_path / "killed" / "work" / "parts")) == 6
    events, again = RecordingListener(), list[int]()

    def counted(self: Classifier, texts: Any) -> Any:
        again.append(len(texts))
        return judge_batch(self, texts)

    monkeypatch.setattr(Classifier, "judge", counted)
    assert run(tmp_path / "killed", spec, dataset, events) == whole
    assert sum(again) == len(whole) - 6
    assert any(line.startswith(f"6 of {len(whole)} summaries were judged") for line in events.lines)


def test_a_judge_none_of_whose_answers_can_be_read_is_an_error(tmp_path: Path, dataset: Artifact) -> None:
    """The next run asks again."""
    with judge_server(lambda *_: Reply(text="I like it.")) as server:
        with pytest.raises(StageError, match=r"none of the \d+ answers of some-model.*'I like it.'.*judge.prompt"):
            run(tmp_path, endpoint(server.url), dataset)
        asked = len(server.requests)
        with pytest.raises(StageError, match="none of the"):
            run(tmp_path, endpoint(server.url), dataset)
        assert len(server.requests) == 2 * asked


def test_answers_that_cannot_be_read_are_counted(tmp_path: Path, dataset: Artifact) -> None:
    events = RecordingListener()
    with judge_server(lambda number, _: Reply(text="?" if number == 0 else '{"score": 50}')) as server:
        judged = run(tmp_path, endpoint(server.url), dataset, events)
    assert sum(row["score"] is None for row in judged) == 1
    assert f"1 of {len(judged)} answers could not be read: they have no score" in events.lines


def test_price_and_number_of_requests_are_in_no_key(spec: JudgeSpec) -> None:
    """Prompt, model, temperature and URL are."""
    judge = endpoint("https://api.example.org/v1")
    assert judge.endpoint is not None

    def identity(**more: Any) -> Any:
        assert judge.endpoint is not None
        return identity_of(judge.model_copy(update={"endpoint": judge.endpoint.model_copy(update=more)}))

    assert identity(price_per_million_tokens=3.0, requests_at_once=9) == identity()
    for more in ({"template": "x"}, {"name": "x"}, {"temperature": 1.0}, {"url": "x"}, {"max_new_tokens": 1}):
        assert identity(**more) != identity()


def test_an_endpoint_needs_no_gpu(spec: JudgeSpec) -> None:
    assert JUDGE.pool_for(spec) == "gpu"
    assert JUDGE.pool_for(endpoint("https://api.example.org/v1")) == "cpu"
