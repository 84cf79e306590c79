"""What the code of a stage is, so that an edited helper is never answered with an old result.

A stage's fingerprint covers its own module and every module of ours that it imports, however far down, as syntax:
comments, docstrings and layout do not count, so an edited comment retrains nothing. The modules in `PLUMBING` move
or show things and are left out, each for the reason beside it.
"""

import ast
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("artifacts", "tasks", "flows")
PLUMBING = {
    "artifacts.errors": "words of messages; a stage that raises leaves no artifact",
    "artifacts.code_fingerprint": "computes keys; a change of it changes every key by itself",
    "artifacts.user_paths": "reads names that people give; what they name is identified by its bytes",
    "artifacts.cache_key": "computes keys; a change of it changes every key by itself",
    "artifacts.manifest": "describes what was made; `content_digest` decides keys by itself",
    "artifacts.reasons": "words about why a stage runs; it writes nothing",
    "artifacts.refs": "receipts; what they point to is checked by digest",
    "artifacts.artifact_store": "moves bytes, which are checked by digest",
    "artifacts.backend": "what a store asks of the place it lies in",
    "artifacts.local_backend": "moves bytes, which are checked by digest",
    "artifacts.remote_backend": "moves bytes, which are checked by digest",
    "tasks.config": "its values are in the key, field by field",
    "tasks.execution.stage": "calls the stage; adds nothing to what it writes",
    "tasks.registry": "lists the stages, computes nothing",
    "tasks.workers.launcher": "runs worker processes and follows their events",
    "tasks.workers.processes": "starts and stops worker processes",
    "tasks.workers.worker_main": "passes config and result through a worker process",
    "tasks.workers.standby": "starts a worker process before its work is known",
    "tasks.workers.standby_main": "imports worker modules and waits for work",
    "tasks.workers.gpus": "counts GPUs; how many share the work is no identity",
    "tasks.workers.cpus": "counts cores; the number of threads is no identity",
    "tasks.workers.events": "progress and log lines of a worker",
}


def _module_file(name: str) -> Path | None:
    base = ROOT.joinpath(*name.split("."))
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            return file
    return None


def _imports(tree: ast.AST) -> set[str]:
    """Names of our own modules that the syntax imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name for name in names if name.split(".")[0] in PACKAGES and _module_file(name)}


def _plain(node: object) -> object:
    """Syntax as nested lists without empty fields, so that Python 3.11 and 3.12 agree on it."""
    if isinstance(node, ast.AST):
        fields = [(name, _plain(value)) for name, value in ast.iter_fields(node)]
        return [type(node).__name__, *[(name, value) for name, value in fields if value not in (None, [])]]
    if isinstance(node, list):
        return [_plain(item) for item in node]
    return repr(node)


def _strip_docstrings(tree: ast.AST) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            # every bare string counts as documentation: those under fields and constants as well
            kept = [s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
            node.body = kept or [ast.Pass()]


@functools.lru_cache(maxsize=256)
def _read(file: Path, stamp: tuple[int, int]) -> tuple[str, frozenset[str]]:
    if file.suffix != ".py":
        return hashlib.sha256(file.read_bytes()).hexdigest(), frozenset()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imports = _imports(tree)
    _strip_docstrings(tree)
    return hashlib.sha256(repr(_plain(tree)).encode()).hexdigest(), frozenset(imports)


def fingerprint(module: str, resources: Iterable[str] = ()) -> dict[str, str]:
    """Module or file name -> 16 hex digits of its syntax or bytes, for `module`, all it imports of ours, and `resources`.

    `resources` are files beside the module's own that the stage reads, such as a template.
    """
    found: dict[str, str] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        if name in found or name in PLUMBING or name in PACKAGES:
            continue
        file = _module_file(name)
        if file is None:
            raise FileNotFoundError(f"no module {name} under {ROOT}")
        stat = file.stat()
        digest, imports = _read(file, (stat.st_mtime_ns, stat.st_size))
        found[name] = digest[:16]
        todo.extend(imports)
    own = _module_file(module)
    assert own is not None
    for resource in resources:
        file = own.parent / resource
        stat = file.stat()
        found[resource] = _read(file, (stat.st_mtime_ns, stat.st_size))[0][:16]
    return found
