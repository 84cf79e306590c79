"""The wheel works outside of the checkout: it has every file that the commands read, and keeps its store elsewhere."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

from tests.support.paths import ROOT

PACKAGES = ("artifacts", "tasks", "flows")
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the checkout, without network."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__", "store")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE", "prefect.yaml"):
        shutil.copy(ROOT / name, source)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(out)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True)
    (file,) = out.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel. It finds the other packages in this one, but not its editable install."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    install = ["install", "--quiet", "--no-deps", "--no-index", "--no-compile", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), *install], check=True)
    # Python searches the folder that a .pth file adds, but ignores .pth files in it, such as the editable install's
    site_packages = next(folder.glob("lib/python*/site-packages"))
    (site_packages / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def run(environment: Path, folder: Path, *arguments: str) -> str:
    """Standard output of a program of the environment, run in `folder`."""
    program = [str(environment / "bin" / arguments[0]), *arguments[1:]]
    unset = {"PYTHONPATH", "DIALOGSUM_STORE", "DIALOGSUM_STATION"}
    variables = {name: value for name, value in os.environ.items() if name not in unset}
    finished = subprocess.run(program, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_the_wheel_holds_every_file_of_the_packages_and_the_license(wheel: Path) -> None:
    """Compared with the checkout, data files included; nothing from a store is in it."""
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*") if file.is_file()]
    names = {str(file.relative_to(ROOT)) for file in files if "__pycache__" not in file.parts}
    expected = {name for name in names if not name.startswith("artifacts/store/")}
    packed = set(ZipFile(wheel).namelist())
    assert {name for name in packed if name.split("/")[0] in PACKAGES} == expected
    assert f"dialogsum_pipeline-{VERSION}.dist-info/licenses/LICENSE" in packed


@pytest.mark.slow
def test_the_environment_imports_the_wheel(environment: Path, tmp_path: Path) -> None:
    """And not the checkout."""
    for package in PACKAGES:
        file = Path(run(environment, tmp_path, "python", "-c", f"import {package}; print({package}.__file__)").strip())
        assert file.is_relative_to(environment.resolve())


@pytest.mark.slow
def test_commands_work_outside_of_the_checkout(environment: Path, tmp_path: Path) -> None:
    """Recipes, prompts, the sample and the base model are there; the store is in the current folder."""
    assert run(environment, tmp_path, "dialogsum", "--version") == f"dialogsum {VERSION}\n"
    plan = json.loads(run(environment, tmp_path, "dialogsum", "plan", "quickstart", "--json"))
    assert [entry["status"] for entry in plan["stages"]] == ["run"] * 9
    prompts = json.loads(run(environment, tmp_path, "dialogsum", "prompts", "--json"))
    assert {prompt["prompt"] for prompt in prompts} == {file.stem for file in (ROOT / "flows" / "prompts").iterdir()}
    assert f"store: {tmp_path.resolve()}/artifacts/store" in run(environment, tmp_path, "dialogsum")


@pytest.mark.slow
def test_a_station_has_the_deployments_of_the_checkout(environment: Path, tmp_path: Path) -> None:
    script = "from flows.station.default_recipe import deployments_with; print(deployments_with('quickstart'))"
    deployments = yaml.safe_load(run(environment, tmp_path, "python", "-c", script))["deployments"]
    expected = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert [each["name"] for each in deployments] == [each["name"] for each in expected]


def test_release_files_agree_on_version_and_license() -> None:
    """pyproject.toml, the citation file and the changelog; the license is the text of that name."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (VERSION, "Apache-2.0")
    assert f"## [{VERSION}] - {citation['date-released']}" in (ROOT / "CHANGELOG.md").read_text()
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()


def test_hooks_run_what_make_check_runs() -> None:
    """Command by command; the workflow calls .ci/run and nothing else."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    recipe = (ROOT / "Makefile").read_text().split("check: setup\n")[1].split("\n\n")[0]
    expected = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()]
    assert [hook["entry"] for hook in hooks] == expected
    steps = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["ci"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
