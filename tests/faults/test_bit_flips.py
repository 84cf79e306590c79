"""Row 6: a flipped byte of an artifact, manifest or Prefect result is noticed on reuse, and the damage never served.

tests/artifacts/test_artifact_store.py flips every byte of a manifest and 200 bits of a payload through the store alone.
tests/system/test_caching.py runs a damaged stage again through the whole flow.
"""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from artifacts.refs import Ref
from tests.faults.fault_table import SHORT_AND_LONG, Tally
from tests.support.pipelines import planned_stages

TRIES = {"short": 12, "long": 200}


def flip(file: Path, dice: random.Random) -> tuple[bytes, str]:
    """Flip one bit of a file; its content before, and where."""
    content = file.read_bytes()
    position, bit = dice.randrange(len(content)), dice.randrange(8)
    file.write_bytes(content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :])
    return content, f"{file.name} byte {position} bit {bit}"


@pytest.mark.slow
@pytest.mark.parametrize("form", SHORT_AND_LONG)
def test_a_flipped_bit_of_an_artifact_has_its_stage_run_again_with_the_reason(
    copied: Path, overrides: list[str], tally: Tally, form: str
) -> None:
    """Every file of an artifact in turn, at a random place; all other stages are reused as before."""
    dice, lost = random.Random(6), []
    undamaged = planned_stages(overrides)
    assert {e["status"] for e in undamaged.values()} == {"reused"}
    files = {
        name: [f for f in sorted(Path(e["path"]).rglob("*")) if f.is_file() and f.stat().st_size]
        for name, e in undamaged.items()
    }
    each = [(name, file) for name, paths in files.items() for file in paths]
    dice.shuffle(each)
    for i in range(TRIES[form]):
        name, file = each[i % len(each)]
        content, where = flip(file, dice)
        planned = planned_stages(overrides)
        file.write_bytes(content)
        run = {stage: e["reason"] for stage, e in planned.items() if e["status"] == "run"}
        if run.keys() != {name} or "damaged" not in run[name] or file.name not in run[name]:
            # what a stage with a lost manifest hands on is not known to a plan, so those after it run as well
            if file.name == "manifest.json" and "damaged" in run.get(name, "") and "manifest.json" in run[name]:
                continue
            lost.append((where, run))
    tally("6 byte of an artifact or manifest flipped", TRIES[form], lost)


@pytest.mark.slow
@pytest.mark.parametrize("form", SHORT_AND_LONG)
@pytest.mark.usefixtures("prefect_server", "workers_inline")
def test_a_flipped_bit_of_prefects_record_is_never_served(copied: Path, tally: Tally, form: str) -> None:
    """The task returns the receipt of the intact artifact, whatever the record contains."""
    from tasks.execution.job import load_job
    from tasks.prefect_task import run_stage
    from tasks.registry import STAGES

    dice, lost, store = random.Random(66), [], Store.current()
    for i in range(TRIES[form] // 4):
        manifest = store.manifests()[i % len(store.manifests())]
        record = Path(store.root.path, "results", f"{manifest.stage}-{manifest.key}")
        content, where = flip(record, dice)
        served: Any = None
        try:
            served = run_stage(load_job(Store.current(), manifest.id, STAGES))
        except Exception as error:
            served = error
        record.write_bytes(content)
        if served != Ref.of_manifest(manifest) or store.manifest(manifest.path) != manifest:
            lost.append((where, served))
    tally("6 byte of a Prefect result flipped", TRIES[form] // 4, lost)


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server", "workers_inline")
def test_the_record_of_another_artifact_is_not_served(copied: Path, tally: Tally) -> None:
    """A record that was copied under another name describes another artifact, and is ignored."""
    from tasks.execution.job import load_job
    from tasks.prefect_task import run_stage
    from tasks.registry import STAGES

    store, results = Store.current(), Path(Store.current().root.path, "results")
    one, other = store.manifests("format")
    shutil.copy(results / f"format-{other.key}", results / f"format-{one.key}")
    assert run_stage(load_job(Store.current(), one.id, STAGES)) == Ref.of_manifest(one)
    tally("6 Prefect result of another artifact", 1, [])
