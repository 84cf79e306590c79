"""Scores by hand, by loops over rouge_score, and by the figures of DialogSum's authors; each with its protocol."""

import shutil
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rouge_score import rouge_scorer

from artifacts.errors import StageError
from artifacts.schemas import DATASET, read_table, write_table
from tasks.config import DataConfig, DownloadSpec
from tasks.download import download
from tasks.metrics.row_scores import ROW_SCORES
from tasks.metrics.score_table import ROUGE_TYPES, STATISTICS
from tasks.sources.resolve import resolve_data
from tests.support.artifacts import ArtifactFactory
from tests.support.data import read_csv
from tests.support.paths import ROOT, SAMPLE

DIALOGSUM = ROOT.parent / "shared" / "data" / "dialogsum"
BEHAVIOUR = {"length_ratio", "words", "empty", "repeated", "copied", "speaker_errors", "number_errors"}


def systems(scores: dict[str, Any], protocol: str | None = None) -> dict[str, Any]:
    """The scores of every system under one protocol, the headline's unless given."""
    by_name: dict[str, Any] = scores["protocols"][protocol or scores["headline"]]["systems"]
    return by_name


def sample(rows: int) -> tuple[list[str], list[list[str]]]:
    """Dialogues and their three references of the bundled sample."""
    source = read_csv(SAMPLE / "test.csv")[: 3 * rows]
    return [row["dialogue"] for row in source[::3]], [
        [row["summary"] for row in source[i : i + 3]] for i in range(0, 3 * rows, 3)
    ]


def by_loops(texts: list[str], references: list[list[str]], stem: bool, take: str) -> dict[str, list[float]]:
    """Precision, recall and F1 x 100 of each type, as one would write it with rouge_score and nothing else."""
    oracle = rouge_scorer.RougeScorer(list(ROUGE_TYPES), use_stemmer=stem)
    means = {}
    for kind in ROUGE_TYPES:
        per_row = []
        for text, row in zip(texts, references, strict=True):
            each = [oracle.score(reference, text)[kind] for reference in row]
            if take == "best":
                best = oracle.score_multi(row, text)[kind]
                per_row.append([best.precision, best.recall, best.fmeasure])
            else:
                each = each[:1] if take == "first" else each
                per_row.append(
                    [sum(getattr(one, m) for one in each) / len(each) for m in ("precision", "recall", "fmeasure")]
                )
        means[kind] = [100 * sum(column) / len(per_row) for column in zip(*per_row, strict=True)]
    return means


@pytest.mark.parametrize(
    ("protocol", "stem", "take"),
    [
        ("mean of references, stemming", True, "mean"),
        ("mean of references, no stemming", False, "mean"),
        ("best reference, stemming", True, "best"),
        ("first reference only, stemming", True, "first"),
    ],
)
def test_every_system_floor_and_ceiling_is_what_loops_over_rouge_score_find(
    artifact_factory: ArtifactFactory, protocol: str, stem: bool, take: str
) -> None:
    """Models, the constant sentence, the first three utterances; and humans, each reference against the two others."""
    dialogues, references = sample(12)
    texts = {"base": [d[:90] for d in dialogues], "tuned": [row[2][:60] for row in references]}
    dataset = artifact_factory.dataset(references, dialogues)
    scores, _ = artifact_factory.score(
        dataset, *(artifact_factory.predictions(texts[name]) for name in ("base", "tuned"))
    )
    texts["constant sentence"] = ["#Person1# and #Person2# are talking about something."] * 12
    texts["first three utterances"] = [" ".join(d.split("\n")[:3]) for d in dialogues]
    expected = {name: by_loops(rows, references, stem, take) for name, rows in texts.items()}
    each = [
        by_loops([r[i] for r in references], [r[:i] + r[i + 1 :] for r in references], stem, take) for i in range(3)
    ]
    expected["human"] = {kind: [float(np.mean([e[kind][m] for e in each])) for m in range(3)] for kind in ROUGE_TYPES}
    got = systems(scores, protocol)
    assert got.keys() == expected.keys()
    for name, kinds in expected.items():
        for kind, values in kinds.items():
            assert [got[name][kind][measure] for measure in STATISTICS] == pytest.approx(values, abs=6e-5), (name, kind)


def test_every_score_states_its_protocol(artifact_factory: ArtifactFactory) -> None:
    """Name, rows (covered, in the split), references, package, tokenizer and interval; no two protocols are equal."""
    dialogues, references = sample(12)
    dataset = artifact_factory.dataset(references, dialogues)
    outputs = [artifact_factory.predictions([d[:n] for d in dialogues][:7]) for n in (50, 90, 130, 170)]
    scores, _ = artifact_factory.score(dataset, *outputs, bootstrap_resamples=300)
    assert scores["headline"] == "mean of references, stemming"
    assert len(scores["protocols"]) == 4
    for name, entry in scores["protocols"].items():
        assert entry["protocol"] == {
            "name": name,
            "rows": 7,
            "rows_in_split": 12,
            "split": "test",
            "references_per_row": 3,
            "package": f"rouge-score {version('rouge-score')}",
            "tokenizer": "auto (ascii)",
            "interval": "95 %, percentile bootstrap over dialogues, 300 resamples",
        }
        assert {"base", "tuned", "champion", "before", "human"} <= set(entry["systems"])
        for kinds in entry["systems"].values():
            assert kinds.keys() == set(ROUGE_TYPES)
            assert all(kind.keys() == {*STATISTICS, "interval"} for kind in kinds.values())
    for one, two in combinations(scores["protocols"], 2):
        assert systems(scores, one)["base"] != systems(scores, two)["base"]
    assert scores["differences"].keys() == {"base", "champion", "before"}
    assert scores["behaviour"].keys() == {"base", "tuned", "champion", "before", "human"}
    assert scores["behaviour"]["tuned"].keys() == BEHAVIOUR | {"at_limit"}
    assert scores["behaviour"]["human"].keys() == BEHAVIOUR  # a person has no token limit


def test_summaries_of_validation_dialogues_are_scored_against_validation_references(
    artifact_factory: ArtifactFactory,
) -> None:
    """Ids may occur in both splits: only the split that was summarized counts, and the protocol names it."""
    dataset = artifact_factory.dataset([["a dog barks"], ["he went home"]])
    write_table(
        [{"id": "test_0", "dialogue": "#Person1#: Hi.", "references": ["the cat sat"], "topics": [""]}],
        DATASET,
        dataset.payload / "validation.parquet",
    )
    summaries = artifact_factory.predictions(["the cat sat"])
    scores, _ = artifact_factory.score(dataset, summaries, split="validation")
    assert systems(scores)["base"]["rouge1"]["f1"] == 100
    protocol = scores["protocols"][scores["headline"]]["protocol"]
    assert (protocol["split"], protocol["rows"], protocol["rows_in_split"]) == ("validation", 1, 1)


def test_score_is_the_mean_over_references_then_over_dialogues(artifact_factory: ArtifactFactory) -> None:
    """Each dialogue weighs the same, and each of its references the same within it."""
    dataset = artifact_factory.dataset(
        [["the cat sat down", "the cat sat", "a dog"], ["he left", "he went", "she left"]]
    )
    scores, out = artifact_factory.score(dataset, artifact_factory.predictions(["the cat sat", ""]))
    # F1 of the first dialogue: 6/7, 1 and 0, mean 13/21; the second, empty, has 0: mean 13/42
    # recall: 3/4, 1 and 0, mean 7/12, then 7/24; precision: 1, 1, 0, mean 2/3, then 1/3
    expected = {"f1": 100 * 13 / 42, "recall": 100 * 7 / 24, "precision": 100 / 3}
    got = systems(scores)["base"]["rouge1"]
    assert {name: got[name] for name in expected} == pytest.approx(expected, abs=5e-5)
    # rouge2: 4/5, 1 and 0, mean 3/5, then 3/10
    assert systems(scores)["base"]["rouge2"]["f1"] == pytest.approx(30, abs=5e-5)
    rows = read_table(out / "rows.parquet", ROW_SCORES)
    assert [(row["system"], row["id"]) for row in rows] == [("base", "test_0"), ("base", "test_1")]
    assert [row["rouge1"] for row in rows] == pytest.approx([13 / 21, 0])


def test_a_single_reference_gives_no_human_ceiling(artifact_factory: ArtifactFactory) -> None:
    """By hand: `the cat sat` and `the cat` against each other have P and R of 1 and 2/3, so F1 is 4/5."""
    scores, _ = artifact_factory.score(
        artifact_factory.dataset([["the cat sat", "the cat"]]), artifact_factory.predictions(["the cat"])
    )
    assert systems(scores)["human"]["rouge1"]["f1"] == pytest.approx(80)
    assert systems(scores)["base"]["rouge1"]["f1"] == pytest.approx(100 * (4 / 5 + 1) / 2)
    assert systems(scores, "best reference, stemming")["base"]["rouge1"]["f1"] == pytest.approx(100)
    assert systems(scores, "first reference only, stemming")["base"]["rouge1"]["f1"] == pytest.approx(80)
    single, _ = artifact_factory.score(
        artifact_factory.dataset([["the cat sat"]]), artifact_factory.predictions(["the cat"])
    )
    assert all("human" not in systems(single, name) for name in single["protocols"])
    assert single["differences"] == {}
    assert "human" not in single["behaviour"]


def test_interval_is_as_wide_as_the_spread_of_dialogues(artifact_factory: ArtifactFactory) -> None:
    """The interval holds the point and agrees with the normal approximation, 1.96 standard errors on either side."""
    rows = read_csv(SAMPLE / "test.csv")
    references = [[row["summary"] for row in rows[i : i + 3]] for i in range(0, 120, 3)]
    scores, out = artifact_factory.score(
        artifact_factory.dataset(references),
        artifact_factory.predictions([row["dialogue"].split("\n")[0] for row in rows[::3]]),
    )
    table = read_table(out / "rows.parquet", ROW_SCORES)
    for kind in ROUGE_TYPES:
        point, (low, high) = (systems(scores)["base"][kind][name] for name in ("f1", "interval"))
        error = 100 * np.std([row[kind] for row in table]) / 40**0.5
        assert low < point < high
        assert high - low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_difference_is_that_of_the_rows_and_slices_are_parts_of_them(artifact_factory: ArtifactFactory) -> None:
    """Recomputed from rows.parquet: means of the paired differences, over all and over the dialogues of each topic."""
    dialogues, references = sample(20)
    topics = [["work" if i % 2 else "home", "rare" if i < 4 else "", "work" if i % 2 else "Home "] for i in range(20)]
    dataset = artifact_factory.dataset(references, dialogues, topics)
    scores, out = artifact_factory.score(
        dataset, *(artifact_factory.predictions([d[:n] for d in dialogues]) for n in (60, 200, 100))
    )
    table = {(row["system"], row["id"]): row for row in read_table(out / "rows.parquet", ROW_SCORES)}
    assert len(table) == 60

    def gain(rival: str, kind: str, rows: list[int]) -> float:
        return float(
            np.mean([100 * (table["tuned", f"test_{i}"][kind] - table[rival, f"test_{i}"][kind]) for i in rows])
        )

    for rival in ("base", "champion"):
        for kind in ROUGE_TYPES:
            assert scores["differences"][rival][kind]["mean"] == pytest.approx(
                gain(rival, kind, [*range(20)]), abs=6e-5
            )
    by_name = {entry["name"]: entry for entry in scores["slices"] if entry["kind"] == "topic"}
    assert by_name.keys() == {"home", "work"}  # four dialogues are too few for a slice
    for name, rows in (("home", [*range(0, 20, 2)]), ("work", [*range(1, 20, 2)])):
        assert by_name[name]["rows"] == 10
        assert by_name[name]["differences"]["base"]["rouge1"]["mean"] == pytest.approx(
            gain("base", "rouge1", rows), abs=6e-5
        )
        mean = 100 * np.mean([table["champion", f"test_{i}"]["rouge2"] for i in rows])
        assert by_name[name]["scores"]["champion"]["rouge2"] == pytest.approx(mean, abs=6e-5)


def test_same_seed_gives_the_same_bytes_and_another_seed_does_not(artifact_factory: ArtifactFactory) -> None:
    """A rerun writes the same files; `score.bootstrap_seed` moves the intervals and nothing else."""
    dialogues, references = sample(40)
    dataset = artifact_factory.dataset(references, dialogues)
    outputs = [artifact_factory.predictions([dialogue[:n] for dialogue in dialogues]) for n in (80, 200)]
    (first, one), (_, two), (other, three) = (
        artifact_factory.score(dataset, *outputs, bootstrap_seed=seed) for seed in (0, 0, 1)
    )
    for name in ("scores.json", "rows.parquet"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    assert (one / "scores.json").read_bytes() != (three / "scores.json").read_bytes()
    assert (one / "rows.parquet").read_bytes() == (three / "rows.parquet").read_bytes()
    assert first["behaviour"] == other["behaviour"]
    for protocol in first["protocols"]:
        for name, kinds in systems(first, protocol).items():
            for kind in ROUGE_TYPES:
                moved = {m for m in kinds[kind] if kinds[kind][m] != systems(other, protocol)[name][kind][m]}
                assert moved <= {"interval"}


def test_equal_predictions_differ_by_exactly_nothing(artifact_factory: ArtifactFactory) -> None:
    """A tuned model with the outputs of the base ties with it exactly, overall and in every slice."""
    dialogues, references = sample(40)
    texts = [dialogue[:120] for dialogue in dialogues]
    scores, _ = artifact_factory.score(
        artifact_factory.dataset(references, dialogues),
        artifact_factory.predictions(texts),
        artifact_factory.predictions(texts),
    )
    assert len(scores["slices"]) > 2
    for compared in (scores["differences"], *(entry["differences"] for entry in scores["slices"])):
        assert compared["base"] == {kind: {"mean": 0, "interval": [0, 0], "better": 0.5} for kind in ROUGE_TYPES}


def test_systems_run_on_different_dialogues_are_refused(artifact_factory: ArtifactFactory) -> None:
    """A difference between other rows, or rows in another order, would be a paired test of nothing."""
    dataset = artifact_factory.dataset([["the cat sat"], ["the dog ran"]])
    two, one = artifact_factory.predictions(["a", "b"]), artifact_factory.predictions(["a"])
    with pytest.raises(StageError, match="different dialogues"):
        artifact_factory.score(dataset, two, one)


@pytest.mark.skipif(not (DIALOGSUM / "bart_large_test_outputs.txt").is_file(), reason=f"no DialogSum at {DIALOGSUM}")
def test_outputs_of_dialogsums_authors_score_what_is_published(
    artifact_factory: ArtifactFactory, tmp_path: Path
) -> None:
    """An external oracle: BART-large's 500 outputs score 45.0532 / 20.0726 / 37.8794."""
    folder = tmp_path / "dialogsum"
    folder.mkdir()
    for split in ("train", "validation", "test"):  # the small splits in place of the 11 MB that nothing here reads
        shutil.copy(DIALOGSUM / f"{'test' if split == 'test' else 'validation'}.csv", folder / f"{split}.csv")
    context = artifact_factory.context()
    download(DownloadSpec(data=resolve_data(DataConfig(source=str(folder)))), context)
    dataset = artifact_factory.artifact("download", "test", read_table(context.out / "test.parquet", DATASET), DATASET)
    outputs = (DIALOGSUM / "bart_large_test_outputs.txt").read_text(encoding="utf-8").splitlines()
    scores, _ = artifact_factory.score(dataset, artifact_factory.predictions(outputs), bootstrap_resamples=500)
    got = {kind: systems(scores)["base"][kind]["f1"] for kind in ("rouge1", "rouge2", "rougeL")}
    assert got == {"rouge1": 45.0532, "rouge2": 20.0726, "rougeL": 37.8794}
    assert scores["protocols"][scores["headline"]]["protocol"]["rows"] == 500

    def points(protocol: str, system: str = "base") -> list[float]:
        return [scores["protocols"][protocol]["systems"][system][kind]["f1"] for kind in ("rouge1", "rouge2", "rougeL")]

    # the same outputs under other protocols, and floor and ceiling, measured apart from this project
    assert points("best reference, stemming") == [53.6521, 30.0704, 47.0841]
    assert points("first reference only, stemming") == [45.9089, 21.3200, 38.7098]
    assert points("mean of references, no stemming") == pytest.approx([42.92, 18.74, 36.32], abs=0.005)
    assert points("mean of references, stemming", "first three utterances") == pytest.approx(
        [26.95, 6.71, 20.39], abs=0.005
    )
    assert points("mean of references, stemming", "human") == pytest.approx([53.37, 26.73, 44.99], abs=0.005)
    assert points("mean of references, no stemming", "human") == pytest.approx([50.91, 25.22, 43.21], abs=0.005)


@pytest.mark.parametrize(
    ("references", "tokenizer", "expected"),
    [
        ([["A kitchen."], ["A “bath”."]], "auto", "auto (ascii)"),
        ([["Кухня."], ["Ванная."]], "auto", "auto (unicode)"),
        (
            [["Die Küche.", "A kitchen."], ["A bath.", "A bath."]],
            "auto",
            "auto (unicode in 1 of 4 references, ascii in the others)",
        ),
        ([["Кухня."], ["Ванная."]], "characters", "characters"),
    ],
)
def test_a_protocol_names_the_tokenizer(
    artifact_factory: ArtifactFactory, references: list[list[str]], tokenizer: str, expected: str
) -> None:
    dataset = artifact_factory.dataset(references)
    scores, _ = artifact_factory.score(dataset, artifact_factory.predictions(["a", "b"]), tokenizer=tokenizer)
    protocols = [content["protocol"] for content in scores["protocols"].values()]
    assert {protocol["tokenizer"] for protocol in protocols} == {expected}
    assert {protocol["package"] for protocol in protocols} == {"rouge-score 0.1.2"}


def test_the_tokenizer_decides_what_counts_as_equal(artifact_factory: ArtifactFactory) -> None:
    """Two inflected forms: no word in common, 3 of 4 characters in common."""
    dataset = artifact_factory.dataset([["Анна"], ["Анну"]])
    predictions = artifact_factory.predictions(["Анны", "Анну"])
    f1 = {
        name: systems(artifact_factory.score(dataset, predictions, tokenizer=name)[0])["base"]["rouge1"]["f1"]
        for name in ("auto", "unicode", "characters", "ascii")
    }
    assert f1 == {"auto": 50.0, "unicode": 50.0, "characters": 87.5, "ascii": 0.0}
