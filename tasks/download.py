"""download: a data source -> Parquet, one row a dialogue with its list of references.

Reads   train, validation and test in DialogSum's layout (id, dialogue, summary, topic), where a dialogue with several
        references has a row for each (test_0_1, test_0_2, test_0_3)
Writes  train.parquet, validation.parquet, test.parquet (artifacts.schemas.DATASET)
Rerun   dialogsum run RECIPE --refresh download
"""

import csv
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from artifacts.errors import RequestError, one_line
from artifacts.schemas import DATASET, write_table
from tasks.config import DownloadSpec, ResolvedData
from tasks.sources import SPLITS
from tasks.stage import Context, Done, Stage

COLUMNS = ["id", "dialogue", "summary", "topic"]
_ONE_OF_SEVERAL = re.compile(r"(.+_\d+)_\d+")


def download(spec: DownloadSpec, context: Context) -> Done:
    """Read, check and regroup every split. RequestError names the split, the row and what is wrong."""
    counts: dict[str, Any] = {}
    for split in SPLITS:
        rows = group(read(spec.data, split), split)
        write_table(rows, DATASET, context.out / f"{split}.parquet")
        counts[split] = len(rows)
        counts[f"{split}_references"] = len(rows[0]["references"])
    context.events.log("  ".join(f"{split}: {counts[split]} x {counts[f'{split}_references']}" for split in SPLITS))
    return Done(rows=sum(counts[split] for split in SPLITS), facts=counts)


def read(data: ResolvedData, split: str) -> pd.DataFrame:
    """One split as text columns; nothing is guessed to be a number or missing."""
    if data.kind == "hub":
        frame = _from_hub(data.location, data.revision, split)
    else:
        frame = _from_csv(Path(data.location) / f"{split}.csv", split)
    return frame[COLUMNS]


def _from_csv(file: Path, split: str) -> pd.DataFrame:
    # csv, not pandas: that takes a row with a field too many for one with an index, and moves its columns
    csv.field_size_limit(1 << 30)
    try:
        with file.open(encoding="utf-8-sig", newline="") as f:
            reader = csv.reader(f, strict=True)
            header = next(reader, [])
            rows = [row for row in reader if row]
    except UnicodeDecodeError as error:
        raise RequestError(f"{file} is not UTF-8 ({one_line(error, 100)}): save it as UTF-8") from error
    except csv.Error as error:
        raise RequestError(
            f"{file} is not a CSV file ({one_line(error, 120)}): expected the columns {COLUMNS}"
        ) from error
    except OSError as error:
        raise RequestError(f"{file} cannot be read ({one_line(error, 120)})") from error
    _refuse_missing(header, split)
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise RequestError(
                f"{file}: row {number} has {len(row)} fields, the header has {len(header)}: quote commas and quotes in texts"
            )
    return pd.DataFrame(rows, columns=header, dtype=str)


def _from_hub(repo: str, revision: str, split: str) -> pd.DataFrame:
    import datasets  # takes a second to import, and only this path needs it

    datasets.disable_progress_bars()
    try:
        loaded = datasets.load_dataset(repo, revision=revision, split=split)
    except Exception as error:
        raise RequestError(
            f"data.source: cannot load split {split!r} of {repo}@{revision[:8]} ({one_line(error, 160)})"
        ) from error
    frame: pd.DataFrame = loaded.to_pandas()
    _refuse_missing(list(frame.columns), split)
    return frame.fillna("")


def _refuse_missing(columns: list[str], split: str) -> None:
    missing = [column for column in COLUMNS if column not in columns]
    if missing:
        raise RequestError(f"{split}: column {missing[0]!r} is missing; found {columns}, expected {COLUMNS}")


def group(frame: pd.DataFrame, split: str) -> list[dict[str, Any]]:
    """Rows in DialogSum's layout -> one row a dialogue, in order of first appearance, with all its references."""
    if frame.empty:
        raise RequestError(f"{split}: no rows; expected at least one dialogue")
    repeated = frame["id"][frame["id"].duplicated()]
    if len(repeated):
        raise RequestError(f"{split}: id {repeated.iloc[0]!r} occurs twice; ids must be unique")
    rows: dict[str, dict[str, Any]] = {}
    for number, (name, dialogue, summary, topic) in enumerate(frame.itertuples(index=False, name=None), start=2):
        for column, value in (("id", name), ("dialogue", dialogue), ("summary", summary)):
            if not isinstance(value, str) or not value.strip():
                raise RequestError(
                    f"{split}: {column} is empty in row {number} (id {name!r}); fill it or remove the row"
                )
            if column == "summary" and value.strip().lower() == "nan":
                raise RequestError(f"{split}: summary is NaN in row {number} (id {name!r}); fill it or remove the row")
        several = _ONE_OF_SEVERAL.fullmatch(name)
        base = several[1] if several else name
        text = dialogue.replace("\r\n", "\n").strip()
        row = rows.setdefault(base, {"id": base, "dialogue": text, "references": [], "topics": []})
        if row["dialogue"] != text:
            raise RequestError(
                f"{split}: {name!r} has another dialogue than the other references of {base!r} (row {number})"
            )
        row["references"].append(summary.strip())
        row["topics"].append(topic.strip() if isinstance(topic, str) else "")
    sizes = Counter(len(row["references"]) for row in rows.values())
    if len(sizes) > 1:
        usual = sizes.most_common(1)[0][0]
        odd = next(row for row in rows.values() if len(row["references"]) != usual)
        raise RequestError(
            f"{split}: {odd['id']!r} has {len(odd['references'])} references, the others have {usual}; "
            f"a mean over references needs the same number everywhere"
        )
    return list(rows.values())


DOWNLOAD = Stage(
    name="download", version=1, function=download, spec=DownloadSpec,
    label=lambda spec: spec.data.origin,
)  # fmt: skip
