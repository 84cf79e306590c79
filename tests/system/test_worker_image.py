"""The image of a worker, built by `make image`, and a container of it as a worker of a live station."""

import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from artifacts.artifact_store import Store
from tests.support.containers import IMAGE, Containers
from tests.support.paths import ROOT
from tests.support.servers import S3
from tests.support.stations import NOT_CODE, LocalStation, wait_until

pytestmark = pytest.mark.slow
SECRETS = {"AWS_SECRET_ACCESS_KEY": "s3cret-of-the-environment", "HF_TOKEN": "s3cret-of-the-hub"}
FILES = (".env", "flows/.env", "artifacts/store/s3cret-by-name", "deploy/notes", "notes.txt")
"""Files that a checkout may hold beside the code; each contains a secret."""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this one, which a test may edit, with secrets."""
    folder = tmp_path_factory.mktemp("checkout") / "clone"
    shutil.copytree(ROOT, folder, ignore=NOT_CODE)
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("s3cret-of-a-file")
    return folder


@pytest.fixture(scope="module")
def containers(checkout: Path) -> Iterator[Containers]:
    """With the image, which was built while the environment had secrets."""
    containers = Containers()
    try:
        containers.make_base()
        containers.make_image(checkout, **SECRETS)
        yield containers
    finally:
        containers.remove()


@pytest.fixture
def model(models: dict[str, Path], tmp_path: Path) -> Path:
    """A copy that other users may read."""
    folder = tmp_path / "llama"
    shutil.copytree(models["llama"], folder)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)
    return folder


@pytest.fixture
def station(tmp_path_factory: pytest.TempPathFactory, model: Path, s3: str, s3_server: S3) -> Iterator[LocalStation]:
    """One with its store on S3, whose own GPU worker has died."""
    running = LocalStation(tmp_path_factory.mktemp("station"), model)
    running.environment |= s3_server.environment | {"DIALOGSUM_STORE": s3}
    try:
        running.up()
        running.kill("gpu-worker")
        yield running
    finally:
        running.command("down")


def layers(containers: Containers) -> list[str]:
    """Digests of the image's layers, the lowest first."""
    digests: list[str] = json.loads(containers.call("image", "inspect", "--format", "{{json .RootFS.Layers}}", IMAGE))
    return digests


def test_a_container_executes_the_stages_that_need_a_gpu(
    containers: Containers, station: LocalStation, s3: str, s3_server: S3, model: Path, tmp_path: Path
) -> None:
    """A retraining completes whose training and generation only the container could take.

    It runs as a uid without a passwd entry, without a home, on a file system of which only /tmp can be written.
    """
    shared = s3_server.environment | {"DIALOGSUM_STORE": s3, "PREFECT_API_URL": station.url}
    volume = f"--volume={model}:{model}:ro"
    worker = containers.start(tmp_path / "worker.log", volume, f"--name=worker-{uuid.uuid4().hex}", **shared)
    try:
        parent = station.retrain()
        wait_until(lambda: processes(s3))
        inside = processes(s3)
        assert {process.uids().real for process in inside} == {12345}
        assert " ro," in Path(f"/proc/{inside[0].pid}/mounts").read_text().splitlines()[0]
        ended = station.ended(parent, 1200)
        log = worker.log.read_text()
        assert ended["state_type"] == "COMPLETED", (ended["state"]["message"], log[-3000:])
        sent = {run["id"]: run["name"] for run in station.children(parent)}
        assert sorted(name.split()[0] for name in sent.values()) == ["generate", "generate", "train"]
        assert [name for run, name in sent.items() if run not in log] == []
    finally:
        worker.stop()
    made = {manifest.provenance.run for manifest in Store(s3).manifests() if manifest.stage in ("train", "generate")}
    assert made == set(sent)


def processes(store: str) -> list[psutil.Process]:
    """Of the container: they use the store, and Prefect's folder is the image's."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            environment = process.environ()
            if (environment.get("DIALOGSUM_STORE"), environment.get("PREFECT_HOME")) == (store, "/tmp/prefect"):
                found.append(process)
    return found


def test_the_image_contains_no_secret_and_is_not_for_root(containers: Containers) -> None:
    """Not of the environment, of files beside the code or of pip's configuration, in no layer and no history."""
    assert containers.call("image", "inspect", "--format", "{{.Config.User}}", IMAGE).strip() == "10001:0"
    saving = subprocess.Popen([*containers.podman, "save", IMAGE], stdout=subprocess.PIPE)
    assert saving.stdout is not None
    size, end, found = 0, b"", dict.fromkeys((b"s3cret", b"dialogsum-pipeline"), 0)
    while chunk := saving.stdout.read(1 << 24):
        for text in found:
            found[text] += (end[-len(text) + 1 :] + chunk).count(text)
        size, end = size + len(chunk), chunk[-64:]
    assert saving.wait() == 0
    assert size > 1 << 30
    assert found[b"dialogsum-pipeline"] > 0  # uncompressed, or nothing would be found
    assert found[b"s3cret"] == 0


def test_an_edited_module_leaves_the_layers_of_the_dependencies(containers: Containers, checkout: Path) -> None:
    """Only those from the folder of that module on are built, a thousandth of the image; the size is printed."""
    before = layers(containers)
    with (checkout / "flows" / "pipeline.py").open("a") as file:
        file.write("# edited\n")
    printed = containers.make_image(checkout)
    after = layers(containers)
    same = [one == other for one, other in zip(before, after, strict=True)]
    assert same == sorted(same, reverse=True)
    assert same.count(False) == 2  # flows, bytecode
    assert "GB" in printed.splitlines()[-1]
