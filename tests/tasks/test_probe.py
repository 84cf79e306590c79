"""The stage probe: its figures are those of plain transformers and peft, for the prompts of the evaluation."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from artifacts.artifact_store import Store
from artifacts.errors import StageError
from artifacts.schemas import DATASET, FORMATTED_EVAL, read_table
from tasks import probe as stage
from tasks.config import ModelConfig, ProbeConfig, ProbeSpec, Quantization, Runtime
from tasks.execution.stage import Artifact, Context, StageResult
from tasks.metrics.probe_kinds import ProbeKind
from tasks.metrics.probe_table import LIKELIHOODS
from tasks.probe import probe
from tasks.sources.resolve import resolve_model
from tests.support.artifacts import ArtifactFactory
from tests.support.data import read_csv
from tests.support.listeners import RecordingListener
from tests.support.models import nf4_model, random_adapter
from tests.support.paths import SAMPLE

inline = pytest.mark.usefixtures("workers_inline")
OPENING, CLOSING = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"


class ProbeSetup:
    """Dataset and prompts of the first dialogues of the sample, and the tiny Llama."""

    def __init__(self, factory: ArtifactFactory, model: Path) -> None:
        self.factory, self.model = factory, model
        source = read_csv(SAMPLE / "test.csv")[:30]
        self.rows = [
            {"id": f"test_{i}", "dialogue": group[0]["dialogue"], "references": [r["summary"] for r in group]}
            | {"topics": [""] * 3}
            for i, group in enumerate(source[i : i + 3] for i in range(0, 30, 3))
        ]
        self.dataset = factory.artifact("download", "test", self.rows, DATASET)
        self.prompts = [{"id": row["id"], "prompt": f"Say:\n{row['dialogue']}"} for row in self.rows]
        self.formatted = factory.artifact("format", "prompts", self.prompts, FORMATTED_EVAL)

    def run(
        self,
        adapter: Path | None = None,
        context: Context | None = None,
        quantization: Quantization = "none",
        **settings: Any,
    ) -> tuple[StageResult, Any]:
        context = context or self.factory.context()
        context = Context(context.out, context.work, Runtime(device="cpu", threads=1), RecordingListener())
        spec = ProbeSpec(
            model=resolve_model(ModelConfig(source=str(self.model))),
            turns="chatml",
            max_prompt_tokens=2048,
            quantization=quantization,
            probe=ProbeConfig(**settings),
        )
        given = None if adapter is None else Artifact(adapter, self.dataset.manifest)
        result = probe(spec, context, self.dataset, self.formatted, given)
        return result, read_table(context.out / "probe.parquet", LIKELIHOODS)


@pytest.fixture
def setup(tmp_path: Path, store: Store, models: dict[str, Path]) -> ProbeSetup:
    return ProbeSetup(ArtifactFactory(tmp_path, store), models["llama"])


def plain_likelihood(model: Any, tokenizer: Any, prompt: str, text: str) -> tuple[float, int]:
    """By transformers alone: the prompt in its markers, then the text; sum and number of the text's tokens."""
    before = tokenizer(OPENING + prompt + CLOSING, add_special_tokens=False)["input_ids"]
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        scores = model(input_ids=torch.tensor([before + ids])).logits[0].double().log_softmax(-1)
    return sum(float(scores[len(before) - 1 + i, token]) for i, token in enumerate(ids)), len(ids)


@inline
@pytest.mark.parametrize(("with_adapter", "quantization"), [(False, "none"), (True, "none"), (True, "nf4")])
def test_likelihoods_are_those_of_transformers_and_peft(
    setup: ProbeSetup, tmp_path: Path, with_adapter: bool, quantization: Quantization
) -> None:
    """With `nf4`, beside base weights that bitsandbytes keeps in NF4."""
    adapter = random_adapter(setup.model, tmp_path / "adapter") if with_adapter else None
    result, rows = setup.run(adapter, quantization=quantization, dialogues=4)
    if quantization == "nf4":
        model = nf4_model(setup.model)
    else:
        model = AutoModelForCausalLM.from_pretrained(setup.model, dtype=torch.float32).eval()
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter)).eval()
    tokenizer = AutoTokenizer.from_pretrained(setup.model)
    prompts = {row["id"]: row["prompt"] for row in setup.prompts}
    assert {row["id"] for row in rows} == {f"test_{i}" for i in range(4)}
    for row in rows:
        for side in ("reference", "corruption"):
            expected, tokens = plain_likelihood(model, tokenizer, prompts[row["id"]], row[side])
            assert row[f"logp_{side}"] == pytest.approx(expected, abs=1e-3)
            assert row[f"tokens_{side}"] == tokens
    preferred = result.facts["preferred"]
    for kind, share in preferred.items():
        pairs = [row for row in rows if row["kind"] == kind]
        right = [
            row["logp_reference"] / row["tokens_reference"] > row["logp_corruption"] / row["tokens_corruption"]
            for row in pairs
        ]
        assert share == pytest.approx(sum(right) / len(right), abs=1e-4)
        assert result.facts["pairs"][kind] + result.facts["left_out"][kind] == 4
    assert result.rows == len(rows)
    assert result.measured["device"] == "CPU, 1 threads"


@inline
def test_a_run_that_was_killed_is_done_again_from_the_start(setup: ProbeSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it has left in its scratch folder; the result is that of a run without a failure."""
    context, _ = setup.factory.context(), None
    with monkeypatch.context() as patch:
        patch.setattr(stage, "run_workers", lambda *_: (_ for _ in ()).throw(StageError("killed")))
        with pytest.raises(StageError, match="killed"):
            setup.run(context=context, dialogues=3)
    assert (context.work / "pairs.parquet").is_file()
    _, again = setup.run(context=context, dialogues=3)
    _, expected = setup.run(dialogues=3)
    assert again == expected


@inline
def test_data_that_admits_nothing_gives_an_empty_table(setup: ProbeSetup) -> None:
    """No model is loaded for it."""
    row = {"id": "a", "dialogue": "A: 你好", "references": ["你好"], "topics": [""]}
    setup.dataset = setup.factory.artifact("download", "test", [row], DATASET)
    setup.model = setup.model
    result, rows = setup.run(dialogues=5)
    assert (result.rows, rows, result.measured) == (0, [], {})
    assert set(result.facts["not_applied"]) == {ProbeKind.ROLES, ProbeKind.NEGATION}
