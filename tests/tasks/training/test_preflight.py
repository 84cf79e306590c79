"""Every silent failure of training that the checks are for is noticed, named and refused before time is spent."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
from transformers import AutoTokenizer

from artifacts.check import Check, refuse_failed
from artifacts.errors import StageError
from tasks.config import ResolvedModel, TrainConfig, TrainSpec
from tasks.models.chat_template import EncodedRows, TurnEncoder
from tasks.training.preflight import Preflight, memory_check
from tests.support.data import read_csv
from tests.support.paths import SAMPLE

MODEL = ResolvedModel(revision="0" * 64, location="/nowhere", origin="tiny")


@dataclass(frozen=True)
class Rows:
    """What the trainer would get, free to be spoiled by a test."""

    encoder: TurnEncoder
    spec: TrainSpec
    rows: list[dict[str, Any]]
    encoded: list[tuple[list[int], int]]
    expected: int
    cut: int
    lost: int

    def findings(self, labels: list[list[int]] | None = None) -> dict[str, Check]:
        """The checks by name. Labels are those of loss on the completion unless given."""
        labels = labels or [[-100] * length + ids[length:] for ids, length in self.encoded]
        findings = Preflight(
            self.spec, self.encoder, self.rows, EncodedRows(self.encoded, self.cut, self.lost), labels, self.expected
        ).checks()
        return {check.name: check for check in findings}


@pytest.fixture
def rows(models: dict[str, Any]) -> Rows:
    """Six good rows for the tiny Gemma."""
    return encoded(models, TrainConfig())


def encoded(models: dict[str, Any], settings: TrainConfig) -> Rows:
    encoder = TurnEncoder(AutoTokenizer.from_pretrained(models["gemma"]), "gemma")
    spec = TrainSpec(model=MODEL, turns="gemma", quantization="none", train=settings)
    source = read_csv(SAMPLE / "train.csv")[:6]
    rows = [{"id": row["id"], "prompt": row["dialogue"], "completion": row["summary"]} for row in source]
    encoded_rows, cut, lost = encoder.rows(
        [row["prompt"] for row in rows], [row["completion"] for row in rows], settings.max_length, settings.stop_token
    )
    return Rows(encoder, spec, rows, encoded_rows, len(rows), cut, lost)


def states(findings: dict[str, Check]) -> dict[str, str]:
    return {name: check.state for name, check in findings.items()}


def assert_refused(findings: dict[str, Check], name: str) -> None:
    """Only the check `name` failed, and the refusal names it."""
    assert [check.name for check in findings.values() if check.state == "failed"] == [name]
    with pytest.raises(StageError, match=f"checks before training failed: {name}:") as refusal:
        refuse_failed(list(findings.values()))
    assert findings[name].detail in str(refusal.value)


def test_good_rows_pass_every_check(rows: Rows) -> None:
    """Rows as tasks/models/chat_template.py makes them are not refused."""
    findings = rows.findings()
    assert set(states(findings).values()) == {"ok"}
    refuse_failed(list(findings.values()))


def test_lost_rows_are_refused(rows: Rows) -> None:
    """Fewer rows for the trainer than the data has is an error, as in the article that trained on 13 of 12,460."""
    findings = replace(rows, expected=12460).findings()
    assert_refused(findings, "rows")
    assert "6 of 12460" in findings["rows"].detail


@pytest.mark.parametrize("position", ["first", "middle", "last"])
def test_prompt_that_is_no_prefix_of_the_training_row_is_refused(rows: Rows, position: str) -> None:
    """One other token anywhere in the prompt of one row is noticed."""
    ids, length = rows.encoded[2]
    at = {"first": 0, "middle": length // 2, "last": length - 1}[position]
    spoiled = [*ids[:at], ids[at] + 1, *ids[at + 1 :]]
    findings = replace(rows, encoded=[*rows.encoded[:2], (spoiled, length), *rows.encoded[3:]]).findings()
    assert_refused(findings, "prompt")
    assert "5 of 6" in findings["prompt"].detail


def test_row_that_is_all_prompt_is_refused(rows: Rows) -> None:
    """A row without a completion has nothing to learn, and its prompt is no strict prefix."""
    ids, length = rows.encoded[0]
    findings = replace(rows, encoded=[(ids[:length], length), *rows.encoded[1:]]).findings()
    assert {name for name, state in states(findings).items() if state == "failed"} == {"prompt", "stop token", "labels"}


def test_stop_token_without_a_label_is_refused(rows: Rows) -> None:
    """A stop token whose label is masked, as padding collators do, is never learnt, and that is an error."""
    labels = [[-100] * length + ids[length:] for ids, length in rows.encoded]
    labels[3][-1] = -100
    findings = rows.findings(labels)
    assert_refused(findings, "stop token")
    assert "5 of 6" in findings["stop token"].detail


def test_missing_stop_token_is_refused(models: dict[str, Any], rows: Rows) -> None:
    """Rows encoded without a stop token are refused where the recipe trains one."""
    without = encoded(models, TrainConfig(stop_token=False))
    assert_refused(replace(without, spec=rows.spec).findings(), "stop token")


def test_untrained_stop_token_is_a_note_when_the_recipe_says_so(models: dict[str, Any]) -> None:
    """`stop_token: false` is the user's choice: a note, not a failed check."""
    findings = encoded(models, TrainConfig(stop_token=False)).findings()
    assert states(findings) == {name: "note" if name == "stop token" else "ok" for name in findings}
    refuse_failed(list(findings.values()))


def test_row_without_any_label_is_refused(rows: Rows) -> None:
    """A row that is masked throughout trains nothing."""
    labels = [[-100] * length + ids[length:] for ids, length in rows.encoded]
    labels[0] = [-100] * len(labels[0])
    findings = rows.findings(labels)
    assert findings["labels"].state == "failed"
    assert "5 of 6" in findings["labels"].detail
    with pytest.raises(StageError, match="labels: 5 of 6"):
        refuse_failed(list(findings.values()))


def test_completion_too_long_for_a_row_is_refused(models: dict[str, Any]) -> None:
    """A completion that would lose its end, and its stop token with it, is an error that counts the rows."""
    tokenizer = AutoTokenizer.from_pretrained(models["gemma"])
    lengths = [len(tokenizer(row["summary"])["input_ids"]) for row in read_csv(SAMPLE / "train.csv")[:6]]
    longest = max(lengths)
    markers = len(tokenizer("<bos><start_of_turn>user\n<end_of_turn>\n<start_of_turn>model\n")["input_ids"])
    findings = encoded(models, TrainConfig(max_length=markers + longest)).findings()  # one token short: the stop token
    assert findings["length"].state == "failed"
    assert f"{lengths.count(longest)} of 6" in findings["length"].detail
    with pytest.raises(StageError, match="length: "):
        refuse_failed(list(findings.values()))
    assert encoded(models, TrainConfig(max_length=markers + longest + 1)).findings()["length"].state == "ok"


def test_cut_dialogues_are_counted_and_not_refused(models: dict[str, Any]) -> None:
    """Truncation is a note with the number of dialogues that lose their end."""
    lengths = sorted(len(ids) for ids, _ in encoded(models, TrainConfig()).encoded)
    findings = encoded(models, TrainConfig(max_length=lengths[3])).findings()  # four of six fit
    shorter = sum(length > lengths[3] for length in lengths)
    assert shorter > 0
    assert findings["truncation"].state == "note"
    assert f"{shorter} of 6" in findings["truncation"].detail
    assert states(findings) == {name: "note" if name == "truncation" else "ok" for name in findings}
    refuse_failed(list(findings.values()))


def test_several_failures_are_all_named(rows: Rows) -> None:
    """The refusal lists every failed check, so that one rerun mends them all."""
    findings = replace(rows, expected=7, lost=2).findings()
    with pytest.raises(StageError, match=r"rows: 6 of 7 .*; length: 2 of 6"):
        refuse_failed(list(findings.values()))


def test_memory_is_a_note_when_it_may_not_suffice() -> None:
    """The estimate grows with the model and warns without refusing: it is rough."""
    spec = TrainSpec(model=MODEL, turns="gemma", quantization="none", train=TrainConfig())
    small, large = (memory_check(n, 18, 2048, 1024, spec, 16 << 30, "CPU") for n in (1_000_000, 2_500_000_000))
    assert (small.state, large.state) == ("ok", "note")
    refuse_failed([small, large])
    quantized = memory_check(
        2_500_000_000, 18, 2048, 1024, spec.model_copy(update={"quantization": "nf4"}), 16 << 30, "GPU"
    )
    assert quantized.state == "ok"


def test_training_on_another_turn_template_fails_the_prompt_check(rows: Rows, models: dict[str, Any]) -> None:
    """The article's mistake: every prompt has another length, and none is the one of generation."""
    other = TurnEncoder(AutoTokenizer.from_pretrained(models["gemma"]), "article")
    encoded, cut, lost = other.rows(
        [row["prompt"] for row in rows.rows], [row["completion"] for row in rows.rows], 1000
    )
    assert replace(rows, encoded=encoded, cut=cut, lost=lost).findings()["prompt"].state == "failed"
