"""Fingerprints of code: a stage whose code changed does not reuse an old result.

A stage's fingerprint covers its own module and every module of this project that it imports, directly or not, as
syntax: comments, docstrings and layout do not count, nor do the texts of a `raise` statement, since a stage that raises
leaves no artifact. So rewording a comment or an error retrains nothing. The modules in `PLUMBING` are left out, each
for the reason beside it.
"""

import ast
import functools
import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("artifacts", "tasks", "flows")
TRIES = 5
"""How often a module is parsed until that succeeds."""
PLUMBING = {
    "artifacts.artifact_path": "names folders, which are in no payload",
    "artifacts.artifact_store": "moves bytes, which are checked by digest",
    "artifacts.atomic_files": "writes and hashes bytes, which are checked by digest",
    "artifacts.backend": "declares what a store needs from its backend",
    "artifacts.cache_key": "computes keys; a change of it changes every key by itself",
    "artifacts.code_fingerprint": "computes keys; a change of it changes every key by itself",
    "artifacts.errors": "defines errors; a stage that raises leaves no artifact",
    "artifacts.local_backend": "moves bytes, which are checked by digest",
    "artifacts.manifest": "describes what was made; `content_digest` decides keys by itself",
    "artifacts.reasons": "explains why a stage runs; it writes nothing",
    "artifacts.record": "base class of settings, whose values are in the key",
    "artifacts.refs": "receipts; what they point to is checked by digest",
    "artifacts.remote_backend": "moves bytes, which are checked by digest",
    "artifacts.s3_checksums": "moves bytes, which are checked by digest",
    "artifacts.side_files": "moves files that are no part of an artifact",
    "artifacts.text": "formats messages; they are no part of a payload",
    "artifacts.timestamps": "writes times, which are in no payload",
    "artifacts.user_paths": "reads names that people give; what they name is identified by its bytes",
    "tasks.config": "its values are in the key, field by field",
    "tasks.execution": "decides and calls stages; adds nothing to what they write",
    "tasks.registry": "lists the stages, computes nothing",
    "tasks.sources.file_digests": "computes digests of outside files, which are in the key",
    "tasks.sources.hub": "moves bytes, which are checked by digest",
    "tasks.training.check_messages": "words checks; the payload has their figures only",
    "tasks.training.throughput": "measures speed and memory, which are true of one copy only",
    "tasks.workers": "starts worker processes, feeds them and listens to them",
}
"""Module, or package with all its modules -> why its code is in no key."""


def _module_file(name: str) -> Path | None:
    base = ROOT.joinpath(*name.split("."))
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            return file
    return None


def _imports(tree: ast.AST) -> set[str]:
    """Names of this project's modules that a file imports, anywhere in it."""
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
    """Remove all bare strings: docstrings, and those under fields and constants."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = [s for s in node.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
            node.body = body or [ast.Pass()]


class _StripTexts(ast.NodeTransformer):
    """Replaces strings and f-strings by the empty string."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return ast.Constant("") if isinstance(node.value, str) else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.Constant:
        return ast.Constant("")


def _strip_error_texts(tree: ast.AST) -> None:
    """Remove the texts from the arguments of raised errors."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            node.exc.args = [_StripTexts().visit(argument) for argument in node.exc.args]


def _parse(source: str) -> ast.Module:
    """The syntax of a module. A thread that parses at the same time can make Python 3.11 fail (bug gh-106905)."""
    for _ in range(TRIES - 1):
        with suppress(SystemError):
            return ast.parse(source)
    return ast.parse(source)


@functools.lru_cache(maxsize=256)
def _read(file: Path, stamp: tuple[int, int]) -> tuple[str, frozenset[str]]:
    if file.suffix != ".py":
        return hashlib.sha256(file.read_bytes()).hexdigest(), frozenset()
    tree = _parse(file.read_text(encoding="utf-8"))
    imports = _imports(tree)
    _strip_docstrings(tree)
    _strip_error_texts(tree)
    return hashlib.sha256(repr(_plain(tree)).encode()).hexdigest(), frozenset(imports)


def is_plumbing(module: str) -> bool:
    """Whether the code of a module is in no key."""
    return any(module == name or module.startswith(f"{name}.") for name in PLUMBING)


def fingerprint(module: str, resources: Iterable[str] = ()) -> dict[str, str]:
    """Fingerprint of `module`, every module of this project that it imports, and `resources`.

    `resources` are files that the stage reads, such as a template, relative to the folder of the module.
    Returns name of the module or file -> 16 hex digits of its syntax or bytes.
    """
    digests: dict[str, str] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        if name in digests or name in PACKAGES or is_plumbing(name):
            continue
        file = _module_file(name)
        if file is None:
            raise FileNotFoundError(f"there is no module {name} under {ROOT}")
        stat = file.stat()
        digest, imports = _read(file, (stat.st_mtime_ns, stat.st_size))
        digests[name] = digest[:16]
        todo.extend(imports)
    module_file = _module_file(module)
    assert module_file is not None
    for resource in resources:
        file = module_file.parent / resource
        stat = file.stat()
        digests[resource] = _read(file, (stat.st_mtime_ns, stat.st_size))[0][:16]
    return digests
