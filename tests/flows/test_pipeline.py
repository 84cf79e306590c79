"""evaluate, promote, rollback: which adapter is meant, who becomes champion, and that nothing is trained for it."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from prefect.flow_engine import run_flow

from artifacts.artifact_store import Store
from artifacts.champions import Champion, Champions
from artifacts.errors import RequestError
from flows.adapter_lookup import find_adapter
from flows.cli.terminal import Terminal
from flows.run_summary import RunSummary
from tasks.config import ResolvedModel
from tests.support.data import tiny_data
from tests.support.pipelines import (
    adapter_id,
    expected_f1,
    flow_caller,
    patch_known_summaries,
    patch_workers_inline,
    small_overrides,
    stage_entry,
    stages_run,
)

pytestmark = pytest.mark.usefixtures("workers_inline", "prefect_server")


@pytest.fixture(scope="module")
def two_trainings(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path], prefect_server: None) -> Path:
    """A store with the adapters of ranks 1 and 2 and their summaries, from real runs without promotion."""
    folder = tmp_path_factory.mktemp("trained")
    tiny_data(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIALOGSUM_STORE", str(folder / "store"))
        patch_workers_inline(patch)
        patch_known_summaries(patch, folder / "data")
        run = flow_caller(models["llama"], folder / "data")
        for rank in (1, 2):
            run("retrain", rank, "gate.automatic=false")
    return folder / "store"


@pytest.fixture
def trained(two_trainings: Path, store: Store) -> None:
    """The test's store has these adapters and summaries, but no scores: `run` trains ranks 1 and 2 no more."""
    for stage in ("1_download", "2_format", "3_train", "4_generate"):
        shutil.copytree(two_trainings / stage, Path(store.root.path) / stage)


@pytest.fixture
def run(models: dict[str, Path], data: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Flows in which a higher rank is a better adapter."""
    patch_known_summaries(monkeypatch, data)
    return flow_caller(models["llama"], data)


@pytest.fixture
def sent_events(monkeypatch: pytest.MonkeyPatch, prefect_server: None) -> Callable[[], list[Any]]:
    """`sent_events()`: events of ours that were sent since the last call, as Prefect's own tests capture them."""
    from prefect.events.clients import AssertingEventsClient
    from prefect.events.worker import EventsWorker

    worker = EventsWorker.instance(AssertingEventsClient)
    monkeypatch.setattr(EventsWorker, "instance", lambda *_: worker)

    def take() -> list[Any]:
        worker.wait_until_empty()
        client: Any = worker._client
        return [event for event in client.pop_events() if event.event.startswith("dialogsum.")]

    with suppress(AttributeError):  # the client has no list before it is connected
        take()  # events of earlier tests
    return take


@pytest.fixture
def events(sent_events: Callable[[], list[Any]]) -> Callable[[], list[tuple[str, str]]]:
    """`events()`: (event, adapter) of those events."""
    return lambda: [(event.event, event.resource.name) for event in sent_events()]


def test_an_announcement_has_the_decision_the_difference_what_changed_and_the_report(
    run: Callable[..., dict[str, Any]], sent_events: Callable[[], list[Any]], trained: None
) -> None:
    """The figures are those that ten known words give; the second model is better, the third worse."""
    first, second = run("retrain", 1), run("retrain", 2)
    worse = run("retrain", 1, "train.learning_rate=3e-3")
    promoted, replaced, rejected = [event.payload for event in sent_events()]
    base, champion, better = expected_f1(3), expected_f1(5), expected_f1(6)
    name = adapter_id(first)
    assert promoted["subject"] == f"{name} promoted, ROUGE-1 {champion - base:+.1f} against the base model"
    assert f"{name} promoted. ROUGE-1 {champion:.1f}, {champion - base:+.1f} (" in promoted["summary"]
    assert "on 4 test dialogues" in promoted["summary"]
    name = adapter_id(second)
    assert replaced["subject"] == f"{name} promoted, ROUGE-1 {better - champion:+.1f} against the champion"
    assert replaced["replaced"] == adapter_id(first)
    assert replaced["report"] == second["report"]
    name = adapter_id(worse)
    assert rejected["subject"] == f"{name} rejected, ROUGE-1 {champion - better:+.1f} against the champion"
    assert f"{adapter_id(second)} remains champion" in rejected["summary"]
    assert re.search(r"What changed: train: .*learning_rate", rejected["summary"])


def log(summary: dict[str, Any]) -> Champions:
    return Champions(Store.current(), _model(summary).revision)


def in_force(summary: dict[str, Any]) -> list[str | None]:
    """The adapter in force after each change of the log."""
    return [change.champion.adapter if change.champion else None for change in log(summary).changes]


def test_a_better_candidate_becomes_champion_once_and_an_unchanged_rerun_reuses_everything(
    run: Any, events: Any
) -> None:
    """The first, a better and a worse candidate: each decision is published once, and a rerun executes nothing."""
    first = run("retrain", 1)
    assert first["decision"]["state"] == "promoted"
    assert events() == [("dialogsum.model.promoted", adapter_id(first))]
    assert stages_run(run("retrain", 1)) == []

    second = run("retrain", 2)
    assert {"generate champion", "score", "promote"} - set(stages_run(second)) == {
        "generate champion"
    }  # there from before
    assert (
        stage_entry(second, "generate", "champion")["artifact"] == stage_entry(first, "generate", "tuned")["artifact"]
    )
    rouge1 = {name: second["scores"][name]["rouge1"] for name in second["scores"]}
    assert rouge1 == pytest.approx(
        {"base": expected_f1(3), "champion": expected_f1(5), "tuned": expected_f1(6)}, abs=1e-3
    )
    assert events() == [("dialogsum.model.promoted", adapter_id(second))]
    again = run("retrain", 2)
    assert (stages_run(again), again["decision"], events()) == ([], second["decision"], [])

    worse = run("retrain", 1, "train.learning_rate=3e-3")
    assert worse["decision"]["state"] == "rejected"
    assert [reason.split(":")[0] for reason in worse["decision"]["reasons"]] == ["better than the champion"]
    assert events() == [("dialogsum.model.rejected", adapter_id(worse))]
    assert (stages_run(run("retrain", 1, "train.learning_rate=3e-3")), events()) == ([], [])
    assert in_force(worse) == [adapter_id(first), adapter_id(second)]


@pytest.mark.slow
@pytest.mark.usefixtures("trained")
def test_the_decision_stands_in_the_prefect_ui_with_its_reasons(run: Any, events: Any) -> None:
    """The artifact `decision`: promoted with every condition, rejected with the one that is not met."""
    from prefect.artifacts import Artifact

    champion = run("retrain", 2, "gate.automatic=false")["decision"]["adapter"]
    for rank, head, stands, state in (
        (2, "is champion", "There was no champion before.", f"{champion} promoted; "),
        (2, "remains champion", None, f"nothing changed: all 9 stages reused; {champion} remains champion; "),
        (
            1,
            "is rejected",
            f"`{champion}` remains champion.",
            f"(better than the champion: probability below 0.1 %, rouge1 {expected_f1(5) - expected_f1(6):+.2f} ",
        ),
    ):
        ended = run("retrain", rank, return_state=True)
        decision = ended.result().to_json()["decision"]
        assert state in ended.message
        assert f"{decision['adapter']} with prompt highlight, 4 dialogues, " in ended.message
        artifact: Any = Artifact.get(key="decision")
        assert f"[{decision['adapter']}](../../artifacts/key/{decision['adapter']}) {head}" in artifact.data
        assert ("promoted" in f"{artifact.data}{artifact.description}") is (head == "is champion")
        sentences = [line for line in artifact.data.splitlines()[1:] if line and not line.startswith("|")]
        plain_sentences = [re.sub(r"\[(.+?)\]\(.+?\)", r"`\1`", line) for line in sentences]
        assert plain_sentences == ([stands] if stands else [])
        rows = [line for line in artifact.data.splitlines() if "passed |" in line or "passed** |" in line]
        assert len(rows) == len(decision["checks"])
        assert sum("**not passed**" in row for row in rows) == (rank == 1)
        assert all(check["name"] in row and "%" in rows[0] for check, row in zip(decision["checks"], rows, strict=True))


@pytest.mark.slow
def test_every_artifact_that_a_run_depends_on_has_one_page_in_the_prefect_ui(run: Any) -> None:
    """On a server that knows none of it, what the adapter was trained on included; the same again adds no page."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    def pages() -> list[Any]:
        keys = ArtifactFilterKey(any_=[m.id for m in Store.current().manifests()])
        with get_client(sync_client=True) as client:
            return client.read_artifacts(artifact_filter=ArtifactFilter(key=keys))

    trained = run("retrain", 1)
    with get_client(sync_client=True) as client:
        for page in pages():
            client.request("DELETE", "/artifacts/{id}", path_params={"id": page.id})
    assert pages() == []
    evaluated = run("evaluate", 1)
    expected = {e["artifact"] for e in evaluated["stages"]} | {
        stage_entry(trained, "format", "train")["artifact"],
        adapter_id(trained),
        *(artifact for e in evaluated["stages"] for artifact in re.findall(r"\b[a-z]+-[0-9a-f]{8}\b", e["reason"])),
    }
    assert sorted(page.key for page in pages()) == sorted(expected)
    assert stages_run(run("evaluate", 1)) == []
    assert len(pages()) == len(expected)


@pytest.mark.slow
def test_a_rolled_back_adapter_comes_back_by_hand_only(run: Any, events: Any, capsys: Any) -> None:
    """Rolled back, an unchanged retraining rejects it; `promote --adapter` puts it in force, and reruns are unmoved."""
    first, second = run("retrain", 1), run("retrain", 2)
    capsys.readouterr()
    run("rollback", 2)
    assert json.loads(capsys.readouterr().out) == {"champion": adapter_id(first), "withdrawn": adapter_id(second)}
    events()
    refused = run("retrain", 2)
    assert stages_run(refused) == ["promote", "report"]
    at = log(second).withdrawn[adapter_id(second)]
    day = datetime.fromisoformat(at).strftime("%d %b %H:%M").lstrip("0")
    assert stage_entry(refused, "promote")["reason"] == f"the champion was rolled back on {day} UTC"
    (reason,) = refused["decision"]["reasons"]
    assert (
        reason == f"rolled back by hand on {at[:16].replace('T', ' ')} UTC; only `dialogsum promote` can reinstate it"
    )
    capsys.readouterr()
    Terminal().scores(RunSummary.model_validate(refused), {})
    assert f"  no   {reason}\n" in capsys.readouterr().out
    assert events() == [("dialogsum.model.rejected", adapter_id(second))]
    assert (stages_run(run("retrain", 2)), events()) == ([], [])
    assert in_force(second) == [adapter_id(first), adapter_id(second), adapter_id(first)]

    back = run("promote", 2, adapter=adapter_id(second))
    assert (back["decision"]["state"], "train" in stages_run(back)) == ("promoted", False)
    assert events() == [("dialogsum.model.promoted", adapter_id(second))]
    assert run("retrain", 2)["decision"]["state"] == "promoted"
    assert (stages_run(run("retrain", 2)), events()) == ([], [])
    assert in_force(second) == [adapter_id(first), adapter_id(second), adapter_id(first), adapter_id(second)]


@pytest.mark.slow
@pytest.mark.usefixtures("trained")
def test_rollback_prints_who_is_champion_and_the_command_that_undoes_it(run: Any, capsys: Any) -> None:
    """With and without a previous champion; `summarize` and `evaluate --adapter champion` name the same command."""
    from flows.cli.pipeline_commands import rollback
    from flows.inference.model_selection import select_model

    first, second = run("retrain", 1), run("retrain", 2)
    model = _model(second)
    for withdrawn, now in ((second, f"{adapter_id(first)} is champion again"), (first, "there is none now")):
        capsys.readouterr()
        rollback("smollm2-135m", [f"model.source={run.llama}", "model.turns=chatml"])
        message, undo = capsys.readouterr().out.strip().split(" Undo: ")
        assert message == f"{adapter_id(withdrawn)} is no longer champion; {now}."
        assert shlex.split(undo) == [
            "dialogsum",
            "promote",
            "smollm2-135m",
            "--set",
            f"model.source={run.llama}",
            "--set",
            "model.turns=chatml",
            "--adapter",
            adapter_id(withdrawn),
        ]
    undo_command = f"dialogsum promote smollm2-135m --adapter {adapter_id(first)}"
    way = rf"{adapter_id(first)} was rolled back on 20.* UTC, and `{undo_command}` reinstates it"
    with pytest.raises(RequestError, match=rf"is champion now: {way}"):
        find_adapter("champion", model)
    with pytest.raises(RequestError, match=rf"no champion in .*: {way}; --adapter latest"):
        select_model("champion", None, None)
    assert run("promote", 1, adapter=adapter_id(first))["decision"]["state"] == "promoted"
    assert find_adapter("champion", model).id == adapter_id(first)  # type: ignore[union-attr]


@pytest.mark.usefixtures("trained")
@pytest.mark.slow
@pytest.mark.parametrize(("intruder", "state"), [(1, "promoted"), (3, "rejected")])
def test_a_champion_that_changes_after_the_decision_is_compared_with_as_well(
    run: Any, events: Any, monkeypatch: pytest.MonkeyPatch, intruder: int, state: str
) -> None:
    """Another run promotes between decision and move: the candidate then has to beat that one, whichever is better."""
    from flows import runner

    other = run("retrain", intruder, "gate.automatic=false")
    assert (other["decision"]["state"], log(other).changes, events()) == ("passed", [], [])
    scores, run_stage = stage_entry(other, "score")["artifact"], runner.run_stage  # type: ignore[attr-defined]

    def meanwhile(job: Any) -> Any:
        receipt = run_stage(job)
        if job.stage == "promote" and not log(other).changes:
            decoding = {"max_new_tokens": 6, "max_prompt_tokens": 2048, "beams": 1, "length_penalty": 1.0}
            manifest = Store.current().by_id(adapter_id(other))
            settings = {"template": manifest.facts["template"], "turns": "chatml", "generate": decoding}
            assert log(other).promote(Champion(adapter=adapter_id(other), **settings), scores, "another run")
        return receipt

    monkeypatch.setattr(runner, "run_stage", meanwhile)
    result = run("retrain", 2)
    assert result["decision"]["state"] == state
    assert result["scores"]["champion"] == other["scores"]["tuned"]
    assert events() == [(f"dialogsum.model.{state}", adapter_id(result))]
    assert in_force(result) == [adapter_id(other), adapter_id(result)][: 2 if state == "promoted" else 1]


@pytest.mark.slow
@pytest.mark.usefixtures("trained")
def test_only_runs_that_may_promote_move_the_champion(run: Any, events: Any) -> None:
    """`evaluate` never, `gate.automatic=false` decides only, `promote` does."""
    decided = run("retrain", 2, "gate.automatic=false")
    evaluated = run("evaluate", 2, adapter="latest")
    assert "decision" not in evaluated
    assert (stages_run(evaluated), evaluated["scores"]) == (["report"], decided["scores"])
    assert (log(decided).changes, events()) == ([], [])
    promoted = run("promote", 2, "gate.automatic=false")
    assert (stages_run(promoted), promoted["decision"]["state"]) == ([], "promoted")
    assert events() == [("dialogsum.model.promoted", adapter_id(decided))]
    assert find_adapter("champion", _model(decided)).id == adapter_id(decided)  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.usefixtures("trained")
def test_an_evaluation_names_prompts_dialogues_overrides_and_result(run: Any) -> None:
    """In the name of the run, the message of its state, the artifacts in the UI, and the table of the scores."""
    from prefect.artifacts import Artifact
    from prefect.client.orchestration import get_client

    from flows.pipeline import evaluate

    trained = run("retrain", 2, "gate.automatic=false")
    ended = run("evaluate", 2, "generate.limit=3", adapter="latest", prompt="brief", return_state=True)
    who = f"{adapter_id(trained)} with prompt brief"
    assert ended.message.startswith(f"{who}, 3 of 4 dialogues, model.source=")
    same = f'ROUGE-1 {expected_f1(6):.1f}, +0.0 (+0.0 to +0.0) against the previous prompt "highlight"'
    assert f"more: {same}; reused 2 of 8 stages, ran format eval, generate base, generate tuned" in ended.message
    with get_client(sync_client=True) as client:
        name = client.read_flow_run(ended.state_details.flow_run_id).name
        assert name.startswith(f"evaluate {who} (smollm2-135m, model.source=")
        # what a person typed into the form stays, also where the run is tried again; what Prefect drew does not
        for run_name, shown in (("prompt of Monday", "prompt of Monday"), ("upsilon368-selye-warp", name)):
            settings = {
                "recipe": "smollm2-135m",
                "adapter": "latest",
                "prompt": "brief",
                "overrides": run.overrides(2, "generate.limit=3"),
            }
            typed = client.create_flow_run(evaluate, parameters=settings, name=run_name)
            run_flow(evaluate, flow_run=typed, parameters=settings)
            assert client.read_flow_run(typed.id).name == shown
    for key in ("report", "scores", "stages"):
        artifact: Any = Artifact.get(key=key)
        assert f"smollm2-135m: {who}, 3 of 4 dialogues, " in artifact.description
    table: Any = Artifact.get(key="scores")
    lines = re.sub(r"\\(.)", r"\1", table.data).splitlines()
    systems = {line.split("|")[1].strip() for line in lines if line.startswith("|")}
    assert {"base", "tuned, prompt brief", "tuned, prompt highlight"} <= systems
    report: Any = Artifact.get(key="report")
    assert "generate\\.limit\\=3" in report.data.split("## Overrides of the recipe")[1]
    base_only = run("evaluate", 1, adapter="none", return_state=True)
    assert base_only.message.startswith("base model with prompt highlight, 4 dialogues, ")
    assert f": ROUGE-1 {expected_f1(3):.1f} ({expected_f1(3):.1f} to {expected_f1(3):.1f}); " in base_only.message


def _model(summary: dict[str, Any]) -> ResolvedModel:
    revision = Store.current().by_id(adapter_id(summary)).identity["config"]["model"]["revision"]
    return ResolvedModel(revision=revision, location="/nowhere", origin="llama")


@pytest.mark.slow
def test_evaluate_reuses_what_run_has_made_and_follows_the_adapter(
    run: Any, models: dict[str, Path], data: Path
) -> None:
    """By id and `latest` the same; `none` scores the base model alone; a base of other weights is refused by name."""
    from flows.pipeline import evaluate

    trained = run("retrain", 1, "seeds=2")
    by_id, latest = run("evaluate", 1, adapter=adapter_id(trained)), run("evaluate", 1, adapter="latest")
    assert (stages_run(by_id), stages_run(latest)) == (
        ["report"],
        [],
    )  # one without a decision in it; not the second seed's adapter
    assert by_id["scores"] == latest["scores"] == trained["scores"]
    base_only = run("evaluate", 1, adapter="none")
    assert [e["stage"] for e in base_only["stages"]] == ["download", "format", "generate", "score", "report"]
    assert base_only["scores"] == {"base": trained["scores"]["base"]}
    gemma = small_overrides("gemma-2b", models["gemma"], data)
    with pytest.raises(RequestError, match=r"was trained on llama, the recipe's base model is gemma"):
        evaluate(recipe="gemma-2b", adapter=adapter_id(trained), overrides=gemma)
    with pytest.raises(RequestError, match=r"no adapter of gemma"):
        evaluate(recipe="gemma-2b", adapter="latest", overrides=gemma)


@pytest.mark.slow
def test_a_champion_that_fails_a_stricter_gate_is_reported_as_rejected_and_stays(run: Any, events: Any) -> None:
    """The reported decision is that of the gate, whichever adapter is champion."""
    first = run("retrain", 1)
    events()
    stricter = run("retrain", 1, "gate.least_rows=1000")
    assert stricter["decision"]["state"] == "rejected"
    assert [c["name"] for c in stricter["decision"]["checks"] if not c["passed"]] == ["test dialogues"]
    assert events() == [("dialogsum.model.rejected", adapter_id(first))]
    assert in_force(stricter) == [adapter_id(first)]


@pytest.mark.slow
def test_a_champion_that_is_damaged_is_named_with_the_way_out(run: Any, store: Store) -> None:
    """Nothing is compared with it, nothing is promoted past it, and a rollback frees the way."""
    first = run("retrain", 1)
    path = store.by_id(adapter_id(first)).path
    (Path(store.absolute(path)) / "payload" / "adapter_model.safetensors").unlink()
    with pytest.raises(
        RequestError, match=rf"{adapter_id(first)}, the model to compare with, is missing or damaged .* rollback"
    ):
        run("retrain", 2)
    run("rollback", 1)
    assert run("retrain", 2)["decision"]["state"] == "promoted"


@pytest.mark.slow
def test_a_rollback_to_an_adapter_that_is_gone_is_refused(run: Any, store: Store) -> None:
    """As after `gc --champions`; the champion stays, and one line names both adapters and the remedy."""
    first, second = run("retrain", 1), run("retrain", 2)
    store.backend.remove(store.by_id(adapter_id(first)).path)
    with pytest.raises(
        RequestError, match=rf"^{adapter_id(first)}, the champion before {adapter_id(second)}, was removed .* promote"
    ):
        run("rollback", 2)
    assert in_force(second) == [adapter_id(first), adapter_id(second)]


@pytest.mark.slow
def test_an_adapter_that_cannot_be_used_is_refused_with_the_reason(run: Any, store: Store) -> None:
    """No champion yet, a broken log, an id of another stage, a damaged adapter; `none` cannot be promoted."""
    trained = run("retrain", 1, "gate.automatic=false")
    model = _model(trained)
    with pytest.raises(RequestError, match="is champion yet"):
        find_adapter("champion", model)
    with pytest.raises(RequestError, match="cannot be promoted"):
        run("promote", 1, adapter="none")
    store.side_files.write(b"{", "champions", model.revision[:12], "000001.json")
    with pytest.raises(RequestError, match="could not be parsed"):
        find_adapter("champion", model)
    with pytest.raises(RequestError, match="is an artifact of the stage score, not an adapter"):
        find_adapter(stage_entry(trained, "score")["artifact"], model)
    manifest = store.by_id(adapter_id(trained))
    (Path(store.absolute(manifest.path)) / "payload" / "adapter_model.safetensors").unlink()
    with pytest.raises(RequestError, match=r"damaged \(payload file adapter_model\.safetensors is missing\)"):
        find_adapter("latest", model)
