"""`export --score`: the file is scored by the stages of a run, and nothing that the store has is made again."""

from pathlib import Path

import pytest

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from flows.evaluation_history import evaluations
from flows.inference import gguf_scores
from flows.inference.export_adapter import export_adapter
from tasks.workers.events import NullListener
from tests.support.models import publish_adapter
from tests.support.pipelines import patch_workers_inline

TEMPLATE = "Summarize:\n{dialogue}"


class StageListener(NullListener):
    """Keeps the stages that run."""

    def __init__(self) -> None:
        self.run: list[str] = []

    def stage(self, label: str, status: str, reason: str, artifact: str) -> None:
        self.run.append(label)


@pytest.fixture
def trained(tmp_path: Path, store: Store, models: dict[str, Path], data: Path) -> tuple[str, list[str]]:
    """An adapter in the store, and the overrides that name its base model and data."""
    adapter = publish_adapter(store, models["llama"], tmp_path / "made", TEMPLATE)
    overrides = [f"model.source={models['llama']}", f"data.source={data}", "generate.max_new_tokens=8"]
    return adapter, [*overrides, "runtime.device=cpu", "score.bootstrap_resamples=1000"]


def test_a_file_without_loss_scores_as_the_model_does(
    trained: tuple[str, list[str]], tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The difference is 0; the card has the sentence, the history of evaluations does not have the comparison."""
    patch_workers_inline(monkeypatch)
    listener = StageListener()
    arguments = {"overrides": trained[1], "format": "gguf=f32", "score": True}
    result = export_adapter(trained[0], tmp_path / "out", listener=listener, **arguments)  # type: ignore[arg-type]
    sentence = result["scores"]
    assert sentence.startswith("ROUGE-1 ")
    assert sentence.endswith(", +0.00 (+0.00 to +0.00) against the original model")
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"The weights of this folder, as f32, score {sentence}." in card
    stages = ["download", "format eval", "generate tuned", "generate f32", "score f32"]
    assert listener.run == stages
    assert not any(evaluations(m.identity["config"]["model"]["revision"]) for m in store.manifests("generate"))
    made = store.folders()
    again = export_adapter(trained[0], tmp_path / "again", listener=listener, **arguments)  # type: ignore[arg-type]
    assert (again["scores"], store.folders()) == (sentence, made)
    assert not [file for file in (store.scratch / "models").iterdir() if file.is_dir()]  # nothing unpacked is left


def test_what_transformers_reads_otherwise_is_not_scored(
    trained: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setting that differs in the file as transformers reads it would make the scores those of another model."""
    monkeypatch.setattr(gguf_scores, "READ_BACK", ("architectures", "_name_or_path", "hidden_size"))
    with pytest.raises(RequestError, match=r"complete, but transformers reads another .* leave --score out"):
        export_adapter(trained[0], tmp_path / "out", overrides=trained[1], format="gguf=f32", score=True)
    assert list((tmp_path / "out").glob("*.gguf"))


def test_an_architecture_that_transformers_cannot_read_back_is_refused_before_the_file_is_written(
    tmp_path: Path, store: Store, models: dict[str, Path], data: Path
) -> None:
    """Gemma 1; its file is written without --score."""
    adapter = publish_adapter(store, models["gemma"], tmp_path / "made", TEMPLATE)
    overrides = [f"model.source={models['gemma']}", f"data.source={data}", "model.turns=gemma"]
    with pytest.raises(RequestError, match="--score: transformers reads no GGUF file of the architecture gemma"):
        export_adapter(adapter, tmp_path / "out", format="gguf=f16", score=True, overrides=overrides)
    assert not (tmp_path / "out").exists()
