"""Summaries of which people say what is wrong: samples of the repository, DialogSum and SAMSum."""

import csv
import random
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from artifacts.errors import RequestError
from tasks.metrics.invented_numbers import numbers
from tasks.metrics.name_evidence import TAG
from tasks.metrics.word_forms import WORD

SAMPLES = Path(__file__).parent / "name_samples"
SEED = 0


@dataclass(frozen=True)
class Judged:
    """A summary, and the words of it that are wrong."""

    dialogue: str
    summary: str
    names: frozenset[str]
    """Wrong names and speakers."""
    numbers: frozenset[str]
    wrong: frozenset[str]
    """All words that people removed, names and numbers among them."""


@dataclass(frozen=True)
class JudgedData:
    """A data set with summaries that people have judged."""

    name: str
    dialogues: list[str]
    references: list[list[str]]
    """Of each dialogue; a measure may learn from them which words are names."""
    judged: list[Judged]


def samples() -> list[JudgedData]:
    """The samples of the repository: one correct and one wrong summary of each dialogue."""
    data = []
    for file in sorted(SAMPLES.glob("*.csv")):
        rows = read_csv_rows(file)
        judged = [_judged(row["dialogue"], row["correct"]) for row in rows]
        judged += [_judged(row["dialogue"], row["wrong"], row["names"], row["numbers"]) for row in rows]
        data.append(
            JudgedData(file.stem, [row["dialogue"] for row in rows], [[row["correct"]] for row in rows], judged)
        )
    return data


def _judged(dialogue: str, summary: str, names: str = "", numbers: str = "") -> Judged:
    wrong_names, wrong_numbers = (frozenset(filter(None, words.split(";"))) for words in (names, numbers))
    return Judged(dialogue, summary, wrong_names, wrong_numbers, wrong_names | wrong_numbers)


def dialogsum_labels(folder: Path) -> JudgedData:
    """Outputs of four systems on DialogSum, with what annotators made of them: a word that they removed is wrong."""
    test: dict[str, list[dict[str, str]]] = {}
    for row in read_csv_rows(folder / "dialogsum" / "test.csv"):
        test.setdefault(row["id"].rpartition("_")[0], []).append(row)
    judged = []
    for row in read_csv_rows(folder / "faithfulness" / "dialogsum_outputs.csv"):
        removed = _tokens(row["summary"]) - _tokens(row["corrected"])
        names = frozenset(token for token in removed if token.startswith("#") or token[0].isupper())
        figures = Counter(number.text for number in numbers(row["summary"], "en") if not number.says_little)
        figures -= Counter(number.text for number in numbers(row["corrected"], "en"))
        dialogue = test[row["dialogue_id"]][0]["dialogue"]
        judged.append(
            Judged(dialogue, row["summary"], names, frozenset(figures), frozenset(removed) | frozenset(figures))
        )
    return JudgedData(
        "DialogSum, four systems",
        [rows[0]["dialogue"] for rows in test.values()],
        [[row["summary"] for row in rows] for rows in test.values()],
        judged,
    )


def samsum_labels(folder: Path) -> tuple[JudgedData, list[dict[str, str]]]:
    """Human references of SAMSum, and the rows of four systems with people's verdict on the whole summary."""
    rows = read_csv_rows(folder / "faithfulness" / "samsum_outputs.csv")
    human = [row for row in rows if row["system"] == "human_ref"]
    dialogues, references = [row["dialogue"] for row in human], [[row["summary"]] for row in human]
    return JudgedData("SAMSum", dialogues, references, []), [row for row in rows if row["system"] != "human_ref"]


def dialogsum_references(folder: Path, split: str) -> JudgedData:
    """Dialogues of DialogSum with one reference each."""
    rows = read_csv_rows(folder / "dialogsum" / f"{split}.csv")
    return JudgedData(f"DialogSum, {split}", [row["dialogue"] for row in rows], [[row["summary"]] for row in rows], [])


def with_swapped_speakers(data: JudgedData) -> JudgedData:
    """References in which a speaker of the dialogue is replaced by one of another dialogue, wherever it stands."""
    draw = random.Random(SEED)  # noqa: S311
    labels = [sorted(set(re.findall(r"^([A-Z][a-z]+):", text, re.MULTILINE))) for text in data.dialogues]
    judged = []
    for dialogue, row, own in zip(data.dialogues, data.references, labels, strict=True):
        named = [name for name in own if re.search(rf"\b{name}\b", row[0])]
        other = draw.choice(draw.choice([each for each in labels if each]))
        if named and other not in dialogue:
            summary = re.sub(rf"\b{draw.choice(named)}\b", other, row[0])
            judged.append(_judged(dialogue, summary, other))
    return replace(data, name=f"{data.name} references, one speaker replaced", judged=judged)


def with_changed_numbers(data: JudgedData) -> JudgedData:
    """References in which one number in digits is changed: by one, by ten, halved or with a zero more."""
    draw = random.Random(SEED)  # noqa: S311
    judged = []
    for dialogue, row in zip(data.dialogues, data.references, strict=True):
        digits = [text for text in re.findall(r"(?<![\w.,:#])\d+(?![\w:#]|[.,]\d)", row[0]) if int(text) > 2]
        if digits:
            value = int(digits[0])
            changed = str(draw.choice([value + 1, value - 1, value + 10, value * 10, value // 2 + 1]))
            if changed not in dialogue:
                judged.append(_judged(dialogue, row[0].replace(digits[0], changed, 1), numbers=changed))
    return replace(data, name=f"{data.name} references, one number changed", judged=judged)


def _tokens(text: str) -> Counter[str]:
    return Counter([*TAG.findall(text), *(re.sub(r"['’]s?$", "", word) for word in WORD.findall(TAG.sub(" ", text)))])


def read_csv_rows(file: Path, option: str = "--data") -> list[dict[str, Any]]:
    """Rows of a CSV file. RequestError, which names the option that has its folder, if there is no such file."""
    if not file.is_file():
        raise RequestError(f"{option}: no file {file.name} in {file.parent}")
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))
