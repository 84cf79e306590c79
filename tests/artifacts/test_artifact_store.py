"""The store: an artifact in it is intact, wherever the store is and whatever happened to its bytes."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import tempfile
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import DamageError, Store
from artifacts.errors import RequestError
from artifacts.manifest import checksum_of, content_digest
from artifacts.refs import Ref
from artifacts.remote_backend import RemoteBackend
from tasks.config import DataConfig, DownloadSpec
from tasks.download import DOWNLOAD
from tasks.execution.decision import decide
from tasks.execution.executor import execute
from tasks.execution.job import Job
from tasks.sources.resolve import resolve_data
from tasks.workers.events import NullListener
from tests.support.artifacts import FILES, KEY, publish_small_artifact
from tests.support.hostile_texts import HOSTILE_NAMES


def download_job(data: Path) -> Job:
    spec = DownloadSpec(data=resolve_data(DataConfig(source=str(data))))
    identity = decide(Store.current(), DOWNLOAD, None, spec, {}).identity
    return Job(stage="download", variant=None, spec=spec, inputs={}, identity=identity, run="test")


@pytest.fixture(params=["local", "memory", "s3"])
def anywhere(request: pytest.FixtureRequest, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A local store, one of fsspec and one on a real S3 server; their scratch folders are under tmp_path."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if request.param == "local":
        return store
    return Store(request.getfixturevalue("s3") if request.param == "s3" else f"memory://{uuid.uuid4().hex}/store")


def flipped(content: bytes, position: int, bit: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :]


def put(name: str, content: bytes) -> Callable[[Any], Any]:
    return lambda folder: (folder / name).write_bytes(content)


DAMAGES: dict[str, tuple[str, Callable[[Any], Any]]] = {  # the file that is named, and what happens to a folder
    "deleted": ("a.bin", lambda folder: (folder / "payload" / "a.bin").unlink()),
    "truncated": ("a.bin", put("payload/a.bin", FILES["a.bin"][:-1])),
    "emptied": ("c", put("payload/c", b"")),
    "lengthened": ("b.json", put("payload/b.json", b"{} ")),
    "flipped": ("a.bin", put("payload/a.bin", flipped(FILES["a.bin"], 700, 3))),
    "planted": ("x.py", put("payload/x.py", b"")),
    "hidden": (".x", put("payload/.x", b"")),
    "manifest emptied": ("manifest.json", put("manifest.json", b"")),
    "manifest of nothing": ("manifest.json", put("manifest.json", b"{}")),
}


def refusal_of(call: Callable[..., object], *arguments: object) -> str:
    """What a call refuses with, or "accepted"."""
    try:
        call(*arguments)
    except (DamageError, RequestError) as error:
        return f"{type(error).__name__}: {error}"
    return "accepted"


def test_published_artifact_verifies_and_gives_back_its_bytes(anywhere: Store) -> None:
    """What was published is found by id, verifies, and its payload has the bytes and digests that went in."""
    manifest = publish_small_artifact(anywhere)
    assert anywhere.by_id("train-1a2b3c4d") == manifest == anywhere.verified(manifest.path)
    assert anywhere.manifests() == [manifest]
    payload = anywhere.payload(manifest.path)
    assert {file.name: file.read_bytes() for file in payload.iterdir()} == FILES
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    assert {name: seal.sha256 for name, seal in manifest.files.items()} == digests


def test_stage_that_fails_half_way_leaves_no_artifact(store: Store, data: Path) -> None:
    """A stage that wrote one file and then failed has published nothing."""
    (data / "test.csv").write_text("id,dialogue,summary,topic\n")
    with pytest.raises(RequestError, match="test"):
        execute(Store.current(), DOWNLOAD, download_job(data), NullListener())
    assert list(Path(store.root.path).rglob("train.parquet"))  # it had begun
    assert store.manifests() == []
    assert not list(Path(store.root.path).rglob("manifest.json"))


@pytest.mark.parametrize("earlier", [False, True], ids=["new", "replacing"])
def test_publishing_that_dies_at_any_step_leaves_a_complete_artifact_or_none(
    store: Store, monkeypatch: pytest.MonkeyPatch, earlier: bool
) -> None:
    """Whichever system call is the last, there is no artifact or a complete one, and the next publish succeeds."""

    def unless_dead(call: Callable[..., None], *arguments: Any, **more: Any) -> None:
        if next(steps, None) is None:
            raise KeyboardInterrupt
        call(*arguments, **more)

    answer, survived = "", 0
    while answer != "published":
        shutil.rmtree(store.root.path, ignore_errors=True)
        if earlier:
            publish_small_artifact(store, {"a.bin": b"earlier"})
        steps = iter(range(survived))
        with monkeypatch.context() as patch:
            for name in ("fsync", "rename", "mkdir"):
                patch.setattr(os, name, partial(unless_dead, getattr(os, name)))
            with contextlib.suppress(KeyboardInterrupt):
                publish_small_artifact(store)
                answer = "published"
        assert store.manifests() == [] or store.verified(store.manifests()[0].path)
        assert set(store.verified(publish_small_artifact(store).path).files) == set(FILES)
        survived += 1
    assert survived > 8


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_an_error_that_names_the_file(anywhere: Store, damage: str) -> None:
    """Whatever was taken, cut, changed or added is found and named, and the payload is not handed out."""
    file, do = DAMAGES[damage]
    manifest = publish_small_artifact(anywhere)
    anywhere.verified(manifest.path)
    do(anywhere.root / manifest.path)
    for look in (anywhere.verified, anywhere.payload):
        with pytest.raises(DamageError, match=rf"(^|\W){file}"):
            look(manifest.path)


def test_every_flipped_bit_of_a_payload_is_detected(store: Store) -> None:
    """200 random single-bit errors, each found by a process that sees the store for the first time."""
    dice, manifest, missed = random.Random(20260105), publish_small_artifact(store), []
    for _ in range(200):
        name = dice.choice(list(FILES))
        position, bit = dice.randrange(len(FILES[name])), dice.randrange(8)
        file = Path(store.absolute(manifest.path), "payload", name)
        file.write_bytes(flipped(FILES[name], position, bit))
        if f"DamageError: payload file {name} was altered" not in refusal_of(
            Store(store.root.path).verified, manifest.path
        ):
            missed.append((name, position, bit))
        file.write_bytes(FILES[name])
    assert missed == []


def test_a_flip_behind_a_restored_time_stamp_is_detected_by_a_store_that_had_verified(store: Store) -> None:
    """Same size, same mtime, already verified in this process: still found."""
    manifest = publish_small_artifact(store)
    store.verified(manifest.path)
    file = Path(store.absolute(manifest.path), "payload", "a.bin")
    times = file.stat()
    while file.stat().st_ctime_ns == times.st_ctime_ns:  # until the file system's clock has ticked
        file.write_bytes(flipped(FILES["a.bin"], 5, 0))
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(DamageError, match=r"a\.bin was altered"):
        store.verified(manifest.path)


def test_a_flipped_bit_at_every_position_of_a_manifest_is_detected(store: Store) -> None:
    """One random bit of each byte in turn; a format number that grows is refused as written by a newer version."""
    dice, manifest, missed = random.Random(20260106), publish_small_artifact(store), []
    file = Path(store.absolute(manifest.path), "manifest.json")
    content = file.read_bytes()
    for position in range(len(content)):
        file.write_bytes(flipped(content, position, dice.randrange(8)))
        answer = refusal_of(store.verified, manifest.path)
        newer = content[:position].endswith(b'"format": ') and "newer version" in answer
        if not newer and not answer.startswith("DamageError: manifest.json"):
            missed.append((position, answer))
    assert missed == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_receipt_cannot_be_built_over_a_damaged_artifact(store: Store, damage: str) -> None:
    """Loading a Ref raises ValueError unless its payload is intact, which tells Prefect that a result is gone."""
    manifest = publish_small_artifact(store)
    fields = Ref.of_manifest(manifest).model_dump()
    DAMAGES[damage][1](store.root / manifest.path)
    with pytest.raises(ValueError, match=DAMAGES[damage][0]):
        Ref.model_validate(fields)


@pytest.mark.parametrize("change", [{"rows": 4}, {"digest": "0" * 64}, {"of": "base"}, {"id": "train-00000000"}])
def test_receipt_of_another_artifact_is_refused(store: Store, change: dict[str, Any]) -> None:
    """A receipt that differs from the manifest is refused."""
    fields = Ref.of_manifest(publish_small_artifact(store)).model_dump()
    with pytest.raises(ValueError, match="receipt"):
        Ref.model_validate(fields | change)


def test_moved_store_verifies_and_names_no_old_path(store: Store, data: Path, tmp_path: Path) -> None:
    """A store that a real stage wrote is intact under another path, and no byte in it contains the first path."""
    manifest, _ = execute(Store.current(), DOWNLOAD, download_job(data), NullListener())
    store.side_files.write(b"{}", "pointers", "latest.json")
    old = str(store.root).encode()
    moved = Store(shutil.move(store.root.path, tmp_path / "elsewhere"))
    assert moved.verified(manifest.path) == manifest == moved.by_id(manifest.id)
    assert moved.side_files.read("pointers", "latest.json") == b"{}"
    files = [file for file in (tmp_path / "elsewhere").rglob("*") if file.is_file()]
    assert len(files) >= 5
    assert [file for file in files if old in file.read_bytes()] == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_publishing_again_replaces_a_damaged_artifact(anywhere: Store, damage: str) -> None:
    """After a rerun the artifact is intact, and nothing of the damaged one is left in it."""
    manifest = publish_small_artifact(anywhere)
    DAMAGES[damage][1](anywhere.root / manifest.path)
    again = publish_small_artifact(anywhere, {"a.bin": b"made anew"})
    assert anywhere.verified(again.path) == again
    assert {f.name: f.read_bytes() for f in anywhere.payload(again.path).iterdir()} == {"a.bin": b"made anew"}


def test_manifest_of_a_newer_format_is_refused_with_what_to_do(anywhere: Store) -> None:
    """It is not damage: making the artifact again would destroy what a newer version wrote."""
    manifest = publish_small_artifact(anywhere)
    file = anywhere.root / manifest.path / "manifest.json"
    content = json.loads(file.read_bytes()) | {"format": 2, "new field": []}
    file.write_text(json.dumps(content | {"seal": checksum_of(content)}))
    for look in (anywhere.manifest, anywhere.verified, anywhere.payload):
        with pytest.raises(RequestError, match=r"another version.*use that version"):
            look(manifest.path)


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_names_that_could_lead_elsewhere_are_refused(anywhere: Store, name: str, tmp_path: Path) -> None:
    """Ids, artifact folders and small files: traversal, absolute, NUL and encoded forms reach no file system."""
    publish_small_artifact(anywhere)
    files = sorted(tmp_path.rglob("*"))
    attempts: list[Callable[[], object]] = [
        lambda: anywhere.by_id(name),
        lambda: anywhere.absolute(name),
        lambda: anywhere.manifest(name),
        lambda: anywhere.verified(name),
        lambda: anywhere.payload(name),
        lambda: anywhere.side_files.read("pointers", name),
        lambda: anywhere.side_files.read(name),
        lambda: anywhere.side_files.write(b"x", "pointers", name),
        lambda: anywhere.side_files.write(b"x", name, "x"),
        lambda: anywhere.side_files.create(b"x", "champions", name),
        lambda: anywhere.side_files.names("champions", name),
    ]
    answers = [refusal_of(attempt) for attempt in attempts]
    assert [answer for answer in answers if not answer.startswith("RequestError") or "\n" in answer] == []
    assert sorted(tmp_path.rglob("*")) == files


def test_small_files_are_replaced_atomically(anywhere: Store) -> None:
    """A pointer reads as it was last written; one never written is None."""
    assert anywhere.side_files.read("pointers", "latest.json") is None
    for content in (b"first, longer", b"second"):
        anywhere.side_files.write(content, "pointers", "latest.json")
        assert anywhere.side_files.read("pointers", "latest.json") == content


def test_a_small_file_is_created_once(anywhere: Store) -> None:
    """The second creator gets False and changes nothing; a hidden or partial file is not listed."""
    assert anywhere.side_files.names("champions", "base") == []
    assert anywhere.side_files.create(b"first", "champions", "base", "2.json") is True
    assert anywhere.side_files.create(b"second", "champions", "base", "2.json") is False
    assert anywhere.side_files.create(b"other", "champions", "base", "1.json") is True
    assert anywhere.side_files.read("champions", "base", "2.json") == b"first"
    (anywhere.root / "champions" / "base" / ".3.json.half").write_bytes(b"{")
    assert anywhere.side_files.names("champions", "base") == ["1.json", "2.json"]
    if anywhere.is_local:
        assert len(list(Path(anywhere.root.path, "champions", "base").iterdir())) == 3


def reseal(file: Path, **changes: Any) -> None:
    """Alter a manifest as somebody would who can compute its seal."""
    content = json.loads(file.read_text()) | changes
    file.write_text(json.dumps(content | {"seal": checksum_of(content)}))


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/b", ".hidden", ""])
def test_a_manifest_that_names_a_file_outside_its_payload_is_refused(store: Store, name: str) -> None:
    """Even with a right seal: nothing outside the payload folder is read or written."""
    manifest = publish_small_artifact(store)
    seal = next(iter(manifest.files.values()))
    digest = content_digest({name: seal}, manifest.inputs)
    reseal(Path(str(store.root)) / manifest.path / "manifest.json", files={name: seal.model_dump()}, digest=digest)
    with pytest.raises(DamageError, match="outside its payload"):
        store.verified(manifest.path)


def test_a_manifest_with_another_digest_than_its_files_is_refused(store: Store) -> None:
    """The digest goes into the keys of all that is made from it."""
    manifest = publish_small_artifact(store)
    reseal(Path(str(store.root)) / manifest.path / "manifest.json", digest="0" * 64)
    with pytest.raises(DamageError, match="digest"):
        store.verified(manifest.path)


def test_an_altered_local_copy_of_a_remote_payload_is_fetched_again() -> None:
    """A remote store returns only bytes that match the manifest, whoever else writes to the scratch folder."""
    remote = Store(f"memory://{uuid.uuid4().hex}")
    manifest = publish_small_artifact(remote)
    name = next(iter(manifest.files))
    content = (remote.payload(manifest.path) / name).read_bytes()
    (remote.payload(manifest.path) / name).write_bytes(b"altered")
    assert (remote.payload(manifest.path) / name).read_bytes() == content


def test_no_byte_of_a_remote_payload_is_read_twice_on_one_machine(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when several stores verify and serve it; only a file that was changed on disk is downloaded again."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    read: list[str] = []
    download = RemoteBackend._download
    monkeypatch.setattr(RemoteBackend, "_download", lambda self, path: (read.append(path), download(self, path))[1])
    first, second = Store(s3), Store(s3)
    manifest = publish_small_artifact(first)
    for store in (first, second, first):
        store.verified(manifest.path)
        assert {file.name: file.read_bytes() for file in store.payload(manifest.path).iterdir()} == FILES
    assert sorted(path.rsplit("/", 1)[-1] for path in read) == sorted(FILES)
    (first.root / manifest.path / "payload" / "a.bin").write_bytes(flipped(FILES["a.bin"], 5, 0))
    with pytest.raises(DamageError, match=r"a\.bin was altered"):
        second.payload(manifest.path)
    assert len(read) == len(FILES) + 1


def test_two_that_share_a_store_see_at_once_what_the_other_makes(s3: str) -> None:
    """No listing is remembered: not that something was absent, nor what was there."""
    first, second = Store(s3), Store(s3)
    assert second.manifests() == []
    assert second.side_files.names("champions", "base") == []
    manifest = publish_small_artifact(first)
    first.side_files.create(b"1", "champions", "base", "1.json")
    assert second.manifests() == [manifest] == [second.by_id(manifest.id)]
    assert second.side_files.names("champions", "base") == ["1.json"]


def test_the_latest_artifacts_are_found_without_reading_the_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a stage with thousands of artifacts only the requested manifests are read; ids are looked up directly."""
    manifests = [publish_small_artifact(store, key=f"{i:08x}{KEY[8:]}") for i in range(20)]
    for age, manifest in enumerate(reversed(manifests)):
        os.utime(store.absolute(manifest.path), (1e9 - age, 1e9 - age))
    read, inner = list[str](), store.backend.read_all
    monkeypatch.setattr(store.backend, "read_all", lambda paths: inner(read.extend(listed := [*paths]) or listed))
    assert {m.id for m in store.latest("train", 3)} == {m.id for m in manifests[-3:]}
    assert {m.id for m in store.manifests("train", {manifests[0].id})} == {manifests[0].id}
    assert len(read) == 4
    assert len(store.latest("train", 99)) == 20
    assert store.latest("score", 3) == []


def test_the_time_of_a_new_artifact_is_found_without_reading_old_ones(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what changed within a day is read, however many artifacts the stage has."""
    manifests = [publish_small_artifact(store, key=f"{i:08x}{KEY[8:]}") for i in range(20)]
    for manifest in manifests[:-1]:
        os.utime(store.absolute(manifest.path), (1e9, 1e9))
    read, inner = list[str](), store.backend.read_all
    monkeypatch.setattr(store.backend, "read_all", lambda paths: inner(read.extend(listed := [*paths]) or listed))
    assert store.next_timestamp("train") > manifests[-1].provenance.at
    assert read == [f"{manifests[-1].path}/manifest.json"]
