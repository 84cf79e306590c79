"""Every package of the environment has a pinned version, so that commands install the same packages next month."""

import ast
import re
import sys
import tomllib
from importlib.metadata import Distribution, distributions, packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.paths import ROOT

REQUIREMENTS = ROOT / "requirements"
FILES = ("pins.txt", "model.txt", "mlflow-server.txt")
ENVIRONMENT = {"pip", "dialogsum-pipeline"}
"""The installer itself, and this project."""
PINNED_BY_TORCH = re.compile(r"nvidia-|cuda-|triton$")
"""Packages of a CUDA build of torch, which requires exact versions of them; the CPU build has none."""


def _pins(*files: str) -> dict[str, str]:
    lines = [line for file in files for line in (REQUIREMENTS / file).read_text().splitlines()]
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in requirements}


def _unpinned(installed: list[Distribution], pins: dict[str, str]) -> list[str]:
    """`name version` of each installed package whose version is not the pinned one."""
    versions = {canonicalize_name(each.name): each.version.split("+")[0] for each in installed}
    return sorted(
        f"{name} {version}"
        for name, version in versions.items()
        if name not in ENVIRONMENT and not PINNED_BY_TORCH.match(name) and pins.get(name) != version
    )


def test_every_installed_package_is_pinned():
    """`make setup` installs the same on any day: a new release of a transitive package once broke the schedules."""
    assert _unpinned(list(distributions()), _pins(*FILES)) == []


def test_every_imported_package_is_a_declared_dependency():
    """What another package happens to bring may be gone with its next release."""
    files = [file for package in ("artifacts", "flows", "tasks") for file in (ROOT / package).glob("**/*.py")]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    outside = {name.split(".")[0] for name in imported} - sys.stdlib_module_names - {"artifacts", "flows", "tasks"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    installed = {  # a peer that only a benchmark on a GPU imports is not
        name: {canonicalize_name(each) for each in packages}
        for name, packages in packages_distributions().items()
        if name in outside
    }
    assert {"torch", "yaml", "rouge_score"} <= installed.keys()
    assert {name for name, packages in installed.items() if not declared & packages} == set()


@pytest.mark.parametrize("change", ["missing", "newer"])
def test_an_unpinned_package_is_named(change):
    pins = _pins(*FILES)
    if change == "missing":
        del pins["sqlalchemy"]
    else:
        pins["sqlalchemy"] = "2.1.9"
    assert [line.split()[0] for line in _unpinned(list(distributions()), pins)] == ["sqlalchemy"]


def test_pins_name_versions_and_no_place():
    """Versions only: an address or a file path would tie the environment to one machine."""
    for file in REQUIREMENTS.glob("*.txt"):
        assert not re.search(r"://|@|--(extra-)?index|^/|^-", file.read_text(), re.MULTILINE), file
