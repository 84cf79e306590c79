"""Layout: each package imports what the table allows, few files import Prefect, and no module hides a dependency."""

import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.support.paths import ROOT

MAY_IMPORT: dict[str, set[str]] = {
    "artifacts": set(),
    "tasks.config": {"artifacts"},
    "tasks.tokenization": {"tasks.config"},
    "tasks.workers": {"artifacts"},
    "tasks.metrics": {"artifacts", "tasks.config", "tasks.tokenization"},
    "tasks.manifest_views": {"artifacts", "tasks.metrics"},
    "tasks.data": {"artifacts", "tasks.config", "tasks.tokenization", "tasks.metrics", "tasks.sources"},
    "tasks.sources": {"artifacts", "tasks.config"},
    "tasks.models": {"artifacts", "tasks.config", "tasks.sources"},
    "tasks.training": {"artifacts", "tasks.config", "tasks.workers", "tasks.models"},
    "tasks.decoding": {"artifacts", "tasks.config", "tasks.tokenization", "tasks.workers", "tasks.models"},
    "tasks.sampling": {
        "artifacts",
        "tasks.config",
        "tasks.workers",
        "tasks.models",
        "tasks.decoding",
    },
    "tasks.probing": {
        "artifacts",
        "tasks.config",
        "tasks.workers",
        "tasks.metrics",
        "tasks.data",
        "tasks.models",
        "tasks.decoding",
    },
    "tasks.judging": {
        "artifacts",
        "tasks.config",
        "tasks.workers",
        "tasks.sources",
        "tasks.metrics",
        "tasks.models",
        "tasks.decoding",
    },
    "tasks.execution": {"artifacts", "tasks.config", "tasks.workers"},
    "tasks.reporting": {
        "artifacts",
        "tasks.config",
        "tasks.metrics",
        "tasks.execution",
        "tasks.manifest_views",
        "tasks.data",
    },
    "tasks.transcripts": set(),
    "tasks.summarization": {
        "artifacts",
        "tasks.config",
        "tasks.workers",
        "tasks.models",
        "tasks.decoding",
        "tasks.transcripts",
    },
    "tasks": {"artifacts", "tasks.*"},
    "flows": {"artifacts", "tasks", "tasks.*", "flows.integrations", "flows.slurm"},
    "flows.slurm": {"artifacts", "tasks", "tasks.*"},
    "flows.sweeps": {"artifacts", "tasks", "tasks.*", "flows", "flows.integrations"},
    "flows.integrations": {"artifacts", "tasks", "tasks.*", "flows"},
    "flows.inference": {"artifacts", "tasks", "tasks.*", "flows"},
    "flows.station": {"artifacts", "tasks", "tasks.*", "flows", "flows.integrations"},
    "flows.serving": {"artifacts", "tasks", "tasks.*", "flows", "flows.inference"},
    "flows.benchmarks": {"artifacts", "tasks", "tasks.*", "flows", "flows.inference", "flows.station"},
    "flows.cli": {"artifacts", "tasks", "tasks.*", "flows", "flows.*"},
}
"""What each package may import besides itself; a package is the folder of a module, or a module with a row here."""
FILES = sorted(file for package in ("artifacts", "flows", "tasks") for file in (ROOT / package).glob("**/*.py"))
MAY_IMPORT_PREFECT = {
    "artifacts/prefect_results.py",
    "tasks/prefect_task.py",
    "tasks/gpu_lease.py",
    "tasks/concurrency_lease.py",
    "tasks/server_outage.py",
    "tasks/run_watch.py",
    "flows/station/slot_recovery.py",
    "flows/station/server_settings.py",
    "flows/station/server.py",
    "flows/station/worker.py",
    "flows/integrations/announcements.py",
    "flows/integrations/refused_deliveries.py",
    "flows/station/station_status.py",
    "flows/station/server_status.py",
    "flows/station/schedules.py",
    "flows/pipeline.py",
    "flows/runner.py",
    "flows/publishing.py",
    "flows/decision_event.py",
    "flows/stage_flows.py",
    "flows/gpu_pool.py",
    "flows/slurm/run_on_slurm.py",
    "flows/slurm/shown_state.py",
    "flows/run_names.py",
    "flows/station/provisioning.py",
    "flows/station/supervisor.py",
    "flows/station/deploy.py",
    "flows/station/server_check.py",
    "flows/inference/summarize_flow.py",
    "flows/sweeps/sweep_flow.py",
    "flows/run_pages.py",
    "flows/failures.py",
    "flows/benchmarks/children/unchanged_run.py",
    "flows/benchmarks/unchanged.py",
    "flows/benchmarks/soak_server.py",
    "flows/station/gc_flow.py",
}
by_file = pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(ROOT)) for file in FILES])


def imports(file: Path) -> set[str]:
    """Every name that a file imports, anywhere in it, `from a import b` as `a.b`; relative imports start with a dot."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names}
    return names


def package_of(module: str) -> str:
    """`tasks.training.loop` -> `tasks.training`; the children of benchmarks belong to them."""
    parts = module.split(".")
    return module if module in MAY_IMPORT else ".".join(parts[: min(2, len(parts) - 1)])


def imported_modules(file: Path) -> set[str]:
    """The modules of ours that a file imports, wherever in it."""
    return {
        module
        for name in imports(file)
        for module in (name, name.rpartition(".")[0])
        if ROOT.joinpath(*module.split(".")).with_suffix(".py") in FILES
    }


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


@by_file
def test_a_package_imports_only_what_the_table_allows(file: Path) -> None:
    """`tasks.*` stands for every package in tasks, not for the modules in its root."""
    package = package_of(module_of(file))
    allowed = MAY_IMPORT[package]
    imported = {package_of(module) for module in imported_modules(file)} - {package}
    assert {name for name in imported if name not in allowed and f"{name.split('.')[0]}.*" not in allowed} == set()


def test_no_module_imports_itself_through_others() -> None:
    """Also through an import inside of a function: without circles every module can be read, tested and moved alone."""
    graph = {module_of(file): imported_modules(file) for file in FILES}
    circles = [module for module in graph if module in reachable(graph, module)]
    assert circles == []


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    """The modules at the end of any chain of imports that begins at `start`."""
    seen, todo = set[str](), list(graph[start])
    while todo:
        if (module := todo.pop()) not in seen:
            seen.add(module)
            todo += graph.get(module, set())
    return seen


@by_file
def test_modules_are_imported_by_their_full_names(file: Path) -> None:
    """Fingerprints follow absolute imports: a relative one would hide a helper from them."""
    assert {name for name in imports(file) if name.startswith(".")} == set()


def test_only_shell_flows_and_what_they_tell_import_prefect() -> None:
    """Logic is plain functions, so that it is tested and planned without a server."""
    importers = {str(f.relative_to(ROOT)) for f in FILES if "prefect" in {name.split(".")[0] for name in imports(f)}}
    assert importers <= MAY_IMPORT_PREFECT


@pytest.mark.parametrize(
    "worker",
    [
        "tasks/training/worker.py",
        "tasks/decoding/worker.py",
        "tasks/sampling/worker.py",
        "tasks/probing/worker.py",
        "tasks/judging/worker.py",
        "tasks/summarization/worker.py",
    ],
)
def test_worker_processes_reach_no_prefect(worker: str) -> None:
    """However far down its imports are followed."""
    todo, seen = [ROOT / worker], set[Path]()
    while todo:
        file = todo.pop()
        seen.add(file)
        parts = [ROOT.joinpath(*name.split(".")) for name in imports(file)]
        ours = {path.with_suffix(".py") for part in parts for path in (part, part.parent)} & set(FILES)
        todo += ours - seen
    assert len(seen) > 5
    assert {str(file.relative_to(ROOT)) for file in seen} & MAY_IMPORT_PREFECT == set()


def test_no_module_has_the_name_of_an_installed_package_or_of_the_standard_library() -> None:
    """An entry point's own folder goes first on sys.path: `tasks/datasets.py` would hide `datasets`."""
    taken = set(packages_distributions()) | sys.stdlib_module_names
    assert {"prefect", "datasets", "torch", "rouge_score", "json"} <= taken
    assert {file.stem for file in FILES if file.stem in taken and file.stem != "__init__"} == set()
    assert {"artifacts", "flows", "tasks"} & sys.stdlib_module_names == set()


def test_command_line_graph_and_planning_start_without_torch_and_prefect() -> None:
    """A misspelt key is refused, and a plan made, before anything heavy is loaded."""
    script = "import sys, flows.cli.main, flows.dag, flows.planner; print(*sys.modules)"
    process = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(process.stdout.split())
    assert "flows.planner" in loaded
    assert loaded & {"torch", "prefect", "transformers", "datasets"} == set()


def test_no_helper_is_imported_out_of_a_test_or_a_conftest() -> None:
    """Helpers lie in tests/support or beside the fault tests: a test file can be moved or split on its own."""
    imported = {
        name for file in (ROOT / "tests").glob("**/*.py") for name in imports(file) if name.startswith("tests.")
    }
    assert len(imported) > 20
    assert [name for name in imported if re.search(r"\.(test_\w+|conftest)(\.|$)", name)] == []
