"""The champion that the log names, from a read that began after the question; local and on S3."""

import asyncio
import threading
from typing import Any

import pytest

from artifacts.artifact_store import Store
from artifacts.champions import Champion, Champions
from flows.serving.champion_follower import ChampionFollower

BASE = "ab" * 20


def champion(name: str) -> Champion:
    return Champion(adapter=name, template="{dialogue}", turns="chatml", generate={})


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.slow)])
def any_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    if request.param == "s3":
        monkeypatch.setenv("DIALOGSUM_STORE", request.getfixturevalue("s3"))
    return Store.current()


def test_promotions_rollbacks_and_a_repaired_log_are_followed(any_store: Store) -> None:
    """Without reading the whole log again, unless entries were removed."""

    async def follow() -> list[str | None]:
        follower, seen = ChampionFollower(BASE), []

        async def look() -> None:
            current = await follower.champion()
            seen.append(current.adapter if current else None)

        await look()
        for name in ("train-1", "train-2"):
            assert Champions(any_store, BASE).promote(champion(name), "score-1", "run")
            await look()
        Champions(any_store, BASE).roll_back("run")
        await look()
        any_store.side_files.delete("champions", BASE[:12], "000003.json")
        await look()
        return seen

    assert asyncio.run(follow()) == [None, "train-1", "train-2", "train-1", "train-2"]


def test_a_question_during_a_read_waits_for_the_next_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a change before the question is always seen; all who wait share one read."""
    reads, proceed = [], threading.Event()

    async def follow() -> Any:
        follower = ChampionFollower(BASE)
        read = follower._read

        def slow() -> Champion | None:
            current = read()
            reads.append(current)
            proceed.wait(10)
            return current

        monkeypatch.setattr(follower, "_read", slow)
        first = asyncio.create_task(follower.champion())
        while not reads:
            await asyncio.sleep(0.01)
        Champions(store, BASE).promote(champion("train-1"), "score-1", "run")
        later = [asyncio.create_task(follower.champion()) for _ in range(20)]
        await asyncio.sleep(0)
        later[0].cancel()  # one who goes away does not stop the others
        proceed.set()
        return await first, await asyncio.gather(*later[1:])

    first, later = asyncio.run(follow())
    assert first is None
    assert {current.adapter for current in later} == {"train-1"}
    assert len(reads) == 2
