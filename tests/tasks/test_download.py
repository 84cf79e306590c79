"""download and format: every dialogue and every reference arrives, as text, and a bad table is refused by name."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from tasks.config import DataConfig
from tasks.download import read
from tasks.sources.resolve import resolve_data
from tests.support.data import read_csv, write_csv
from tests.support.data_stages import (
    Row,
    dialogue_row,
    downloaded_dataset,
    read_split,
)
from tests.support.paths import SAMPLE


def test_references_of_a_dialogue_are_grouped_in_order(data: Path) -> None:
    """One row a dialogue, in order of first appearance, its references and topics in the order of the file."""
    same = "#Person1#: Hello.\n#Person2#: Bye."
    rows = [dialogue_row(f"test_{n}_{k}", f"{same} {n}", f"s{n}{k}", f"t{n}{k}") for k in (1, 2, 3) for n in (10, 2)]
    write_csv(data / "test.csv", rows)
    assert read_split(downloaded_dataset(data), "test") == [
        {
            "id": f"test_{n}",
            "dialogue": f"{same} {n}",
            "references": [f"s{n}1", f"s{n}2", f"s{n}3"],
            "topics": [f"t{n}1", f"t{n}2", f"t{n}3"],
        }
        for n in (10, 2)
    ]


def test_splits_and_counts_are_those_of_the_files(data: Path) -> None:
    """Every row of the CSV is a reference of some dialogue, and the manifest counts both."""
    manifest = downloaded_dataset(data)
    for split, dialogues, references in (("train", 12, 1), ("validation", 4, 1), ("test", 4, 3)):
        rows = read_split(manifest, split)
        assert [text for r in rows for text in r["references"]] == [
            r["summary"] for r in read_csv(data / f"{split}.csv")
        ]
        assert (manifest.facts[split], manifest.facts[f"{split}_references"]) == (len(rows), references)
        assert len(rows) == dialogues
    assert manifest.rows == 20


def test_references_that_rouge_score_cannot_score_are_counted(data: Path) -> None:
    """Those without a letter or digit in ASCII; a word or number among others is enough."""
    texts = ["Анна пишет.", "Анна пишет Tom.", "В 7 часов.", "小明来了。", "Hi."]
    write_csv(data / "test.csv", [dialogue_row(f"x_{i}", "", text) for i, text in enumerate(texts)])
    assert downloaded_dataset(data).facts["test_references_without_ascii"] == 2


@pytest.mark.parametrize("text", ["NA", "null", "None", "1", "1.0", "007", "True", "2026-01-05", "#N/A", "-", "é“”😀"])
def test_text_that_looks_like_something_else_stays_text(data: Path, text: str) -> None:
    """Nothing is guessed to be a number, a date or missing."""
    write_csv(data / "train.csv", [dialogue_row(text, text, text, text)])
    assert read_split(downloaded_dataset(data), "train") == [
        {"id": text, "dialogue": text, "references": [text], "topics": [text]}
    ]


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_line_ends_and_byte_order_mark_of_other_systems_are_accepted(data: Path, start: bytes) -> None:
    """A file saved on Windows holds the same dialogues."""
    expected = read_split(downloaded_dataset(data), "train")
    file = data / "train.csv"
    file.write_bytes(start + file.read_bytes().replace(b"\n", b"\r\n"))
    assert read_split(downloaded_dataset(data), "train") == expected


def lines(*rows: str, header: str = "id,dialogue,summary,topic") -> Callable[[Path], Any]:
    return lambda file: file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing file": (lambda file: file.unlink(), "no file .*test.csv"),
    "nothing in it": (lambda file: file.write_bytes(b""), "test: column 'id' is missing"),
    "header alone": (lines(), "test: no rows"),
    "missing column": (lines("a,b,c", header="id,dialogue,topic"), "test: column 'summary' is missing"),
    "another header": (lines("a,b,c,d", header="id;dialogue;summary;topic"), "test: column 'id' is missing"),
    "no header": (lambda file: file.write_bytes(file.read_bytes().split(b"\n", 1)[1]), "test: column 'id' is missing"),
    "empty dialogue": (lines("x_1,d,s,t", "x_2,,s,t"), "test: dialogue is empty in row 3 .*'x_2'"),
    "blank dialogue": (lines("x_1, \t,s,t"), "test: dialogue is empty in row 2 .*'x_1'"),
    "empty summary": (lines("x_1,d,,t"), "test: summary is empty in row 2 .*'x_1'"),
    "blank id": (lines(" ,d,s,t"), "test: id is empty in row 2"),
    "NaN summary": (lines("x_1,d,s,t", "x_2,d,NaN,t"), "test: summary is NaN in row 3 .*'x_2'"),
    "nan summary": (lines("x_1,d, nan ,t"), "test: summary is NaN in row 2"),
    "summary without a word": (lines("x_1,d,s,t", "x_2,d,👍!,t"), "test: summary has no letter .* row 3 .*'x_2'"),
    "row cut short": (lines("x_1,d"), "test.csv: row 2 has 2 fields"),
    "row too long": (lines("x_1,d,s,t", "x_2,d,s,t,u"), "test.csv: row 3 has 5 fields"),
    "duplicate id": (lines("x_1,d,s,t", "x_2,e,s,t", "x_1,f,s,t"), "test: id 'x_1' occurs twice"),
    "numbers of references": (
        lines("x_1_1,d,s,t", "x_1_2,d,s,t", "x_2_1,e,s,t", "x_2_2,e,s,t", "x_3_1,f,s,t"),
        "test: 'x_3' has 1 references, most others have 2",
    ),
    "other dialogue": (
        lines("x_1_1,d,s,t", "x_1_2,e,s,t"),
        "test: the dialogue of 'x_1_2' .*differs from that of other references of 'x_1'",
    ),
    "Latin-1": (lambda file: file.write_bytes(b"id,dialogue,summary,topic\nx,caf\xe9,s,t\n"), "test.csv is not UTF-8"),
    "UTF-16": (lambda file: file.write_text(file.read_text(), encoding="utf-16"), "test.csv is not UTF-8"),
    "open quote": (lines('x_1,"d,s,t', "x_2,d,s,t"), "test.csv is not a CSV file"),
    "Parquet": (lambda file: file.write_bytes(b"PAR1\x15\x04\x15\xff\x00\x80PAR1"), r"test.csv is not (UTF-8|a CSV)"),
    "JSON": (lambda file: file.write_text('{"id": "x"}\n'), "test: column 'id' is missing"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_table_is_refused_by_split_and_fault(data: Path, store: Store, case: str) -> None:
    """The message is one line with the place and the problem; no artifact is left."""
    spoil, expected = BAD[case]
    spoil(data / "test.csv")
    with pytest.raises(RequestError, match=expected) as refusal:
        downloaded_dataset(data)
    assert str(refusal.value).isprintable()
    assert store.manifests() == []


# -- the bundled sample


def sample(split: str) -> list[Row]:
    with (SAMPLE / f"{split}.csv").open(newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def test_the_sample_is_large_enough_and_has_three_references_in_test() -> None:
    """At least 100 training, 20 validation and 30 test dialogues, all different; three references per test dialogue."""
    ids = {split: [r["id"] for r in sample(split)] for split in ("train", "validation", "test")}
    tests = {name.rsplit("_", 1)[0] for name in ids["test"]}
    assert sorted(ids["test"]) == sorted(f"{name}_{k}" for name in tests for k in (1, 2, 3))
    assert (len(ids["train"]) >= 100, len(ids["validation"]) >= 20, len(tests) >= 30) == (True, True, True)
    dialogues = [" ".join(r["dialogue"].lower().split()) for split in ids for r in sample(split)]
    assert len(set(dialogues)) == len(ids["train"]) + len(ids["validation"]) + len(tests)


def test_every_line_of_the_sample_starts_with_a_person_and_has_no_other_tag() -> None:
    """Lines begin with `#Person1#: ` and so on; other text has only tags that DialogSum's dialogues have too."""
    for split in ("train", "validation", "test"):
        for r in sample(split):
            spoken = [re.fullmatch(r"#Person\d#: (\S.*)", line) for line in r["dialogue"].split("\n")]
            assert all(spoken), r["id"]
            assert not [line for line in spoken if line and "#" in line[1]], r["id"]
            assert r["summary"].strip(), r["id"]
            assert r["topic"].strip(), r["id"]


@pytest.mark.parametrize("line", ["train_0,#Person1#: Hi.,They greet.,greeting,", "train_0,#Person1#: Hi.,They greet."])
def test_a_row_with_another_number_of_fields_is_refused(data: Path, line: str) -> None:
    """An unquoted comma would move a summary into another column without a word."""
    (data / "train.csv").write_text(f"id,dialogue,summary,topic\n{line}\n")
    with pytest.raises(RequestError, match=r"row 2 has \d fields, but the header has 4"):
        list(read(resolve_data(DataConfig(source=str(data))), "train"))
