"""The default recipe of a station, and the overrides that give it a champion's settings."""

import json
import shlex
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from artifacts.artifact_store import Store
from artifacts.champions import Champion, Champions
from artifacts.errors import RequestError
from artifacts.manifest import InputRef, Provenance
from artifacts.refs import Ref
from flows import dag
from flows.champion_settings import missing_overrides, missing_overrides_note
from flows.recipe import load_recipe
from flows.station import default_recipe
from flows.station.default_recipe import choose, deployments_with, known_recipe
from tasks.execution.decision import decide
from tasks.execution.job import Job, save_job
from tests.support.paths import ROOT
from tests.support.pipelines import small_overrides


@pytest.fixture
def choice_file(tmp_path: Path) -> Path:
    """Where the station keeps its choice."""
    return tmp_path / "recipe.json"


def crown(store: Store, tmp_path: Path, recipe: str, number: int) -> str:
    """An adapter of this recipe becomes champion of a base model of its own; its id."""
    out = tmp_path / f"adapter{number}"
    out.mkdir()
    (out / "adapter").write_text(recipe)
    manifest = store.publish(
        out,
        stage="train",
        variant=None,
        name="made",
        key=f"{number:08x}" * 8,
        rows=1,
        identity={},
        inputs={"rows": InputRef(id="format-00000000", digest="0" * 64)},
        facts={},
        provenance=Provenance(at="2026-01-01T00:00:00", seconds=0, run="test", origin={"recipe": f"{recipe} 00000000"}),
    )
    champion = Champion(adapter=manifest.id, template="{dialogue}", turns="chatml", generate={})
    assert Champions(Store.current(), f"{number:012x}").promote(champion, "score-00000000", "test")
    return manifest.id


def test_without_champion_and_hub_it_is_quickstart_and_says_what_is_missing(choice_file: Path) -> None:
    """HF_HUB_OFFLINE is set in all tests, and the recipe in prefect.yaml has its data on the hub."""
    choice, line = choose(None, choice_file, [])
    assert choice.recipe == "quickstart"
    assert line.startswith(
        "default recipe: quickstart (no champion exists, and smollm2-135m of prefect.yaml cannot run here: "
    )
    assert "knkarthick/dialogsum is not in the cache" in line
    assert "--recipe NAME" in line


def test_without_champion_it_is_the_one_in_prefect_yaml_where_its_data_and_model_are_here(choice_file: Path) -> None:
    """As with hub access, or with an override in the station's variable that needs none."""
    assert choose(None, choice_file, ["data.source=sample"])[0].recipe == "smollm2-135m"


def test_a_hub_that_does_not_answer_costs_no_more_than_the_deadline(
    choice_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is taken and nothing comes: what firewalls do."""
    from huggingface_hub import constants

    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(default_recipe, "DEADLINE", 0.5)
        started = time.monotonic()
        choice, line = choose(None, choice_file, [])
        assert time.monotonic() - started < 8  # of which the import of huggingface_hub may take most
    assert (choice.recipe, "is the hub reachable?" in line) == ("quickstart", True)


def test_it_is_the_recipe_of_the_champion_that_was_promoted_last(
    store: Store, tmp_path: Path, choice_file: Path
) -> None:
    """Of two base models; a recipe that flows/recipes does not have is passed over."""
    crown(store, tmp_path, "article", 1)
    newest = crown(store, tmp_path, "gemma-2b", 2)
    choice, line = choose(None, choice_file, [])
    assert (choice.recipe, f"it trained the champion {newest}" in line) == ("gemma-2b", True)
    choice_file.unlink()
    crown(store, tmp_path, "of-a-file-elsewhere", 3)
    assert choose(None, choice_file, [])[0].recipe == "quickstart"


def test_it_is_kept_until_another_is_given(store: Store, tmp_path: Path, choice_file: Path) -> None:
    """A champion of another recipe is named, and changes nothing; --recipe does, for later ones too."""
    first, line = choose(None, choice_file, [])
    assert "kept" not in line
    champion = crown(store, tmp_path, "article", 1)
    again, line = choose(None, choice_file, [])
    assert again == first
    assert "kept from an earlier `station up`: no champion exists, and" in line
    assert f"but article: it trained the champion {champion}" in line
    assert choose("gemma-2b", choice_file, [])[0].recipe == "gemma-2b"
    later, line = choose(None, choice_file, [])
    assert (later.recipe, "kept from an earlier `station up`: given with --recipe" in line) == ("gemma-2b", True)


@pytest.mark.parametrize("content", ["", "no JSON", '{"recipe": "no-longer-there", "reason": "x"}', '{"recipe": 1}'])
def test_a_saved_choice_that_cannot_be_used_is_replaced(choice_file: Path, content: str) -> None:
    """A damaged file, or a recipe that was removed since."""
    choice_file.write_text(content)
    assert choose(None, choice_file, [])[0].recipe == "quickstart"
    assert json.loads(choice_file.read_text())["recipe"] == "quickstart"


@pytest.mark.parametrize("name", ["gemma-3b", "/etc/passwd", "flows/recipes/article.yaml"])
def test_a_recipe_that_the_forms_do_not_have_is_refused(name: str, choice_file: Path) -> None:
    """Also a file: a worker would not find it."""
    with pytest.raises(RequestError, match=r"^--recipe: no recipe .* in flows/recipes; "):
        known_recipe(name)
    with pytest.raises(RequestError):
        choose(name, choice_file, [])
    assert not choice_file.exists()


def test_deployments_get_the_recipe_and_else_equal_prefect_yaml() -> None:
    """Read by PyYAML: only one parameter of three deployments differs."""
    written = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    generated = yaml.safe_load(deployments_with("article"))
    recipes = {d["name"]: d["parameters"].pop("recipe") for d in generated["deployments"] if "parameters" in d}
    assert recipes == dict.fromkeys(("retrain", "evaluate", "promote", "sweep"), "article")
    for deployment in written["deployments"]:
        deployment.get("parameters", {}).pop("recipe", None)
    assert generated == written


# -- the settings of a champion


class TrainedError(Exception):
    """The graph has come to the trained adapter."""


def trained(store: Store, tmp_path: Path, recipe: str, overrides: list[str]) -> Champion:
    """The champion that a run of this recipe would make: its jobs as a run keeps them, with payloads of nothing."""
    resolved = dag.resolve_recipe(load_recipe(recipe, overrides))

    def step(stage: Any, variant: str | None, spec: Any, **inputs: Any) -> Any:
        decision = decide(Store.current(), stage, variant, spec, inputs)
        job = Job(
            stage=stage.name,
            variant=variant,
            spec=spec,
            inputs=inputs,
            identity=decision.identity,
            run="test",
            recipe=f"{recipe} {resolved.recipe.revision}",
        )
        save_job(Store.current(), job)
        out = tmp_path / f"{stage.name}{variant}"
        out.mkdir()
        (out / "payload").write_text("nothing")
        manifest = store.publish(
            out,
            stage=stage.name,
            variant=variant,
            name="made",
            key=job.key,
            rows=1,
            identity=job.identity,
            inputs={role: InputRef(id=ref.id, digest=ref.digest) for role, ref in inputs.items()},
            facts={"template": resolved.prompt},
            provenance=Provenance(at="2026-01-01T00:00:00", seconds=0, run="test", origin={"recipe": job.recipe}),
        )
        if stage.name == "train":
            raise TrainedError(manifest.id)
        return Ref.of_manifest(manifest)

    with pytest.raises(TrainedError) as raised:
        dag.retrain(resolved, step)
    return resolved.candidate(str(raised.value))


def test_settings_of_a_champion_become_the_overrides_that_it_was_trained_with(
    store: Store, tmp_path: Path, data: Path, models: dict[str, Path]
) -> None:
    """The recipe with them is the recipe of its run, in all that decides data, adapter and answers."""
    overrides = small_overrides(
        "quickstart",
        models["llama"],
        data,
        "prompt=brief",
        "evaluation.prompt=Say it. {dialogue}",
        "train.loss_on=all",
        "train.lora.targets=[q_proj]",
        "generate.candidates=2",
        "score.tokenizer=characters",
    )
    champion = trained(store, tmp_path, "quickstart", overrides)
    missing = missing_overrides(champion, load_recipe("quickstart"))
    ran, again = load_recipe("quickstart", overrides), load_recipe("quickstart", missing)
    for section in ("data", "model", "train", "generate", "evaluation", "prompt"):
        assert getattr(again, section) == getattr(ran, section), section
    assert again.score.tokenizer == ran.score.tokenizer == "characters"
    assert missing_overrides(champion, ran) == []


@pytest.mark.parametrize(
    "overrides", [["model.quantization=nf4"], ["model.quantization=nf4", "generate.quantization=none"]]
)
def test_a_champion_that_generates_as_it_was_trained_needs_no_quantization_of_its_own(
    store: Store, tmp_path: Path, data: Path, overrides: list[str]
) -> None:
    """With the overrides of its run, and no others, the recipe generates with its weights."""
    champion = trained(store, tmp_path, "quickstart", [f"data.source={data}", *overrides])
    assert missing_overrides(champion, load_recipe("quickstart")) == [f"data.source={data}", *overrides]


def test_the_note_is_one_line_with_a_command_that_applies_the_settings(
    store: Store, tmp_path: Path, data: Path
) -> None:
    """The command keeps the variable's overrides; an adapter of the plain recipe, or of another one, needs no note."""
    (tmp_path / "a").mkdir()
    champion = trained(store, tmp_path / "a", "quickstart", [f"data.source={data}"])
    line = missing_overrides_note(champion, "quickstart", ["train.seed=0"]) or ""
    assert "\n" not in line
    words = shlex.split(line.partition("scheduled runs: ")[2])
    assert words[:4] == ["prefect", "variable", "set", "dialogsum_overrides"]
    assert words[5:] == ["--overwrite"]
    overrides = json.loads(words[4])
    assert overrides == ["train.seed=0", f"data.source={data}"]
    assert missing_overrides_note(champion, "quickstart", overrides) is None
    assert missing_overrides_note(champion, "smollm2-135m", []) is None
    (tmp_path / "b").mkdir()
    assert missing_overrides_note(trained(store, tmp_path / "b", "quickstart", []), "quickstart", []) is None
