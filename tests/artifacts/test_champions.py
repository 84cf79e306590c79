"""Who is champion: a log that only grows, read the same by everybody, each place in it given away once."""

import json
import multiprocessing
import uuid
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from artifacts.artifact_store import Store
from artifacts.champions import Champion, Champions
from artifacts.errors import RequestError

BASE = "0123456789abcdef" * 4


def champion(name: str, template: str = "{dialogue}") -> Champion:
    return Champion(adapter=f"train-{name}", template=template, turns="none", generate={"beams": 1})


A, B, C = (champion(letter * 8) for letter in "abc")


@pytest.fixture(params=["local", "memory", "s3"])
def log(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The current store: local, as fsspec gives a remote one, and on a real S3 server."""
    if request.param != "local":
        memory = f"memory://{uuid.uuid4().hex}/store"
        monkeypatch.setenv("DIALOGSUM_STORE", memory if request.param == "memory" else request.getfixturevalue("s3"))
    return Store.current()


def play(moves: str) -> Champions:
    """`ab-`: A is promoted, B is promoted, the champion is rolled back; each on a fresh reading of the log."""
    for move in moves:
        if move == "-":
            Champions(Store.current(), BASE).roll_back("run")
        else:
            assert Champions(Store.current(), BASE).promote({"a": A, "b": B, "c": C}[move], f"score-{move * 8}", "run")
    return Champions(Store.current(), BASE)


@pytest.mark.parametrize(
    ("moves", "current", "withdrawn"),
    [
        ("", None, ""),
        ("a", A, ""),
        ("ab", B, ""),
        ("ab-", A, "b"),
        ("ab--", None, "ab"),
        ("a-", None, "a"),
        ("abc-", B, "c"),
        ("abc--", A, "bc"),
        ("ab-c", C, "b"),
        ("ab-c-", A, "bc"),
        ("ab-b", B, ""),
        ("a-a", A, ""),
        ("aba", A, ""),
        ("aba-", B, "a"),
        ("ab-b-", A, "b"),
    ],
)
def test_the_log_says_who_is_in_force_and_who_was_rolled_back(
    log: Store, moves: str, current: Champion | None, withdrawn: str
) -> None:
    """Each rollback undoes one promotion; only a promotion puts a withdrawn adapter back."""
    champions = play(moves)
    assert champions.current == current
    assert set(champions.withdrawn) == {f"train-{letter * 8}" for letter in withdrawn}
    assert [change.number for change in champions.changes] == list(range(1, len(moves) + 1))


def test_entries_are_kept_as_they_were_written(log: Store) -> None:
    """One numbered file a change, with adapter, prompt, decoding, scores and run; none is rewritten afterwards."""
    folder = ("champions", BASE[:12])
    play("a")
    first = log.side_files.read(*folder, "000001.json")
    play("b-")
    assert log.side_files.names(*folder) == ["000001.json", "000002.json", "000003.json"]
    assert log.side_files.read(*folder, "000001.json") == first
    entry = json.loads(first or b"")
    assert (entry["number"], entry["action"], entry["scores"], entry["run"]) == (1, "promoted", "score-aaaaaaaa", "run")
    assert entry["champion"] == A.model_dump()
    last = json.loads(log.side_files.read(*folder, "000003.json") or b"")
    assert (last["action"], last["champion"], last["scores"]) == ("rolled back", A.model_dump(), "score-aaaaaaaa")


@pytest.mark.parametrize(
    ("moves", "candidate", "rival"),
    [
        ("", A, None),
        ("a", A, None),
        ("a", B, A),
        ("ab", B, A),
        ("ab", A, B),
        ("ab", C, B),
        ("aba", A, B),
        ("ab-", B, A),
        ("a-", A, None),
        ("a-", B, None),
    ],
)
def test_a_candidate_has_to_beat_the_champion_or_if_it_is_that_the_one_before(
    moves: str, candidate: Champion, rival: Champion | None
) -> None:
    """So a champion that is retrained is compared with the same adapter as the first time."""
    assert play(moves).rival(candidate) == rival


def test_the_same_adapter_under_another_prompt_is_another_candidate() -> None:
    """It has to beat itself with its previous prompt."""
    play("a")
    assert Champions(Store.current(), BASE).rival(champion("a" * 8, "Other: {dialogue}")) == A


def test_a_gap_in_the_log_is_no_end_of_it(store: Store) -> None:
    """A file deleted by hand, and others after it: the next change takes the number after the last."""
    play("abc")
    folder = Path(str(store.root)) / "champions" / BASE[:12]
    (folder / "000002.json").unlink()
    assert play("a").current == A
    assert store.side_files.names("champions", BASE[:12]) == ["000001.json", "000003.json", "000004.json"]


def test_each_base_model_has_its_own_champion() -> None:
    """What is in force for one is nothing to another."""
    play("a")
    assert Champions(Store.current(), "f" * 64).current is None


def test_a_rollback_without_champion_is_refused(log: Store) -> None:
    """In an empty log, and after the last one is gone; nothing is written."""
    for moves, entries in (("", 0), ("a-", 2)):
        with pytest.raises(RequestError, match="no champion"):
            play(moves).roll_back("run")
        assert len(Champions(Store.current(), BASE).changes) == entries


def test_a_change_on_an_outdated_reading_is_refused_and_loses_nothing(log: Store) -> None:
    """Promotion answers False, rollback raises; the entry that was first stays."""
    outdated = play("a")
    play("b")
    assert outdated.promote(C, "score-cccccccc", "late") is False
    with pytest.raises(RequestError, match="another command changed the champion"):
        outdated.roll_back("late")
    assert Champions(Store.current(), BASE).current == B
    assert [change.run for change in Champions(Store.current(), BASE).changes] == ["run", "run"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"number": 2}', b'{"number": 2, "action": "crowned"}']
)
def test_an_entry_that_does_not_read_is_refused_by_its_name(log: Store, content: bytes) -> None:
    """Nobody is guessed to be champion: one line names the file and the remedy."""
    play("a")
    log.side_files.write(content, "champions", BASE[:12], "000002.json")
    with pytest.raises(RequestError, match=r"000002\.json.* could not be parsed .*remove it") as refused:
        Champions(Store.current(), BASE)
    assert str(refused.value).isprintable()


def test_a_half_written_entry_is_none(store: Store) -> None:
    """What a killed process leaves beside the log is not read."""
    play("a")
    (Path(store.root.path) / "champions" / BASE[:12] / ".000002.json.1a2b3c4d").write_bytes(b"{")
    assert play("b").current == B


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.slow)])
def contended(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The current store, where several write to it at once."""
    if request.param == "s3":
        monkeypatch.setenv("DIALOGSUM_STORE", request.getfixturevalue("s3"))
    return Store.current()


def promotes(number: int) -> bool:
    return Champions(Store.current(), BASE).promote(champion(f"{number:08x}"), f"score-{number:08x}", f"run {number}")


def test_of_threads_that_promote_at_once_exactly_one_wins_each_round(contended: Store) -> None:
    """Sixteen threads promote from the same state: each round has one winner, and the log has the winners in order."""
    with ThreadPoolExecutor(16) as pool:
        for position in range(20 if contended.is_local else 3):
            start = Barrier(16)

            def attempt(number: int, read: Champions, start: Barrier = start) -> bool:
                start.wait(30)
                return read.promote(champion(f"{number:08x}"), "score-00000000", f"run {number}")

            answers = list(pool.map(attempt, range(16), [Champions(Store.current(), BASE) for _ in range(16)]))
            assert sum(answers) == 1
            changes = Champions(Store.current(), BASE).changes
            assert len(changes) == position + 1
            assert changes[-1].run == f"run {answers.index(True)}"


def in_process(number: int) -> list[bool]:
    """Twenty attempts, each on a fresh reading."""
    return [promotes(100 * number + i) for i in range(20)]


def test_of_processes_that_promote_at_once_none_is_lost_and_none_wins_twice(contended: Store) -> None:
    """The log has one entry per successful promotion, without a gap, and each winner once."""
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        answers = dict(enumerate(pool.map(in_process, range(4))))
    won = {f"run {100 * number + i}" for number, row in answers.items() for i, answer in enumerate(row) if answer}
    log = Champions(Store.current(), BASE).changes
    assert [change.number for change in log] == list(range(1, len(log) + 1))
    assert sorted(change.run for change in log) == sorted(won)
    assert len(log) >= 20
