"""Reasons: what changed, in words, with ids that can be looked up, short enough for a table."""

import re

import pytest

from artifacts.cache_key import UNKNOWN, difference
from artifacts.reasons import MAX_REASON_LENGTH, excerpt, excerpts, explain

OLD = {"rows": "format-b301592f", "base": "generate-2a6eb75e", "scores": "score-1a2b3c4d"}
NEW = {
    "rows": "format-687c0ce8",
    "base": "generate-41e6edf1",
    "before": "generate-4e217fd6",
    "scores": "score-5e6f7a8b",
}
DIGEST = "3" * 64
HIGHLIGHT = "Summarize the following dialogue in one or two sentences.\n\n{dialogue}"
BRIEF = "Read the dialogue and say in one short sentence who wants what.\n\n{dialogue}"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"config.train.lora.rank": (8, 16)}, "train.lora.rank: 8 -> 16"),
        ({"config.train.limit": (None, 40)}, "train.limit: none -> 40"),
        ({"config.gate.length_ratio": ([0.5, 2.0], [0.3, 2.0])}, "gate.length_ratio: [0.5,2.0] -> [0.3,2.0]"),
        ({"config.turns": ("gemma", "chatml")}, "turns: gemma -> chatml"),
        ({"config.template": (HIGHLIGHT, BRIEF)}, 'prompt: "Summarize the following…" -> "Read the dialogue and…"'),
        ({"config.template": ("a {dialogue}", "a\n\n{dialogue}")}, "prompt: only spaces or line breaks differ"),
        (
            {"config.withdrawn_at": (None, "2026-11-26T23:41:18.704669+00:00")},
            "the champion was rolled back on 26 Nov 23:41 UTC",
        ),
        ({"config.withdrawn_at": ("2026-11-26T23:41:18.704669+00:00", None)}, "the adapter is no longer rolled back"),
        ({"config.data.revision": (DIGEST, "4" * 64)}, "the data changed (revision 33333333 -> 44444444)"),
        ({"config.history": ([1, 2, 3], [1, 2, 3, 4])}, "history: 3 evaluations -> 4"),
        ({"config.history": ([1, 2], [1, 3])}, "history: an earlier evaluation changed"),
        ({"code.tasks.metrics.rouge": ("a", "b")}, "code of tasks.metrics.rouge changed"),
        ({f"code.m{i}": ("a", "b") for i in range(7)}, "code of m0, m1 and 5 more changed"),
        ({"inputs.rows": (DIGEST, "5" * 64)}, "the prompts changed (format-b301592f -> format-687c0ce8)"),
        ({"inputs.rows": (DIGEST, f"{UNKNOWN} by format")}, "the prompts changed (format-b301592f -> to be made)"),
        ({"inputs.before": (None, DIGEST)}, "the summaries with the previous prompt added (generate-4e217fd6)"),
        ({"inputs.seed_3": (None, DIGEST)}, "the scores of seed 3 added (33333333)"),
        ({"config.judge_agreement": (None, {"auroc": 0.6})}, "the judge was compared with people"),
        ({"inputs.judge_tuned": (DIGEST, None)}, "the judge of the tuned model's summaries removed (33333333)"),
        ({"inputs.champion_dataset": (DIGEST, None)}, "the champion's dataset removed (33333333)"),
        (
            {"config.champion_data.champion": ("train-1a2b3c4d", "train-5e6f7a8b")},
            "the champion whose data is compared changed",
        ),
    ],
)
def test_a_change_is_words_with_old_and_new(changes: dict[str, tuple[object, object]], expected: str) -> None:
    """Settings as old -> new, inputs by artifact id, texts by the words that differ, lists by their length."""
    assert explain(changes, "generate", OLD, NEW) == expected


def test_what_training_reads_are_rows_with_answers() -> None:
    """The same role is another thing there."""
    assert explain({"inputs.rows": ("a", "b")}, "train", OLD, NEW).startswith("the training rows changed")


def test_a_rerun_with_a_different_result_is_not_described_as_another_artifact() -> None:
    """The input has the same id as before and other bytes."""
    assert (
        explain({"inputs.rows": ("a", "b")}, "generate", OLD, OLD)
        == "the prompts changed (format-b301592f was rerun with a different result)"
    )


def test_a_reason_stays_short_and_counts_what_it_leaves_out() -> None:
    """Causes first: code, settings, then inputs in the order in which they are made."""
    old = {
        "code": {"tasks.metrics.rouge": "a"},
        "config": {"history": [], "report": {"examples": 500}},
        "inputs": dict.fromkeys(OLD, "1" * 64),
    }
    new = {
        "code": {"tasks.metrics.rouge": "b"},
        "config": {"history": [{"adapter": "x" * 300}], "report": {"examples": 1}},
        "inputs": dict.fromkeys(NEW, "2" * 64),
    }
    reason = explain(difference(old, new), "report", OLD, NEW)
    assert len(reason) <= MAX_REASON_LENGTH
    parts = reason.split("; ")
    assert parts[:2] == ["code of tasks.metrics.rouge changed", "report.examples: 500 -> 1"]
    left = re.fullmatch(r"and (\d) more", parts[-1])
    assert left is not None
    assert len(parts) - 1 + int(left[1]) == len(difference(old, new))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("one two three", "one two four", ("…three", "…four")),
        ("Be brief.", "Be brief. Say who.", ("…brief.", "…brief. Say who.")),
        ("same", "same", ("same", "same")),
        ("", "new", ("", "new")),
        ("Summarize " + "x" * 500, "Summarize " + "y" * 500, ("…" + "x" * 48 + "…", "…" + "y" * 48 + "…")),
    ],
)
def test_excerpts_begin_at_the_first_word_that_differs(old: str, new: str, expected: tuple[str, str]) -> None:
    """Whole words, an ellipsis where words are left out; only what no language calls a word is cut."""
    assert excerpts(old, new) == expected


def test_an_excerpt_has_no_control_characters() -> None:
    """It is printed on a terminal."""
    assert excerpt(["a\x1b[31m", "b\u202ec"]) == "a [31m b c"
