"""Row 17: malformed recipes and data end with exit 2 and one line, or give a valid plan; never a traceback.

tests/flows/test_recipe.py fuzzes the reader of recipes alone with 300 files, trees and overrides;
tests/tasks/test_download.py has the mistakes that people make in tables.
"""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from artifacts.schemas import DATASET, read_table
from flows.recipe import Recipe, all_keys
from tasks.config import DataConfig, DownloadSpec
from tasks.download import COLUMNS, download
from tasks.sources.resolve import SPLITS, resolve_data
from tests.faults.fault_table import SHORT_AND_LONG, Tally
from tests.support.artifacts import ArtifactFactory
from tests.support.pipelines import small_overrides

EXAMPLES = {"short": 15, "long": 500}
VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.lists(st.integers(), max_size=3)
)
CELLS = st.text(max_size=12) | st.sampled_from(
    ["", " ", "nan", "NaN", "a,b", 'a"b', "x\ny", "\x00", "\ufeff", "train_0", "é" * 9]
)
ROWS = st.lists(st.lists(CELLS, min_size=3, max_size=5), max_size=5)
HEADERS = st.sampled_from([COLUMNS, COLUMNS[:3], [*COLUMNS, "id"], [], ["ID", *COLUMNS[1:]], COLUMNS[::-1]])


def fuzz(form: str) -> Any:
    return settings(
        max_examples=EXAMPLES[form],
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


def said_well(code: int, out: str, stderr: str) -> bool:
    """Exit 2 with one line, or exit 0 without a word."""
    line = stderr.startswith("dialogsum: ") and stderr.count("\n") == 1 and stderr[:-1].isprintable() and out == ""
    return (code == 2 and line) or (code == 0 and stderr == "")


@pytest.mark.parametrize("form", SHORT_AND_LONG)
def test_any_recipe_is_planned_or_refused_in_one_line(
    models: dict[str, Path], data: Path, tmp_path: Path, command: Any, tally: Tally, form: str
) -> None:
    """A valid recipe with some keys set to arbitrary values, as a file and as overrides, through the command line."""
    good = [override.partition("=") for override in small_overrides("smollm2-135m", models["llama"], data)]
    lost: list[Any] = []
    tries = []

    @fuzz(form)
    @given(
        changes=st.dictionaries(st.sampled_from(all_keys(Recipe)), VALUES, min_size=1, max_size=3), loose=st.booleans()
    )
    def attempt(changes: dict[str, Any], loose: bool) -> None:
        content: dict[str, Any] = {}
        for key, value in [*((key, yaml.safe_load(text)) for key, _, text in good), *changes.items()]:
            *sections, last = key.split(".")
            section_content = content
            for section in sections:
                section_content = section_content.setdefault(section, {})
            section_content[last] = value
        file = tmp_path / "any.yaml"
        file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
        arguments = [str(file)]
        if loose:
            arguments = ["smollm2-135m", *[w for key, _, text in good for w in ("--set", f"{key}={text}")]]
            arguments += [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
        answer = command("plan", *arguments)
        tries.append(1)
        if not said_well(*answer):
            lost.append((changes, loose, answer))

    attempt()
    assert not Path(Store.current().root.path).exists() or Store.current().manifests() == []
    tally("17 malformed recipe", len(tries), lost[:5])


def table(header: list[str], rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue().encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("form", SHORT_AND_LONG)
def test_any_data_is_read_completely_or_refused_in_one_line(
    artifact_factory: ArtifactFactory, data: Path, tally: Tally, form: str
) -> None:
    """Any bytes, and tables with odd headers, rows and cells, in one of the splits."""
    contents = {split: (data / f"{split}.csv").read_bytes() for split in SPLITS}
    lost: list[Any] = []
    tries = []

    @fuzz(form)
    @given(
        split=st.sampled_from(SPLITS),
        content=st.binary(max_size=200)
        | st.text(max_size=200).map(lambda t: t.encode("utf-8", "replace"))
        | st.builds(table, HEADERS, ROWS)
        | st.builds(lambda rows: table(COLUMNS, rows), st.lists(st.lists(CELLS, min_size=4, max_size=4), max_size=5)),
        appended=st.booleans(),
    )
    def attempt(split: str, content: bytes, appended: bool) -> None:
        for name, original in contents.items():
            (data / f"{name}.csv").write_bytes(original)
        (data / f"{split}.csv").write_bytes(contents[split] + content if appended else content)
        tries.append(1)
        context = artifact_factory.context()
        try:
            result = download(DownloadSpec(data=resolve_data(DataConfig(source=str(data)))), context)
        except RequestError as refused:
            if "\n" in str(refused) or len(str(refused)) > 1000:
                lost.append((split, content, str(refused)))
        except Exception as error:
            lost.append((split, content, repr(error)))
        else:
            rows = sum(len(read_table(context.out / f"{name}.parquet", DATASET)) for name in SPLITS)
            if rows != result.rows:
                lost.append((split, content, rows))

    attempt()
    tally("17 malformed data", len(tries), lost[:5])
