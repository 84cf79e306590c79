"""Layout: imports go one way, Prefect stays in a few files, and no module hides a dependency."""

import ast
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.conftest import ROOT

RANK = {"artifacts": 0, "tasks": 1, "flows": 2}
FILES = sorted(file for package in RANK for file in (ROOT / package).glob("**/*.py"))
MAY_IMPORT_PREFECT = {
    "artifacts/prefect_results.py", "tasks/prefect_task.py", "tasks/gpu_lease.py", "tasks/concurrency_lease.py", "tasks/server_outage.py",
    "tasks/cancellation.py", "flows/station/slot_recovery.py", "flows/station/schedules.py", "flows/pipeline.py", "flows/publishing.py", "flows/stage_flows.py",
    "flows/gpu_pool.py", "flows/run_names.py", "flows/station/provisioning.py", "flows/station/supervisor.py", "flows/server_check.py", "flows/summarize_flow.py",
    "flows/run_pages.py", "flows/failures.py", "flows/benchmarks/children/unchanged_run.py", "flows/benchmarks/unchanged.py",
}  # fmt: skip
by_file = pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(ROOT)) for file in FILES])


def imports(file: Path) -> set[str]:
    """Every name that a file imports, wherever in it, `from a import b` as `a.b`; a relative import starts with a dot."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names}
    return found


@by_file
def test_imports_go_from_flows_to_tasks_to_artifacts_only(file: Path) -> None:
    """A package imports itself and what is below it, never what is above."""
    own = RANK[file.relative_to(ROOT).parts[0]]
    tops = {name.split(".")[0] for name in imports(file)}
    assert {top for top in tops if RANK.get(top, 0) > own} == set()


@by_file
def test_modules_are_imported_by_their_full_names(file: Path) -> None:
    """Fingerprints follow absolute imports: a relative one would hide a helper from them."""
    assert {name for name in imports(file) if name.startswith(".")} == set()


def test_only_shell_flows_and_what_they_tell_import_prefect() -> None:
    """Logic is plain functions, so that it is tested and planned without a server."""
    found = {str(f.relative_to(ROOT)) for f in FILES if "prefect" in {name.split(".")[0] for name in imports(f)}}
    assert found <= MAY_IMPORT_PREFECT


@pytest.mark.parametrize("worker", ["tasks/training/worker.py", "tasks/decoding/worker.py"])
def test_worker_processes_reach_no_prefect(worker: str) -> None:
    """However far down its imports are followed."""
    todo, seen = [ROOT / worker], set[Path]()
    while todo:
        file = todo.pop()
        seen.add(file)
        parts = [ROOT.joinpath(*name.split(".")) for name in imports(file)]
        ours = {place.with_suffix(".py") for part in parts for place in (part, part.parent)} & set(FILES)
        todo += ours - seen
    assert len(seen) > 5
    assert {str(file.relative_to(ROOT)) for file in seen} & MAY_IMPORT_PREFECT == set()


def test_no_module_has_the_name_of_an_installed_package_or_of_the_standard_library() -> None:
    """An entry point's own folder goes first on sys.path: `tasks/datasets.py` would hide `datasets`."""
    taken = set(packages_distributions()) | sys.stdlib_module_names
    assert {"prefect", "datasets", "torch", "rouge_score", "json"} <= taken
    assert {file.stem for file in FILES if file.stem in taken and file.stem != "__init__"} == set()
    assert set(RANK) & sys.stdlib_module_names == set()


def test_command_line_graph_and_planning_start_without_torch_and_prefect() -> None:
    """A misspelt key is refused, and a plan made, before anything heavy is loaded."""
    script = "import sys, flows.cli.main, flows.dag, flows.planner; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "flows.planner" in loaded
    assert loaded & {"torch", "prefect", "transformers", "datasets"} == set()
