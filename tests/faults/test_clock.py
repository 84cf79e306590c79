"""Row 12: a clock that is set back, and the nights on which summer time begins and ends."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml

import artifacts.artifact_store
from artifacts.artifact_store import Store
from flows.adapter_lookup import find_adapter
from tasks.config import ModelConfig
from tasks.sources.resolve import resolve_model
from tests.faults.fault_table import Tally
from tests.support.paths import ROOT
from tests.support.pipelines import DagWalker, small_overrides

REAL = artifacts.artifact_store.timestamp_now


def set_clock(patch: pytest.MonkeyPatch, ago: timedelta) -> None:
    """The clock as this project reads it; the machine's own belongs to everybody."""
    patch.setattr(
        artifacts.artifact_store, "timestamp_now", lambda: (datetime.now(UTC) - ago).isoformat(timespec="microseconds")
    )


@pytest.mark.faults
@pytest.mark.usefixtures("workers_inline")
def test_the_latest_adapter_is_the_last_that_was_made_whatever_the_clock_said(
    copied: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    """Set back by a second, a day and three years, one after the other: each adapter sorts after all before it."""
    lost, model = [], resolve_model(ModelConfig(source=str(models["llama"])))
    overrides = small_overrides("smollm2-135m", models["llama"], copied / "data")
    tries = (timedelta(seconds=1), timedelta(days=1), timedelta(days=1100), timedelta(0))
    for seed, ago in enumerate(tries, start=1):
        set_clock(monkeypatch, ago)
        walk = DagWalker()
        walk.through([*overrides, f"train.seed={seed}"])
        trained = next(manifest for manifest, ran in walk.results if ran and manifest.stage == "train")
        latest = find_adapter("latest", model)
        times = [manifest.provenance.at for manifest in Store.current().manifests("train")]
        if latest != trained or times != sorted(set(times)):
            lost.append((ago, latest and latest.id, trained.id))
    tally("12 clock set back", len(tries), lost)


def test_every_monday_has_its_one_run_at_three_across_both_changes(tally: Tally) -> None:
    """The schedule of prefect.yaml, as Prefect reads it, over two years: no Monday without, none with two."""
    from prefect.server.schemas.schedules import CronSchedule

    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    (schedules,) = next(d["schedules"] for d in deployments if d["name"] == "retrain")
    schedule = CronSchedule(cron=schedules["cron"], timezone=schedules["timezone"])
    zone, start = ZoneInfo(schedules["timezone"]), datetime(2026, 1, 1, tzinfo=UTC)
    dates = asyncio.run(schedule.get_dates(104, start=start))
    lost = [d for d in dates if (local := d.astimezone(zone)).weekday() != 0 or (local.hour, local.minute) != (3, 0)]
    days = [d.astimezone(zone).date() for d in dates]
    lost += [a for a, b in pairwise(days) if b - a != timedelta(days=7)]
    assert len({d.astimezone(zone).utcoffset() for d in dates}) == 2  # summer and winter were among them
    tally("12 daylight saving on the schedule", len(dates), lost)
