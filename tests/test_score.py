"""ROUGE by hand, by rouge_score itself and by the figures of DialogSum's authors; the bootstrap by counting."""

import json
import shutil
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rouge_score import rouge_scorer

from artifacts.errors import StageError
from artifacts.manifest import Made
from artifacts.schemas import DATASET, PREDICTIONS, read_table, write_table
from artifacts.store import Store
from tasks.config import DataConfig, DownloadSpec, Runtime, ScoreConfig
from tasks.download import download
from tasks.events import Silent
from tasks.rouge import MEASURES, TYPES, score_rows
from tasks.score import ROWS, score
from tasks.sources import resolve_data
from tasks.stage import Artifact, Context
from tests.conftest import ROOT, SAMPLE, read_csv

DIALOGSUM = ROOT.parent / "shared" / "data" / "dialogsum"
ODD = (
    "", " ", "…", "?!", "über naïve café", "日本語 テスト", "Don't-stop\nrunning\n\nrunners", "a\x00b", "x" * 3000,
    "the " * 800,
)  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path, store: Store) -> "Bench":
    return Bench(tmp_path, store)


class Bench:
    """Runs the plain stage function on constructed artifacts."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store, self.made = folder, store, 0

    def context(self) -> Context:
        self.made += 1
        out, work = self.folder / f"stage{self.made}" / "out", self.folder / f"stage{self.made}" / "work"
        out.mkdir(parents=True)
        work.mkdir()
        return Context(out, work, Runtime(), Silent())

    def artifact(self, stage: str, table: str, rows: list[dict[str, Any]], schema: Any) -> Artifact:
        """An artifact with one table."""
        out = self.context().out
        write_table(rows, schema, out / f"{table}.parquet")
        manifest = self.store.publish(
            out, stage=stage, of=None, name="made", key=f"{self.made:08x}", rows=len(rows), identity={}, inputs={},
            facts={}, made=Made(at="2026-01-01T00:00:00", seconds=0, run="test"),
        )  # fmt: skip
        return Artifact(self.store.payload(manifest.path), manifest)

    def dataset(self, references: list[list[str]]) -> Artifact:
        rows = [
            {"id": f"test_{i}", "dialogue": f"#Person1#: {i}", "references": texts, "topics": [""] * len(texts)}
            for i, texts in enumerate(references)
        ]
        return self.artifact("download", "test", rows, DATASET)

    def predictions(self, texts: list[str]) -> Artifact:
        rows = [
            {"id": f"test_{i}", "prediction": text, "tokens": 1, "stop": "stop_token"} for i, text in enumerate(texts)
        ]
        return self.artifact("generate", "predictions", rows, PREDICTIONS)

    def score(self, dataset: Artifact, *systems: Artifact, **settings: int) -> tuple[dict[str, Any], Path]:
        """scores.json of base and, if given, tuned; and the folder it lies in."""
        context = self.context()
        score(ScoreConfig(**{"bootstrap_resamples": 1000} | settings), context, dataset, *systems)
        return json.loads((context.out / "scores.json").read_text()), context.out


@pytest.mark.parametrize(
    ("prediction", "reference", "kind", "expected"),
    [
        # 3 of 3 predicted words are in the reference, 3 of its 4 words were predicted: F1 = 2 * 3/4 / (7/4)
        ("the cat sat", "the cat sat down", "rouge1", (1, 3 / 4, 6 / 7)),
        # pairs: "the cat", "cat sat" of "the cat", "cat sat", "sat down": F1 = 2 * 2/3 / (5/3)
        ("the cat sat", "the cat sat down", "rouge2", (1, 2 / 3, 4 / 5)),
        ("the cat sat", "the cat sat down", "rougeL", (1, 3 / 4, 6 / 7)),
        # in order with gaps: the . cat . sat, 3 of 3 and 3 of 5; no pair stands side by side in the reference
        ("the cat sat", "the black cat quietly sat", "rougeL", (1, 3 / 5, 3 / 4)),
        ("the cat sat", "the black cat quietly sat", "rouge2", (0, 0, 0)),
        # the same words in reverse order: the longest common subsequence has one word
        ("sat cat the", "the cat sat", "rouge1", (1, 1, 1)),
        ("sat cat the", "the cat sat", "rougeL", (1 / 3, 1 / 3, 1 / 3)),
        # a word counts as often as it stands in both: "the" once of three
        ("the the the", "the dog", "rouge1", (1 / 3, 1 / 2, 2 / 5)),
        # a line is a sentence to rougeLsum alone: both lines are found whole, but rougeL sees one of them in order
        ("the cat\nsat down", "sat down\nthe cat", "rougeLsum", (1, 1, 1)),
        ("the cat\nsat down", "sat down\nthe cat", "rougeL", (1 / 2, 1 / 2, 1 / 2)),
        # case and punctuation are no part of a word
        ("The CAT, sat!", "the cat sat", "rouge2", (1, 1, 1)),
        ("", "the cat sat", "rouge1", (0, 0, 0)),
        ("", "the cat sat", "rougeLsum", (0, 0, 0)),
        ("?!", "the cat sat", "rougeL", (0, 0, 0)),
    ],
)  # fmt: skip
def test_rouge_equals_what_is_counted_by_hand(
    prediction: str, reference: str, kind: str, expected: tuple[float, float, float]
) -> None:
    """Precision, recall and F1 are the ratios that a person finds with a pencil."""
    found = score_rows([prediction], [[reference]], stem=True)[0, 0, TYPES.index(kind)]
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("prediction", "reference", "stemmed", "unstemmed"),
    [
        ("running", "runs", 1, 0),  # both have the stem "run"
        ("he walked home", "he walks home", 1, 2 / 3),
        ("ads", "ad", 0, 0),  # words of three letters and fewer keep their form
        ("university", "universe", 1, 0),  # Porter's stem of both is "univers"
    ],
)
def test_stemming_makes_forms_of_a_word_equal(
    prediction: str, reference: str, stemmed: float, unstemmed: float
) -> None:
    """The protocol says stemming, and stemming is what is done; without it words match as they are written."""
    for stem, expected in ((True, stemmed), (False, unstemmed)):
        found = score_rows([prediction], [[reference]], stem)[0, 0, TYPES.index("rouge1"), MEASURES.index("f1")]
        assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("stem", [True, False])
def test_scores_equal_rouge_score_to_the_last_digit(stem: bool) -> None:
    """The remembered stems change speed, never a figure: odd texts on either side included."""
    texts = [row["summary"] for row in read_csv(SAMPLE / "test.csv")]
    dialogues = [row["dialogue"] for row in read_csv(SAMPLE / "test.csv")]
    odd = cycle(ODD)
    predictions = [next(odd) if i % 3 == 0 else dialogues[3 * i] if i % 3 == 1 else texts[3 * i] for i in range(40)]
    references = [[texts[3 * i], next(odd) if i % 4 == 0 else texts[3 * i + 1], texts[3 * i + 2]] for i in range(40)]
    plain = rouge_scorer.RougeScorer(list(TYPES), use_stemmer=stem)
    expected = np.zeros((40, 3, len(TYPES), 3))
    for i in range(40):
        for j in range(3):
            found = plain.score(references[i][j], predictions[i])
            expected[i, j] = [[found[t].precision, found[t].recall, found[t].fmeasure] for t in TYPES]
    assert np.array_equal(score_rows(predictions, references, stem), expected)
    assert 0 < expected[..., 2].mean() < 1


def test_score_is_the_mean_over_references_then_over_dialogues(bench: Bench) -> None:
    """Each dialogue weighs the same, and each of its references the same within it."""
    dataset = bench.dataset([["the cat sat down", "the cat sat", "a dog"], ["he left", "he went", "she left"]])
    found, out = bench.score(dataset, bench.predictions(["the cat sat", ""]))
    # F1 of the first dialogue: 6/7, 1 and 0, mean 13/21; the second, empty, has 0: mean 13/42
    # recall: 3/4, 1 and 0, mean 7/12, then 7/24; precision: 1, 1, 0, mean 2/3, then 1/3
    wanted = {"f1": 100 * 13 / 42, "recall": 100 * 7 / 24, "precision": 100 / 3}
    got = found["systems"]["base"]["rouge1"]
    assert {name: got[name] for name in wanted} == pytest.approx(wanted, abs=5e-5)
    # rouge2: 4/5, 1 and 0, mean 3/5, then 3/10
    assert found["systems"]["base"]["rouge2"]["f1"] == pytest.approx(30, abs=5e-5)
    rows = read_table(out / "rows.parquet", ROWS)
    assert [(row["system"], row["id"]) for row in rows] == [("base", "test_0"), ("base", "test_1")]
    assert [row["rouge1"] for row in rows] == pytest.approx([13 / 21, 0])
    protocol = found["protocol"]
    assert (protocol["rows"], protocol["rows_in_split"], protocol["references_per_row"]) == (2, 2, 3)
    assert version("rouge-score") in protocol["package"]


def test_bootstrap_interval_is_the_one_that_can_be_counted(bench: Bench) -> None:
    """Two dialogues scoring 0 and 100: resampled means are 0, 50, 100 with odds 1:2:1, so the interval is 0 to 100."""
    dataset = bench.dataset([["the cat sat"], ["the dog ran"]])
    base, tuned = bench.predictions(["", ""]), bench.predictions(["the cat sat", ""])
    found, _ = bench.score(dataset, base, tuned, bootstrap_resamples=4000)
    gain = found["difference"]["rouge1"]
    assert (gain["mean"], gain["interval"]) == (50, [0, 100])
    assert gain["better"] == pytest.approx(3 / 4, abs=0.03)  # not drawn at all in a quarter; 4 standard errors
    assert found["systems"]["tuned"]["rouge1"]["interval"] == [0, 100]
    alone, _ = bench.score(bench.dataset([["the cat sat down"]]), bench.predictions(["the cat sat"]))
    assert alone["systems"]["base"]["rouge1"]["interval"] == [85.7143, 85.7143]  # one dialogue: no spread


def test_interval_is_as_wide_as_the_spread_of_dialogues(bench: Bench) -> None:
    """The interval holds the point and agrees with the normal approximation, 1.96 standard errors on either side."""
    rows = read_csv(SAMPLE / "test.csv")
    references = [[row["summary"] for row in rows[i : i + 3]] for i in range(0, 120, 3)]
    found, out = bench.score(
        bench.dataset(references), bench.predictions([row["dialogue"].split("\n")[0] for row in rows[::3]])
    )
    table = read_table(out / "rows.parquet", ROWS)
    for kind in TYPES:
        point, (low, high) = (found["systems"]["base"][kind][name] for name in ("f1", "interval"))
        error = 100 * np.std([row[kind] for row in table]) / 40**0.5
        assert low < point < high
        assert high - low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_same_seed_gives_the_same_bytes_and_another_seed_does_not(bench: Bench) -> None:
    """A rerun writes the same files; `score.bootstrap_seed` moves the intervals and nothing else."""
    rows = read_csv(SAMPLE / "test.csv")[::3]
    dataset = bench.dataset([[row["summary"]] for row in rows])
    systems = [bench.predictions([row["dialogue"][:n] for row in rows]) for n in (80, 200)]
    (first, one), (_, two), (other, three) = (bench.score(dataset, *systems, bootstrap_seed=seed) for seed in (0, 0, 1))
    for name in ("scores.json", "rows.parquet"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    assert (one / "scores.json").read_bytes() != (three / "scores.json").read_bytes()
    assert (one / "rows.parquet").read_bytes() == (three / "rows.parquet").read_bytes()
    for system in ("base", "tuned"):
        assert first["systems"][system]["rouge1"]["f1"] == other["systems"][system]["rouge1"]["f1"]


def test_equal_predictions_differ_by_exactly_nothing(bench: Bench) -> None:
    """A tuned model that says what the base says is better in no resample, by no rounding error."""
    rows = read_csv(SAMPLE / "test.csv")[::3]
    texts = [row["dialogue"][:120] for row in rows]
    dataset = bench.dataset([[row["summary"]] for row in rows])
    found, _ = bench.score(dataset, bench.predictions(texts), bench.predictions(texts))
    assert all(gain == {"mean": 0, "interval": [0, 0], "better": 0} for gain in found["difference"].values())


def test_systems_run_on_different_dialogues_are_refused(bench: Bench) -> None:
    """A difference between other rows, or rows in another order, would be a paired test of nothing."""
    dataset = bench.dataset([["the cat sat"], ["the dog ran"]])
    two, one = bench.predictions(["a", "b"]), bench.predictions(["a"])
    with pytest.raises(StageError, match="different dialogues"):
        bench.score(dataset, two, one)


@pytest.mark.skipif(not (DIALOGSUM / "bart_large_test_outputs.txt").is_file(), reason=f"no DialogSum at {DIALOGSUM}")
def test_outputs_of_dialogsums_authors_score_what_is_published(bench: Bench, tmp_path: Path) -> None:
    """The oracle nobody here wrote: BART-large's 500 outputs score 45.0532 / 20.0726 / 37.8794."""
    folder = tmp_path / "dialogsum"
    folder.mkdir()
    for split in ("train", "validation", "test"):  # the small splits in place of the 11 MB that nothing here reads
        shutil.copy(DIALOGSUM / f"{'test' if split == 'test' else 'validation'}.csv", folder / f"{split}.csv")
    context = bench.context()
    download(DownloadSpec(data=resolve_data(DataConfig(source=str(folder)))), context)
    dataset = bench.artifact("download", "test", read_table(context.out / "test.parquet", DATASET), DATASET)
    outputs = (DIALOGSUM / "bart_large_test_outputs.txt").read_text(encoding="utf-8").splitlines()
    found, _ = bench.score(dataset, bench.predictions(outputs), bootstrap_resamples=500)
    got = {kind: found["systems"]["base"][kind]["f1"] for kind in ("rouge1", "rouge2", "rougeL")}
    assert got == {"rouge1": 45.0532, "rouge2": 20.0726, "rougeL": 37.8794}
    assert found["protocol"]["rows"] == 500

    def points(protocol: str, system: str = "base") -> list[float]:
        return [found["protocols"][protocol][system][kind]["f1"] for kind in ("rouge1", "rouge2", "rougeL")]

    # the same outputs under other protocols, and floor and ceiling, measured apart from this project
    assert points("best reference, stemming") == [53.6521, 30.0704, 47.0841]
    assert points("first reference only, stemming") == [45.9089, 21.3200, 38.7098]
    assert points("mean of references, no stemming") == pytest.approx([42.92, 18.74, 36.32], abs=0.005)
    assert points("mean of references, stemming", "first three utterances") == pytest.approx(
        [26.95, 6.71, 20.39], abs=0.005
    )
    assert points("mean of references, stemming", "human") == pytest.approx([53.37, 26.73, 44.99], abs=0.005)
    assert points("mean of references, no stemming", "human") == pytest.approx([50.91, 25.22, 43.21], abs=0.005)


def test_floors_and_ceiling_stand_beside_every_score(bench: Bench) -> None:
    """By hand: references `the cat sat` and `the cat`, so each against the other has P and R 1 and 2/3, F1 4/5."""
    found, _ = bench.score(bench.dataset([["the cat sat", "the cat"]]), bench.predictions(["the cat"]))
    headline = {name: row["rouge1"] for name, row in found["protocols"]["mean of references, stemming"].items()}
    assert headline["human"]["f1"] == pytest.approx(80)
    assert headline["base"]["f1"] == pytest.approx(100 * (4 / 5 + 1) / 2)
    assert found["protocols"]["best reference, stemming"]["base"]["rouge1"]["f1"] == pytest.approx(100)
    assert found["protocols"]["first reference only, stemming"]["base"]["rouge1"]["f1"] == pytest.approx(80)
    assert {"constant sentence", "first three utterances"} <= set(headline)
    alone, _ = bench.score(bench.dataset([["the cat sat"]]), bench.predictions(["the cat"]))
    assert "human" not in alone["protocols"]["mean of references, stemming"]  # one reference has no other
