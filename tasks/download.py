"""download: a data source -> Parquet, one row per dialogue with its list of references.

Reads   train, validation and test in DialogSum's layout (id, dialogue, summary, topic), where a dialogue with several
        references has one row for each of them (test_0_1, test_0_2, test_0_3)
Writes  train.parquet, validation.parquet, test.parquet (artifacts.schemas.DATASET)
Rerun   dialogsum run RECIPE --refresh download
"""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import fsspec

from artifacts.errors import RequestError
from artifacts.schemas import DATASET, write_table
from artifacts.text import one_line
from tasks.config import DownloadSpec, ResolvedData
from tasks.execution.stage import Context, Stage, StageResult
from tasks.sources.hub import fetch
from tasks.sources.resolve import SPLITS

COLUMNS = ["id", "dialogue", "summary", "topic"]
_SUFFIXES = "csv tsv json jsonl parquet arrow gz bz2 xz zst zip yaml"
HUB_FILES = [*(f"*.{suffix}" for suffix in _SUFFIXES.split()), "README.md"]
"""Files of a hub dataset that `datasets` reads tables from, or that describe them."""
Fields = tuple[Any, ...]
"""id, dialogue, summary and topic of a row."""
_NUMBERED_ID = re.compile(r"(.+_\d+)_\d+")


def download(spec: DownloadSpec, context: Context) -> StageResult:
    """Read, check and regroup every split. RequestError names the split, the row and the problem."""
    counts: dict[str, Any] = {}
    for split in SPLITS:
        rows = group(lambda split=split: read(spec.data, split), split)  # type: ignore[misc]
        first = next(rows)
        rows = chain([first], rows)
        if split == "test":
            counts["test_references_without_ascii"] = 0
            rows = _count_references_without_ascii(rows, counts)
        counts[split] = write_table(rows, DATASET, context.out / f"{split}.parquet")
        counts[f"{split}_references"] = len(first["references"])
    context.events.log("  ".join(f"{split}: {counts[split]} x {counts[f'{split}_references']}" for split in SPLITS))
    return StageResult(rows=sum(counts[split] for split in SPLITS), facts=counts)


def read(data: ResolvedData, split: str) -> Iterator[Fields]:
    """The rows of one split, read lazily; no value is taken for a number or for missing."""
    if data.kind == "hub":
        return _from_hub(data.location, data.revision, split)
    return _from_csv(Path(data.location) / f"{split}.csv", split)


def _from_csv(file: Path, split: str, delimiter: str = ",") -> Iterator[Fields]:
    # csv, not pandas: pandas takes a row with one field too many for a row with an index, and shifts its columns
    csv.field_size_limit(1 << 30)
    try:
        with fsspec.open(str(file), "rt", compression="infer", encoding="utf-8-sig", newline="") as f:
            reader = csv.reader(f, delimiter=delimiter, strict=True)
            header = next(reader, [])
            _refuse_missing(header, split)
            positions = [header.index(column) for column in COLUMNS]
            for number, row in enumerate(filter(None, reader), start=2):
                if len(row) != len(header):
                    raise RequestError(
                        f"{file}: row {number} has {len(row)} fields, but the header has {len(header)}: "
                        "quote texts that contain commas or quotes"
                    )
                yield tuple(row[position] for position in positions)
    except UnicodeDecodeError as error:
        raise RequestError(f"{file} is not UTF-8 ({one_line(error, 100)}): save it as UTF-8") from error
    except csv.Error as error:
        raise RequestError(
            f"{file} is not a CSV file ({one_line(error, 120)}): expected the columns {COLUMNS}"
        ) from error
    except OSError as error:
        raise RequestError(f"{file} cannot be read ({one_line(error, 120)})") from error


def _from_hub(repo: str, revision: str, split: str) -> Iterator[Fields]:
    """Rows of the files of one commit, checked against the digests of the hub.

    Given a name, `datasets` would load the dataset from its own cache and, offline, take the newest commit in there
    whatever the revision.
    """
    import datasets  # takes a second to import, and only this path needs it
    from datasets.packaged_modules.csv.csv import CsvConfig

    folder = fetch(repo, revision, HUB_FILES, "dataset", "data.source")
    datasets.disable_progress_bars()
    try:
        config = datasets.load_dataset_builder(str(folder)).config
        if isinstance(config, CsvConfig):  # `datasets` would take NA for missing and 007 for a number
            for file in (config.data_files or {})[split]:
                yield from _from_csv(Path(file), split, config.sep)
            return
        loaded = datasets.load_dataset(str(folder), split=split, streaming=True)  # streaming: no copy in a cache
        for batch in loaded.iter(batch_size=1000):
            _refuse_missing(list(batch), split)
            for row in zip(*(batch[column] for column in COLUMNS), strict=True):
                yield tuple("" if value is None else str(value) for value in row)
    except RequestError:
        raise
    except Exception as error:
        raise RequestError(
            f"data.source: cannot load split {split!r} of {repo}@{revision[:8]} ({one_line(error, 160)})"
        ) from error


def _refuse_missing(columns: list[str], split: str) -> None:
    missing = [column for column in COLUMNS if column not in columns]
    if missing:
        raise RequestError(f"{split}: column {missing[0]!r} is missing; found {columns}, expected {COLUMNS}")


def group(read: Callable[[], Iterable[Fields]], split: str) -> Iterator[dict[str, Any]]:
    """Rows in DialogSum's layout -> one row per dialogue with all its references, in order of first appearance.

    Reads twice: first the ids, then the texts. Only the rows between the references of one dialogue are in memory.
    """
    seen: set[str] = set()
    expected: Counter[str] = Counter()
    for name, *_ in read():
        if name in seen:
            raise RequestError(f"{split}: id {name!r} occurs twice; ids must be unique")
        seen.add(name)
        expected[_dialogue_id(name)] += 1
    if not seen:
        raise RequestError(f"{split}: no rows; expected at least one dialogue")
    waiting: dict[str, dict[str, Any]] = {}
    for number, (name, dialogue, summary, topic) in enumerate(read(), start=2):
        for column, value in (("id", name), ("dialogue", dialogue), ("summary", summary)):
            if not isinstance(value, str) or not value.strip():
                raise RequestError(
                    f"{split}: {column} is empty in row {number} (id {name!r}); fill it or remove the row"
                )
            if column == "summary" and value.strip().lower() == "nan":
                raise RequestError(f"{split}: summary is NaN in row {number} (id {name!r}); fill it or remove the row")
        if split == "test" and not any(map(str.isalnum, summary)):
            raise RequestError(
                f"test: summary has no letter or digit in row {number} (id {name!r}), so every summary would score 0 "
                "against it; fill it or remove the row"
            )
        base, text = _dialogue_id(name), dialogue.replace("\r\n", "\n").strip()
        row = waiting.setdefault(base, {"id": base, "dialogue": text, "references": [], "topics": []})
        if row["dialogue"] != text:
            raise RequestError(
                f"{split}: the dialogue of {name!r} (row {number}) differs from that of other references of {base!r}"
            )
        row["references"].append(summary.strip())
        row["topics"].append(topic.strip() if isinstance(topic, str) else "")
        while waiting and len((first := next(iter(waiting.values())))["references"]) == expected[first["id"]]:
            yield waiting.pop(first["id"])
    sizes = Counter(expected.values())
    if len(sizes) > 1:
        usual = sizes.most_common(1)[0][0]
        odd = next(name for name, size in expected.items() if size != usual)
        raise RequestError(
            f"{split}: {odd!r} has {expected[odd]} references, most others have {usual}; "
            f"every dialogue needs the same number"
        )


def _count_references_without_ascii(rows: Iterable[dict[str, Any]], counts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows; counts the references in which the tokenizer `ascii` finds no token."""
    for row in rows:
        without = (not any(c.isascii() and c.isalnum() for c in text) for text in row["references"])
        counts["test_references_without_ascii"] += sum(without)
        yield row


def _dialogue_id(name: Any) -> str:
    """`test_0_2` -> `test_0`."""
    match = _NUMBERED_ID.fullmatch(name) if isinstance(name, str) else None
    return match[1] if match else name


DOWNLOAD = Stage(name="download", version=1, function=download, spec=DownloadSpec, label=lambda spec: spec.data.origin)
