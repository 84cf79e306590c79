"""Batched generation equals generation row by row, also after interruptions."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from artifacts.artifact_store import Store
from artifacts.errors import RequestError, StageError
from artifacts.manifest import Provenance
from artifacts.schemas import FORMATTED_EVAL, PREDICTIONS, read_table, write_table
from tasks.config import GenerateConfig, GenerateSpec, ModelConfig, Runtime
from tasks.decoding import decoder_choice
from tasks.decoding.decoder import Decoder
from tasks.decoding.part_files import save_part
from tasks.execution.stage import Artifact, Context, StageResult
from tasks.generate import generate
from tasks.sources.resolve import resolve_model
from tasks.workers.events import NullListener
from tests.support.data import read_csv
from tests.support.models import random_adapter, with_stop
from tests.support.paths import SAMPLE
from tests.support.worker_processes import worker_processes

inline = pytest.mark.usefixtures("workers_inline")
COUNT, NEW_TOKENS = 7, 12
MARKER = {"prediction": "made before the run was killed", "tokens": 1, "stop": "stop_token"}


class GenerationSetup:
    """Generates for one folder of rows, in a scratch folder that outlives a run."""

    def __init__(self, folder: Path, store: Store, model: Path) -> None:
        self.folder, self.store, self.model, self.work = folder, store, model, folder / "work"
        self.prompts = [row["dialogue"] for row in read_csv(SAMPLE / "test.csv")[: 3 * COUNT : 3]]
        self.prompts[2] = "Hi."  # rows of very different lengths
        rows = [{"id": f"test_{i}", "prompt": prompt} for i, prompt in enumerate(self.prompts)]
        source = folder / "rows"
        source.mkdir()
        write_table(rows, FORMATTED_EVAL, source / "prompts.parquet")
        self.rows = self.publish("format", source)

    def publish(self, stage: str, out: Path) -> Artifact:
        manifest = self.store.publish(
            out,
            stage=stage,
            variant=None,
            name="made",
            key="0" * 64,
            rows=COUNT,
            identity={},
            inputs={},
            facts={},
            provenance=Provenance(at="2026-01-01T00:00:00", seconds=0, run="test"),
        )
        return Artifact(self.store.payload(manifest.path), manifest)

    def run(
        self, adapter: Artifact | None = None, batch: int = 3, gpus: int = 1, events: Any = None, **settings: Any
    ) -> tuple[StageResult, list[dict[str, Any]]]:
        """The stage function; its scratch is kept, as after a run that was killed."""
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        self.work.mkdir(exist_ok=True)
        spec = GenerateSpec(
            model=resolve_model(ModelConfig(source=str(self.model))),
            turns="chatml",
            generate=GenerateConfig(**{"max_new_tokens": NEW_TOKENS} | settings),
        )
        runtime = Runtime(device="cpu", threads=1, generate_batch_size=batch, gpus=gpus)
        result = generate(spec, Context(out, self.work, runtime, events or NullListener()), self.rows, adapter)
        return result, read_table(out / "predictions.parquet", PREDICTIONS)

    def afresh(self, *arguments: Any, **settings: Any) -> list[dict[str, Any]]:
        """Predictions of a run that finds no scratch."""
        shutil.rmtree(self.work, ignore_errors=True)
        return self.run(*arguments, **settings)[1]

    def oracle(self, adapter: Path | None = None) -> list[dict[str, Any]]:
        """Predictions of transformers' greedy generate, one row at a time, with the adapter unmerged."""
        tokenizer = AutoTokenizer.from_pretrained(self.model)
        model: Any = AutoModelForCausalLM.from_pretrained(self.model, dtype=torch.float32).eval()
        if adapter:
            model = PeftModel.from_pretrained(model, adapter).eval()
        stop = tokenizer.convert_tokens_to_ids("<|im_end|>")
        rows = []
        for i, prompt in enumerate(self.prompts):
            text = f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
            ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
            output = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=NEW_TOKENS,
                eos_token_id=stop,
                pad_token_id=0,
            )[0, ids.shape[1] :].tolist()
            words = tokenizer.decode(output, skip_special_tokens=True).strip()
            ended = "stop_token" if output[-1] == stop else "limit"
            rows.append({"id": f"test_{i}", "prediction": words, "tokens": len(output), "stop": ended})
        return rows


@pytest.fixture
def setup(tmp_path: Path, store: Store, models: dict[str, Any]) -> GenerationSetup:
    """The tiny Llama, made to stop early in some rows and run into the limit in others."""
    return GenerationSetup(tmp_path, store, with_stop(models["llama"], tmp_path / "llama", 2.0))


@pytest.fixture
def adapter(setup: GenerationSetup, tmp_path: Path) -> Artifact:
    """An adapter, written by peft alone, that changes much."""
    return setup.publish("train", random_adapter(setup.model, tmp_path / "adapter"))


def parts(setup: GenerationSetup) -> list[Path]:
    return sorted((setup.work / "parts").glob("*.parquet"))


@inline
def test_predictions_are_those_of_plain_transformers(setup: GenerationSetup) -> None:
    """One prediction a row, in the order of the rows, with the text, tokens and stop of an unbatched greedy decode."""
    result, predictions = setup.run()
    assert predictions == setup.oracle()
    assert {row["stop"] for row in predictions} == {"stop_token", "limit"}
    assert all((row["tokens"] == NEW_TOKENS) or row["stop"] == "stop_token" for row in predictions)
    assert result.rows == COUNT
    assert result.facts["at_limit"] == sum(row["stop"] == "limit" for row in predictions)
    assert result.facts["mean_tokens"] == round(sum(row["tokens"] for row in predictions) / COUNT, 2)


@inline
def test_batch_size_does_not_change_predictions(setup: GenerationSetup) -> None:
    """`runtime.generate_batch_size` is no identity: padding beside longer rows changes nothing."""
    one, two, three, all_at_once = (setup.afresh(batch=size) for size in (1, 2, 3, 64))
    assert one == two == three == all_at_once


@inline
def test_finished_batches_are_kept_and_the_rest_is_decoded(setup: GenerationSetup) -> None:
    """A killed run resumes: it uses the batches on disk unchanged and decodes only the missing rows."""
    _, complete = setup.run()
    first, *lost = parts(setup)
    assert len(lost) == 2
    marked = [row | MARKER for row in read_table(first, PREDICTIONS)]
    first.unlink()
    save_part(marked, first.parent)
    for file in lost:
        file.unlink()
    _, resumed = setup.run()
    ids = {row["id"] for row in marked}
    assert 0 < len(ids) < COUNT
    assert resumed == [row | MARKER if row["id"] in ids else row for row in complete]


@pytest.mark.slow
@inline
def test_resumed_with_another_batch_size_gives_the_same_rows(setup: GenerationSetup) -> None:
    """The parts of an earlier run serve whatever the batch size is now."""
    _, complete = setup.run(batch=2)
    for file in parts(setup)[1:]:
        file.unlink()
    assert setup.run(batch=3)[1] == complete


@pytest.mark.slow
@inline
def test_a_half_written_part_is_ignored(setup: GenerationSetup) -> None:
    """A part that was being written when the process died is not read, and is made again."""
    _, complete = setup.run()
    broken = parts(setup)[0]
    broken.with_suffix(".half").write_bytes(broken.read_bytes()[:100])
    broken.unlink()
    assert setup.run()[1] == complete
    assert len(parts(setup)) == 3


@inline
def test_limit_takes_the_first_rows(setup: GenerationSetup) -> None:
    """`generate.limit` predicts the first dialogues of the split, as they would be predicted among all."""
    complete = setup.afresh()
    assert setup.afresh(limit=4) == complete[:4]
    assert setup.afresh(limit=100) == complete


@inline
def test_model_that_never_stops_runs_into_the_limit(
    setup: GenerationSetup, models: dict[str, Any], tmp_path: Path
) -> None:
    """Without a stop token every row has exactly the allowed tokens and stops at the limit."""
    setup.model = with_stop(models["llama"], tmp_path / "endless", 0.0)
    predictions = setup.afresh()
    assert {(row["stop"], row["tokens"]) for row in predictions} == {("limit", NEW_TOKENS)}
    assert {row["tokens"] for row in setup.afresh(max_new_tokens=3)} == {3}


@inline
def test_adapter_is_applied_as_peft_applies_it(setup: GenerationSetup, adapter: Artifact) -> None:
    """The merged model generates what peft's unmerged model generates in fp32, unlike the base model."""
    tuned = setup.afresh(adapter)
    assert tuned == setup.oracle(adapter.payload)
    base = setup.afresh()
    assert sum(a["prediction"] != b["prediction"] for a, b in zip(tuned, base, strict=True)) > COUNT // 2


@inline
def test_long_prompt_is_cut_in_its_text_alone(setup: GenerationSetup) -> None:
    """A prompt over `generate.max_prompt_tokens` is predicted from its beginning, its turn still closed."""
    tokenizer = AutoTokenizer.from_pretrained(setup.model)
    cut = setup.afresh(max_prompt_tokens=40)
    markers = tokenizer("<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n", add_special_tokens=False)["input_ids"]
    texts = tokenizer(setup.prompts, add_special_tokens=False)["input_ids"]
    setup.prompts = [tokenizer.decode(text[: 40 - len(markers)]) for text in texts]
    assert cut == setup.oracle()


# -- several candidates


@pytest.mark.slow
@inline
def test_candidates_are_sampled_once_and_whatever_the_batches(setup: GenerationSetup) -> None:
    """Every batch size gives the same choice, another seed another one; the tokens and seconds are measured."""
    result, chosen = setup.run(candidates=6, epsilon=0.0, max_new_tokens=8)
    assert result.measured["tokens"] > 6 * COUNT
    assert chosen == setup.afresh(batch=1, candidates=6, epsilon=0.0, max_new_tokens=8)
    assert chosen == setup.afresh(batch=64, candidates=6, epsilon=0.0, max_new_tokens=8)
    assert chosen != setup.afresh(candidates=6, epsilon=0.0, max_new_tokens=8, seed=1)
    assert {row["tokens"] <= 8 for row in chosen} == {True}


@inline
def test_candidates_of_a_cold_model_are_its_greedy_summary(setup: GenerationSetup) -> None:
    """At a temperature near 0 there is nothing to choose."""
    assert setup.afresh(candidates=4, temperature=1e-4) == setup.oracle()


@inline
def test_beams_are_left_to_transformers(setup: GenerationSetup) -> None:
    """Two beams find what transformers' own two find; together with candidates they are refused."""
    predictions = setup.afresh(beams=2)
    assert [row["id"] for row in predictions] == [f"test_{i}" for i in range(COUNT)]
    assert predictions != setup.oracle()
    with pytest.raises(ValueError, match="beams is 2 and candidates is 3"):
        setup.run(beams=2, candidates=3)


@inline
def test_candidates_of_a_model_the_decoder_does_not_know_are_refused(
    setup: GenerationSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its greedy summaries come from transformers."""
    monkeypatch.setattr(decoder_choice, "NATIVE_MODEL_TYPES", ())
    assert setup.afresh() == setup.oracle()
    with pytest.raises(RequestError, match="candidates"):
        setup.afresh(candidates=3)


# -- several processes


def broken_at(setup: GenerationSetup, prompt: int) -> None:
    """Weights that make no numbers of one prompt: it alone has a certain token."""
    tokenizer = AutoTokenizer.from_pretrained(setup.model)
    texts = tokenizer(setup.prompts, add_special_tokens=False)["input_ids"]
    others = {token for i, text in enumerate(texts) if i != prompt for token in text}
    predicted = {token for row in setup.oracle() for token in tokenizer(row["prediction"])["input_ids"]}
    token = next(token for token in texts[prompt] if token not in others | predicted)
    model = AutoModelForCausalLM.from_pretrained(setup.model, dtype=torch.float32)
    with torch.no_grad():
        model.model.embed_tokens.weight[token] = torch.nan
    model.save_pretrained(setup.model)


@inline
@pytest.mark.row(8, "weights that make no numbers in generation")
@pytest.mark.parametrize("beams", [1, 2])
def test_logits_that_are_not_finite_end_the_run_and_name_the_row(setup: GenerationSetup, beams: int) -> None:
    """Weights that overflowed do not become summaries, in no decoder."""
    broken_at(setup, 4)
    with pytest.raises(StageError, match=r"NaN or infinite logits for row 'test_4' at token 1\b"):
        setup.afresh(batch=64, beams=beams)


@inline
@pytest.mark.row(9, "memory runs out in generation, injected")
@pytest.mark.parametrize("candidates", [1, 3])
def test_a_batch_that_does_not_fit_into_memory_is_halved(
    setup: GenerationSetup, monkeypatch: pytest.MonkeyPatch, candidates: int
) -> None:
    """Halved until it fits, and not tried in vain again; the predictions are the same."""
    expected, sizes, real = setup.afresh(batch=64, candidates=candidates), list[int](), Decoder._prefill

    def small(self: Decoder, prompts: list[list[int]]) -> None:
        sizes.append(len(prompts))
        if len(prompts) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        real(self, prompts)

    monkeypatch.setattr(Decoder, "_prefill", small)
    shutil.rmtree(setup.work)
    result, predictions = setup.run(batch=4, candidates=candidates)
    assert predictions == expected
    assert sizes == [4, 2, 2, 2, 1]
    assert result.measured["halved"] == 1


@pytest.mark.slow
@inline
@pytest.mark.row(9, "other errors are not taken for want of memory")
def test_a_row_that_does_not_fit_into_memory_ends_with_advice(
    setup: GenerationSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other errors are not mistaken for lack of memory."""
    errors: list[Exception] = [torch.OutOfMemoryError("full"), RuntimeError("CUDA error: an illegal memory access")]

    def fail(self: Decoder, prompts: list[list[int]]) -> None:
        raise errors[0]

    monkeypatch.setattr(Decoder, "_prefill", fail)
    with pytest.raises(StageError, match=r"tokens does not fit.*max_prompt_tokens"):
        setup.run()
    errors.pop(0)
    with pytest.raises(RuntimeError, match="illegal"):
        setup.run()


@pytest.mark.slow
def test_two_processes_write_the_bytes_of_one(setup: GenerationSetup) -> None:
    """Real processes on shards of the same batches, sampling included; progress is that of both together."""
    settings: dict[str, Any] = {"candidates": 3, "epsilon": 0.0, "batch": 2}
    setup.run(**settings)
    one = (setup.folder / "out" / "predictions.parquet").read_bytes()
    shutil.rmtree(setup.work)
    heard = Heard()
    result, _ = setup.run(gpus=2, events=heard, **settings)
    assert (setup.folder / "out" / "predictions.parquet").read_bytes() == one
    assert result.measured["processes"] == 2
    assert heard.steps[-1][:2] == (COUNT, COUNT)
    assert {total for _, total, _ in heard.steps} == {COUNT}


class Heard(NullListener):
    """Keeps the progress, and may do something at it."""

    def __init__(self, then: Any = None) -> None:
        self.steps: list[tuple[int, int, str]] = []
        self.then = then

    def progress(self, done: int, total: int, note: str = "") -> None:
        self.steps.append((done, total, note))
        if self.then:
            self.then(done)


@pytest.mark.slow
@pytest.mark.row(1, "SIGKILL of one of two generating processes")
def test_a_killed_process_ends_the_run_and_the_next_run_resumes(setup: GenerationSetup) -> None:
    """SIGKILL to one of two processes in the middle: the other is stopped, what both had saved is taken over."""
    rows = [{"id": f"test_{i}", "prompt": f"{setup.prompts[i % COUNT]} {i}"} for i in range(400)]
    write_table(rows, FORMATTED_EVAL, setup.rows.payload / "prompts.parquet")
    killed: list[int] = []

    def kill(done: int) -> None:
        if done >= 2 and not killed:
            killed.append(worker_processes("tasks.decoding.worker")[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    with pytest.raises(StageError, match="SIGKILL"):
        setup.run(batch=1, gpus=2, events=Heard(kill))
    assert worker_processes("tasks.decoding.worker") == []
    saved = {file: file.stat().st_mtime_ns for file in parts(setup)}
    assert 2 <= len(saved) < len(rows)
    resumed = Heard()
    _, predictions = setup.run(batch=1, gpus=2, events=resumed)
    assert resumed.steps[0][0] >= len(saved)  # heard once both have begun, when one may be a few rows further
    assert {file: file.stat().st_mtime_ns for file in saved} == saved
    assert predictions == setup.afresh(batch=1)
