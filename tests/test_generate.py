"""Batched generation says what the model alone would say, row by row, however it was interrupted."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from artifacts.manifest import Made
from artifacts.schemas import FORMATTED_EVAL, PREDICTIONS, read_table, write_table
from artifacts.store import Store
from tasks.config import GenerateConfig, GenerateSpec, ModelConfig, Runtime
from tasks.events import Silent
from tasks.generate import generate
from tasks.sources import resolve_model
from tasks.stage import Artifact, Context, Done
from tests.conftest import SAMPLE, read_csv

pytestmark = pytest.mark.usefixtures("workers_inline")
COUNT, NEW_TOKENS = 7, 12
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
MARKER = {"prediction": "made before the run was killed", "tokens": 1, "stop": "stop_token"}


class Desk:
    """Generates for one folder of rows, in a scratch folder that outlives a run."""

    def __init__(self, folder: Path, store: Store, model: Path) -> None:
        self.folder, self.store, self.model, self.work = folder, store, model, folder / "work"
        self.prompts = [row["dialogue"] for row in read_csv(SAMPLE / "test.csv")[: 3 * COUNT : 3]]
        self.prompts[2] = "Hi."  # rows of very different lengths
        rows = [{"id": f"test_{i}", "prompt": prompt} for i, prompt in enumerate(self.prompts)]
        source = folder / "rows"
        source.mkdir()
        write_table(rows, FORMATTED_EVAL, source / "test.parquet")
        self.rows = self.publish("format", source)

    def publish(self, stage: str, out: Path) -> Artifact:
        manifest = self.store.publish(
            out, stage=stage, of=None, name="made", key="0" * 64, rows=1, identity={}, inputs={}, facts={},
            made=Made(at="2026-01-01T00:00:00", seconds=0, run="test"),
        )  # fmt: skip
        return Artifact(self.store.payload(manifest.path), manifest)

    def run(
        self, adapter: Artifact | None = None, batch: int = 3, **settings: int
    ) -> tuple[Done, list[dict[str, Any]]]:
        """The stage function; its scratch is kept, as after a run that was killed."""
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        self.work.mkdir(exist_ok=True)
        spec = GenerateSpec(
            model=resolve_model(ModelConfig(source=str(self.model))), turns="chatml",
            generate=GenerateConfig(**{"max_new_tokens": NEW_TOKENS} | settings),
        )  # fmt: skip
        runtime = Runtime(device="cpu", threads=1, generate_batch_size=batch)
        done = generate(spec, Context(out, self.work, runtime, Silent()), self.rows, adapter)
        return done, read_table(out / "predictions.parquet", PREDICTIONS)

    def afresh(self, *arguments: Any, **settings: Any) -> list[dict[str, Any]]:
        """Predictions of a run that finds no scratch."""
        shutil.rmtree(self.work, ignore_errors=True)
        return self.run(*arguments, **settings)[1]

    def oracle(self, adapter: Path | None = None) -> list[dict[str, Any]]:
        """What transformers' own greedy generate says to one row at a time, tokenized as a whole; peft unmerged."""
        tokenizer = AutoTokenizer.from_pretrained(self.model)
        model: Any = AutoModelForCausalLM.from_pretrained(self.model, dtype=torch.float32).eval()
        if adapter:
            model = PeftModel.from_pretrained(model, adapter).eval()
        stop = tokenizer.convert_tokens_to_ids("<|im_end|>")
        rows = []
        for i, prompt in enumerate(self.prompts):
            text = f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
            ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
            said = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW_TOKENS,
                eos_token_id=stop, pad_token_id=0,
            )[0, ids.shape[1] :].tolist()  # fmt: skip
            words = tokenizer.decode(said, skip_special_tokens=True).strip()
            ended = "stop_token" if said[-1] == stop else "limit"
            rows.append({"id": f"test_{i}", "prediction": words, "tokens": len(said), "stop": ended})
        return rows


def with_stop(source: Path, target: Path, scale: float) -> Path:
    """A copy of a model whose output row of the stop token is scaled: the larger, the sooner some rows end."""
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(source)
    with torch.no_grad():
        model.lm_head.weight[tokenizer.convert_tokens_to_ids("<|im_end|>")] *= scale
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target


@pytest.fixture
def desk(tmp_path: Path, store: Store, models: dict[str, Any]) -> Desk:
    """The tiny Llama, made to stop early in some rows and run into the limit in others."""
    return Desk(tmp_path, store, with_stop(models["llama"], tmp_path / "llama", 2.0))


@pytest.fixture
def adapter(desk: Desk, tmp_path: Path) -> Artifact:
    """An adapter, written by peft alone, that changes much."""
    torch.manual_seed(1)
    base = AutoModelForCausalLM.from_pretrained(desk.model, dtype=torch.float32)
    model = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=LINEARS, task_type="CAUSAL_LM"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter.data, std=0.5)
    model.save_pretrained(tmp_path / "adapter")
    return desk.publish("train", tmp_path / "adapter")


def parts(desk: Desk) -> list[Path]:
    return sorted((desk.work / "parts").glob("*.parquet"))


def test_predictions_are_those_of_plain_transformers(desk: Desk) -> None:
    """One prediction a row, in the order of the rows, with the text, tokens and stop of an unbatched greedy decode."""
    done, found = desk.run()
    assert found == desk.oracle()
    assert {row["stop"] for row in found} == {"stop_token", "limit"}
    assert all((row["tokens"] == NEW_TOKENS) or row["stop"] == "stop_token" for row in found)
    assert done.rows == COUNT
    assert done.facts["at_limit"] == sum(row["stop"] == "limit" for row in found)
    assert done.facts["mean_tokens"] == round(sum(row["tokens"] for row in found) / COUNT, 2)


def test_batch_size_does_not_change_predictions(desk: Desk) -> None:
    """`runtime.generate_batch_size` is no identity: padding beside longer rows changes nothing."""
    one, two, three, all_at_once = (desk.afresh(batch=size) for size in (1, 2, 3, 64))
    assert one == two == three == all_at_once


def test_finished_batches_are_kept_and_the_rest_is_made(desk: Desk) -> None:
    """A run that was killed goes on: what is on disk is taken as it is, and only the missing rows are decoded."""
    _, whole = desk.run()
    kept, *lost = parts(desk)
    assert len(lost) == 2
    marked = [row | MARKER for row in read_table(kept, PREDICTIONS)]
    write_table(marked, PREDICTIONS, kept)
    for file in lost:
        file.unlink()
    _, resumed = desk.run()
    ids = {row["id"] for row in marked}
    assert 0 < len(ids) < COUNT
    assert resumed == [row | MARKER if row["id"] in ids else row for row in whole]


def test_resumed_with_another_batch_size_gives_the_same_rows(desk: Desk) -> None:
    """The parts of an earlier run serve whatever the batch size is now."""
    _, whole = desk.run(batch=2)
    for file in parts(desk)[1:]:
        file.unlink()
    assert desk.run(batch=3)[1] == whole


def test_half_written_part_is_ignored(desk: Desk) -> None:
    """A part that was being written when the process died is not read, and is made again."""
    _, whole = desk.run()
    broken = parts(desk)[0]
    broken.with_suffix(".half").write_bytes(broken.read_bytes()[:100])
    broken.unlink()
    assert desk.run()[1] == whole
    assert len(parts(desk)) == 3


def test_limit_takes_the_first_rows(desk: Desk) -> None:
    """`generate.limit` predicts the first dialogues of the split, as they would be predicted among all."""
    whole = desk.afresh()
    assert desk.afresh(limit=4) == whole[:4]
    assert desk.afresh(limit=100) == whole


def test_model_that_never_stops_runs_into_the_limit(desk: Desk, models: dict[str, Any], tmp_path: Path) -> None:
    """Without a stop token every row has exactly the tokens that are allowed, and says why it ended."""
    desk.model = with_stop(models["llama"], tmp_path / "endless", 0.0)
    found = desk.afresh()
    assert {(row["stop"], row["tokens"]) for row in found} == {("limit", NEW_TOKENS)}
    assert {row["tokens"] for row in desk.afresh(max_new_tokens=3)} == {3}


def test_adapter_is_applied_as_peft_applies_it(desk: Desk, adapter: Artifact) -> None:
    """The merged model says what peft's own, unmerged, says in fp32, and not what the base model says."""
    tuned = desk.afresh(adapter)
    assert tuned == desk.oracle(adapter.payload)
    base = desk.afresh()
    assert sum(a["prediction"] != b["prediction"] for a, b in zip(tuned, base, strict=True)) > COUNT // 2


def test_long_prompt_is_cut_in_its_text_alone(desk: Desk) -> None:
    """A prompt over `generate.max_prompt_tokens` is predicted from its beginning, its turn still closed."""
    tokenizer = AutoTokenizer.from_pretrained(desk.model)
    cut = desk.afresh(max_prompt_tokens=40)
    markers = tokenizer("<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n", add_special_tokens=False)["input_ids"]
    texts = tokenizer(desk.prompts, add_special_tokens=False)["input_ids"]
    desk.prompts = [tokenizer.decode(text[: 40 - len(markers)]) for text in texts]
    assert cut == desk.oracle()
