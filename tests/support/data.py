"""Small datasets as CSV files in DialogSum's layout."""

import csv
from pathlib import Path

from tests.support.paths import SAMPLE


def write_csv(file: Path, rows: list[dict[str, str]]) -> None:
    """Write rows in DialogSum's layout."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, ["id", "dialogue", "summary", "topic"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_csv(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def tiny_data(folder: Path) -> Path:
    """Write 12 training, 4 validation and 4 test dialogues (three references each) of the sample, three turns long."""
    for split, count in (("train", 12), ("validation", 4), ("test", 12)):
        rows = read_csv(SAMPLE / f"{split}.csv")[:count]
        for row in rows:
            row["dialogue"] = "\n".join(row["dialogue"].split("\n")[:3])
        write_csv(folder / f"{split}.csv", rows)
    return folder
