"""Code fingerprints: an edited helper is other work for the stages that depend on it, and for no others."""

import ast
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from artifacts import code_fingerprint as code
from tasks.registry import STAGES
from tests.support.paths import ROOT


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the three packages that may be edited, and that fingerprints are taken of."""
    for package in code.PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "store", "sample")
        shutil.copytree(ROOT / package, tmp_path / "copy" / package, ignore=ignored)
    monkeypatch.setattr(code, "ROOT", tmp_path / "copy")
    return tmp_path / "copy"


def stages_changed_by(edit: Any) -> set[str]:
    original = {name: stage.code() for name, stage in STAGES.items()}
    edit()
    return {name for name, stage in STAGES.items() if stage.code() != original[name]}


def replace(file: Path, old: str, new: str) -> Any:
    def edit() -> None:
        text = file.read_text()
        assert text.count(old) == 1, f"{old!r} in {file.name}"
        file.write_text(text.replace(old, new))

    return edit


def test_comments_docstrings_and_layout_change_no_stage(source: Path) -> None:
    """Every docstring reworded, every comment dropped and every line reformatted, in all modules: the same code."""

    def edit() -> None:
        for file in source.rglob("*.py"):
            tree = ast.parse(file.read_text())
            for node in ast.walk(tree):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                    node.body[0] = ast.Expr(ast.Constant("Other words."))
            file.write_text("# another comment\n\n\n" + ast.unparse(tree).replace("\n", "  # and another\n\n", 1))

    assert stages_changed_by(edit) == set()


BEFORE_WORKER = {"tasks/tokenization.py": {"probe"}}
"""File -> stages that use it before they start their worker process, which does not use it."""


@pytest.mark.parametrize(
    ("file", "old", "new", "stages"),
    [
        ("tasks/metrics/rouge.py", "min(count, prediction[gram])", "min(prediction[gram], count)", {"score"}),
        (
            "tasks/tokenization.py",
            "_NOT_STEMMED = 3",
            "_NOT_STEMMED = 4",
            {"sample", "generate", "probe", "score", "report"},
        ),
        (
            "tasks/models/turns.py",
            '"chatml": Turns("<|im_start|>user\\n"',
            '"chatml": Turns("<|im_start|>person\\n"',
            {"train", "sample", "generate", "probe"},
        ),
        ("tasks/decoding/sampling.py", "BLOCK = 512", "BLOCK = 256", {"sample", "generate", "probe"}),
        ("tasks/decoding/kv_cache.py", "is_causal=True", "is_causal=not False", {"sample", "generate", "probe"}),
        (
            "tasks/models/prompt_template.py",
            "prefix + dialogue + suffix",
            "prefix + dialogue.strip() + suffix",
            {"format"},
        ),
        ("tasks/metrics/diagnostics.py", "COPY_N = 3, 4", "COPY_N = 3, 5", {"score"}),
        ("tasks/promote.py", "share <= limit", "share < limit", {"promote"}),
        ("tasks/probing/likelihood.py", "1 << 28", "1 << 27", {"probe"}),
        ("tasks/judging/batches.py", "BATCH = 32", "BATCH = 64", {"judge"}),
        ("tasks/reporting/headline.py", "low > 0", "low > 1", {"report"}),
        ("tasks/data/row_matching.py", "pair[1].position", "pair[0].position", {"report"}),
        ("tasks/reporting/report.html.j2", "<html", "<html data-edited", {"report"}),
    ],
)
def test_an_edited_helper_changes_the_stages_that_depend_on_it_and_no_other(
    source: Path, file: str, old: str, new: str, stages: set[str]
) -> None:
    """However far down the helper is, and in the worker process as well."""
    workers = {stage.worker: code.fingerprint(stage.worker) for stage in STAGES.values() if stage.worker}
    assert stages_changed_by(replace(source / file, old, new)) == stages
    changed_workers = {module for module, original in workers.items() if code.fingerprint(module) != original}
    assert changed_workers == {STAGES[name].worker for name in stages - BEFORE_WORKER.get(file, set())} - {None}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("tasks/training/check_messages.py", "rows reach the trainer", "rows arrive at the trainer"),
        ("tasks/training/guards.py", "; no adapter was written; ", "; no adapter is written; "),
        ("tasks/sources/hub.py", "is not the name of a commit", "does not name a commit"),
        ("artifacts/errors.py", "the disk is full", "there is no space left"),
        ("tasks/training/throughput.py", "2**30, 2)", "2**30, 3)"),
    ],
)
def test_rewording_a_check_or_an_error_changes_no_stage(source: Path, file: str, old: str, new: str) -> None:
    """Neither where it is raised nor where it is worded: nothing that people read makes a model train again."""
    text = (source / file).read_text()
    assert old in text
    assert stages_changed_by(lambda: (source / file).write_text(text.replace(old, new))) == set()


APART = {
    "tasks.prefect_task": "Prefect's",
    "tasks.execution.listener": "the flow's",
    "tasks.gpu_lease": "Prefect's",
    "tasks.concurrency_lease": "Prefect's",
    "tasks.server_outage": "Prefect's",
    "tasks.run_watch": "Prefect's",
    "tasks.reporting.artifact_page": "Prefect's",
    "tasks.reporting.links": "Prefect's",
    "tasks.reporting.review_html": "the review page's",
    "tasks.reporting.sweep_plot": "the sweep's",
    "tasks.metrics.selection_bias": "the sweep's",
    "tasks.models.library_warnings": "the export's",
    "tasks.models.base_comparison": "the export's",
    **dict.fromkeys(
        (f"tasks.models.gguf_{name}" for name in ("architectures", "export", "file", "lora", "tokenizer", "types")),
        "the export's",
    ),
    "artifacts.prefect_results": "Prefect's",
    "artifacts.champions": "the flow's",
    "artifacts.retention": "the flow's",
    "artifacts.garbage_collection": "housekeeping's",
    **dict.fromkeys(
        (
            "tasks.data.dataset_checks",
            "tasks.data.duplicates",
            "tasks.data.near_duplicates",
            "tasks.data.repeated_references",
            "tasks.data.row_lengths",
        ),
        "the doctor's",
    ),
    **dict.fromkeys(
        (
            "tasks.summarization.chunk_files",
            "tasks.summarization.dialogue_prompts",
            "tasks.summarization.request",
            "tasks.summarization.summarize_table",
            "tasks.summarization.worker",
            "tasks.summarization.worker_records",
            "tasks.summarization.summarizer",
            "tasks.summarization.csv_file",
            "tasks.summarization.message_table",
            "tasks.summarization.table_files",
            "tasks.summarization.text_encoding",
            "tasks.transcripts.assistant_exports",
            "tasks.transcripts.caption_markup",
            "tasks.transcripts.captions",
            "tasks.transcripts.characters",
            "tasks.transcripts.chat_exports",
            "tasks.transcripts.chat_messages",
            "tasks.transcripts.conversation",
            "tasks.transcripts.detect",
            "tasks.transcripts.formats",
            "tasks.transcripts.json_values",
            "tasks.transcripts.message_markup",
            "tasks.transcripts.message_speakers",
            "tasks.transcripts.program_lines",
            "tasks.transcripts.signal_text",
            "tasks.transcripts.records",
            "tasks.transcripts.speaker_names",
            "tasks.transcripts.speech_recognition",
            "tasks.transcripts.timestamps",
            "tasks.transcripts.ttml",
            "tasks.transcripts.turn_headings",
            "tasks.transcripts.turn_lines",
            "tasks.transcripts.whatsapp",
            "tasks.transcripts.whatsapp_languages",
            "tasks.transcripts.zoom",
            "tasks.models.export",
        ),
        "of a user's own files; in the key that a killed run goes on by",
    ),
}


MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for folder in ("artifacts", "tasks")
    for file in (ROOT / folder).rglob("[!_]*.py")
}


def test_every_module_left_out_of_fingerprints_exists_and_says_why() -> None:
    """A renamed module cannot stay on the list by its old name."""
    packages = {module.rpartition(".")[0] for module in MODULES}
    assert set(code.PLUMBING) <= MODULES | packages
    assert all(len(why.split()) > 4 for why in code.PLUMBING.values())


def test_packages_have_no_code_of_their_own() -> None:
    """Importing a module runs the `__init__.py` of its packages, which no fingerprint covers."""
    assert {
        file for folder in code.PACKAGES for file in (ROOT / folder).rglob("__init__.py") if file.read_text()
    } == set()


def test_every_module_is_in_some_fingerprint_or_on_the_list_of_plumbing(source: Path) -> None:
    """A statement added to a module is noticed by a stage, unless the module is declared to be plumbing or shell."""

    def extend(module: str) -> None:
        file = source / f"{module.replace('.', '/')}.py"
        file.write_text(file.read_text() + "\nEDITED = True\n")

    noticed = {module for module in MODULES if stages_changed_by(partial(extend, module))}
    assert noticed == {module for module in MODULES if not code.is_plumbing(module)} - set(APART)


def test_a_thread_that_parses_at_the_same_time_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.11 then fails with SystemError, although nothing is wrong with the source; a real error is raised."""
    parse, failures = ast.parse, [SystemError("AST constructor recursion depth mismatch (before=108, after=76)")] * 2

    def parse_sometimes(source: str) -> ast.Module:
        if failures:
            raise failures.pop()
        return parse(source)

    monkeypatch.setattr(ast, "parse", parse_sometimes)
    assert isinstance(code._parse("x = 1").body[0], ast.Assign)
    with pytest.raises(SyntaxError):
        code._parse("x =")
