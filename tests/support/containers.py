"""Containers without a registry: a base image by debootstrap, the worker's image by `make image`, runs by podman."""

import ast
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.servers import Process

BASE = "localhost/debian:bookworm"
IMAGE = "localhost/dialogsum-worker:cpu"
KEPT = "DIALOGSUM_TEST_IMAGES"
"""Environment variable: a folder that keeps the images, so that a later run of the tests builds only what changed."""


class Containers:
    """Images and containers in a folder of their own, whose name is short enough for podman."""

    def __init__(self) -> None:
        if missing := [name for name in ("podman", "runc", "debootstrap") if shutil.which(name) is None]:
            pytest.skip(f"no {' and no '.join(missing)}: install the packages of these names")
        if os.getuid() != 0:
            pytest.skip("debootstrap makes a base image only as root")
        self.folder = Path(os.environ.get(KEPT) or tempfile.mkdtemp(prefix="images-", dir="/tmp"))
        options = [f"--{name}={self.folder / name}" for name in ("root", "runroot", "tmpdir")]
        overlay = "overlay" in Path("/proc/filesystems").read_text()
        driver = f"--storage-driver={'overlay' if overlay else 'vfs'}"
        self.podman = ["podman", *options, driver, "--runtime=runc", "--cgroup-manager=cgroupfs"]
        # steps of a build need no namespaces, which some machines do not allow
        self.environment = os.environ | {"BUILDAH_ISOLATION": "chroot", "TMPDIR": str(self.folder)}

    def call(self, *arguments: str) -> str:
        return run([*self.podman, *arguments], self.environment)

    def make_base(self) -> None:
        """Debian with Python, from its packages."""
        if BASE in self.call("images", "--format", "{{.Repository}}:{{.Tag}}").split():
            return
        tree, archive = self.folder / "base", self.folder / "base.tar"
        run(["debootstrap", "--variant=minbase", "--include=python3,python3-venv", "bookworm", str(tree)])
        run(["tar", "-C", str(tree), "-cf", str(archive), "."])
        self.call("import", str(archive), BASE)
        shutil.rmtree(tree)
        archive.unlink()

    def make_image(self, checkout: Path, **environment: str) -> str:
        """`make image` with the package indexes of this machine's pip; returns what it prints."""
        settings = pip_settings()
        places = {
            place for value in settings.values() for place in re.findall(r"(?:(?<=file://)|^|(?<=\s))/\S+", value)
        }
        # an index in a folder links to files beside itself
        places = {place.rstrip("/").removesuffix("/simple") for place in places}
        volumes = [f"--volume={place}:{place}:ro" for place in sorted(places) if Path(place).exists()]
        lines = ["[global]", *(f"{name} = {value}" for name, value in settings.items())]
        (self.folder / "pip.conf").write_text("\n".join([*lines, "# s3cret-of-an-index", ""]))
        variables = {
            "ENGINE": " ".join(self.podman),
            "BASE": BASE,
            "CPU_TORCH": "",  # pip's own settings lead to one
            "PIP_CONF": str(self.folder / "pip.conf"),
            "BUILD_OPTIONS": " ".join(["--network=host", *volumes]),
        }
        command = ["make", "--no-print-directory", "image", *(f"{name}={value}" for name, value in variables.items())]
        return run(command, self.environment | environment, checkout)

    def start(self, log: Path, *options: str, **environment: str) -> Process:
        """The image's own command as a cluster runs it: a uid of its own, nothing but /tmp writable, no home."""
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        limits = [f"--ulimit=nofile={files}:{files}", "--ulimit=nproc=4096:4096"]
        user = ["--user=12345:0", "--passwd=false", "--read-only", "--network=host", "--hostname=elsewhere"]
        variables = [f"--env={name}={value}" for name, value in ({"HOME": "/nonexistent"} | environment).items()]
        return Process([*self.podman, "run", "--rm", *limits, *user, *variables, *options, IMAGE], log)

    def remove(self) -> None:
        self.call("rm", "--all", "--force")
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if (place := line.split()[1]).startswith(f"{self.folder}/"):
                run(["umount", place])
        if KEPT not in os.environ:
            shutil.rmtree(self.folder)


def run(command: list[str], environment: dict[str, str] | None = None, folder: Path = ROOT) -> str:
    """Run a command; returns its output."""
    process = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=folder, stdin=subprocess.DEVNULL
    )
    assert process.returncode == 0, f"{command[0]}: {process.stdout[-3000:]}\n{process.stderr[-3000:]}"
    return process.stdout


def pip_settings() -> dict[str, str]:
    """What pip's files and environment set on this machine, as lines of a pip.conf; the environment comes last."""
    lines = run([sys.executable, "-m", "pip", "config", "list"]).splitlines()
    settings = dict(line.split("=", 1) for line in lines)
    ordered = sorted(settings.items(), key=lambda setting: setting[0].startswith(":env:"))
    return {key.rpartition(".")[2]: " ".join(ast.literal_eval(value).split()) for key, value in ordered}
