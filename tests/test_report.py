"""The report tells what the scores say, and no text in it can be anything but text."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from artifacts.manifest import Made
from artifacts.schemas import CURVE, DATASET, FORMATTED_EVAL
from artifacts.store import Store
from tasks.config import ReportConfig, ScoreConfig
from tasks.report import report
from tasks.score import score
from tasks.stage import Artifact
from tests.conftest import SAMPLE, read_csv
from tests.test_score import Bench

TEMPLATE = "Summarize this dialogue.\n\n{dialogue}"
HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</pre></dd></article></body><iframe src=javascript:alert(1)>",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)' autofocus='",
    "[x](javascript:alert(1))",
    "![x](https://tracker.example/pixel.png) <https://tracker.example> https://tracker.example",
    "{{ 7*7 }} {% raw %} ${7*7} {{ self.__init__.__globals__ }}",
    "# heading\n- item\n> quote\n| a | b |\n|---|---|\n\n    code\n***\n`code` ~~gone~~ **bold** _slant_",
    "&lt;script&gt; &#60;b&#62; &amp;",
    "\u202egnp.exe \u2066isolate",
    "family \U0001f468\u200d\U0001f469\u200d\U0001f467 and \U0001f600",
    "nul \x00 escape \x1b[31mred\x1b[0m \x07 \x7f \x9b31m",
    "long " + "x" * 100_000,
)
ACTIVE = {"script", "img", "iframe", "object", "embed", "link", "base", "form", "input", "a", "foreignobject"}
PRINTABLE = [text for text in HOSTILE if all(c.isprintable() or c in "\n\u200d" for c in text)]


class Page(HTMLParser):
    """The elements, attributes and texts of an HTML page, as the standard library reads them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.elements: list[tuple[str, list[str]]] = []
        self.open: list[tuple[str, list[str]]] = []
        self.unbalanced: list[str] = []
        self.feed(text)
        self.close()
        self.unbalanced += [tag for tag, _ in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag != "meta":
            self.open.append((tag, []))
            self.elements.append(self.open[-1])

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop()[0] != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        for _, texts in self.open:
            texts.append(data)

    def texts(self, tag: str) -> list[str]:
        """The whole text in each element of this name."""
        return ["".join(texts) for name, texts in self.elements if name == tag]


class Desk:
    """Builds what a report needs, and renders it."""

    def __init__(self, bench: Bench, rows: list[dict[str, Any]]) -> None:
        self.bench, self.rows = bench, rows
        self.template, self.trained_on, self.model = TEMPLATE, TEMPLATE, "tiny-model"
        self.checks = [{"name": "rows", "state": "ok", "detail": "3 of 3 rows reach the trainer"}]

    def told(self, artifact: Artifact, config: dict[str, Any], **facts: Any) -> Artifact:
        """The same payload with what a real stage would have said of it."""
        origin = {"model": self.model, "data": "folder"}
        made = Made(at="2026-01-05T06:00:00", seconds=1, run="test", origin=origin)
        said = {"facts": facts, "identity": {"config": config}, "made": made}
        return replace(artifact, manifest=artifact.manifest.model_copy(update=said))

    def inputs(self, *systems: list[str]) -> dict[str, Artifact]:
        """Everything before the report, with the predictions of base and, if given, tuned; really scored."""
        table, context = self.bench.artifact, self.bench.context()
        dataset = self.told(table("download", "test", self.rows, DATASET), {"data": {"revision": "0"}})
        before, after = self.template.split("{dialogue}")
        filled = [{"id": row["id"], "prompt": before + row["dialogue"] + after} for row in self.rows]
        prompts = self.told(table("format", "test", filled, FORMATTED_EVAL), {"template": self.template})
        outputs = {
            name: self.told(self.bench.predictions(texts), {"turns": "gemma"}, mean_tokens=1.0, at_limit=0)
            for name, texts in zip(("base", "tuned"), systems, strict=False)
        }
        score(ScoreConfig(bootstrap_resamples=500), context, dataset, **outputs)
        scores = replace(outputs["base"], payload=context.out)
        made = {"dataset": dataset, "prompts": prompts, "scores": scores, **outputs}
        if "tuned" in outputs:
            curve = [
                {"step": 0, "validation_loss": 3.5},
                {"step": 1, "train_loss": 3.0},
                {"step": 2, "train_loss": 1.5},
            ]
            adapter = table("train", "curve", curve, CURVE)
            (adapter.payload / "checks.json").write_text(json.dumps(self.checks))
            made["adapter"] = self.told(adapter, {"turns": "gemma", "train": {"seed": 0}}, template=self.trained_on)
        return made

    def render(self, inputs: dict[str, Artifact], **settings: int) -> tuple[Path, dict[str, str]]:
        """The folder with the pages, and the verdict."""
        context = self.bench.context()
        done = report(ReportConfig(**settings), context, **inputs)
        return context.out, done.facts["verdict"]

    def constant(self) -> list[str]:
        return ["People talk."] * len(self.rows)

    def references(self) -> list[str]:
        return [row["references"][0] for row in self.rows]


def html(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture
def desk(tmp_path: Path, store: Store) -> Desk:
    """24 dialogues of the sample with three references each."""
    source = read_csv(SAMPLE / "test.csv")
    groups = [source[i : i + 3] for i in range(0, 72, 3)]
    rows = [
        {"id": f"test_{i}", "dialogue": g[0]["dialogue"], "references": [r["summary"] for r in g], "topics": ["talk"]}
        for i, g in enumerate(groups)
    ]
    return Desk(Bench(tmp_path, store), rows)


@pytest.fixture
def hostile(desk: Desk) -> list[Path]:
    """Reports whose dialogues, summaries, topics, predictions, template, checks and model name are all hostile."""
    desk.template, desk.model = f"{HOSTILE[0]} {HOSTILE[7]}\n{{dialogue}}", f"model {HOSTILE[1]}"
    desk.checks = [{"name": text, "state": "ok", "detail": text} for text in HOSTILE[:8]]
    folders = []
    for start in range(0, len(HOSTILE), 5):  # Markdown shows five examples
        texts = HOSTILE[start : start + 5]
        desk.rows = [
            {"id": f"test_{i}", "dialogue": text, "references": [text, f"b {text}", f"c {text}"], "topics": [text] * 3}
            for i, text in enumerate(texts)
        ]
        inputs = desk.inputs(list(texts), [f"tuned {text}" for text in texts])
        folders.append(desk.render(inputs, examples=5)[0])
    return folders


def test_hostile_text_makes_no_element_and_no_attribute(hostile: list[Path]) -> None:
    """Whatever a dialogue holds, the page has the elements of the template and the plot, and no handler or address."""
    for page in map(html, hostile):
        assert page.unbalanced == []
        assert not {tag for tag, _ in page.tags} & ACTIVE
        for tag, attributes in page.tags:
            handlers = {name for name in attributes if name.startswith("on")}
            assert not handlers | {"src", "action", "srcdoc", "autofocus"} & set(attributes)
            addresses = [value for name, value in attributes.items() if name.endswith("href")]
            assert all(tag == "use" and value.startswith("#") for value in addresses)


def test_hostile_text_is_shown_as_it_is(hostile: list[Path]) -> None:
    """Escaping loses nothing and evaluates nothing: each text stands on the page as its author wrote it."""
    shown = {text for page in map(html, hostile) for tag in ("pre", "dd") for text in page.texts(tag)}
    assert len(PRINTABLE) == len(HOSTILE) - 2
    for text in PRINTABLE:
        assert {text, f"b {text}", f"c {text}", f"tuned {text}"} <= shown
    assert not [text for text in shown if "49" in text]


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_control_characters_are_made_visible(hostile: list[Path], name: str) -> None:
    """NUL, escape codes and direction overrides cannot act on a terminal or turn a line around."""
    text = "".join((folder / name).read_text(encoding="utf-8") for folder in hostile)
    assert not re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert "nul \u2400 escape \u241b" in text
    assert "\U0001f468\u200d\U0001f469\u200d\U0001f467" in text


def test_hostile_text_is_dead_in_markdown(hostile: list[Path]) -> None:
    """CommonMark with tables and strikethrough makes our own elements of the short report, and shows the texts whole."""
    markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    ours = {"h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "code", "strong"}
    items = []
    for folder in hostile:
        source = (folder / "report.md").read_text(encoding="utf-8")
        assert not re.search(r"[<\[]", source)  # nor for a dialect that reads more into them
        tokens = [child for token in markdown.parse(source) for child in (token, *(token.children or []))]
        assert not {token.type for token in tokens} & {"html_block", "html_inline", "link_open", "image", "fence"}
        page = Page(markdown.render(source))
        assert {tag for tag, _ in page.tags} <= ours
        assert not any(attributes for _, attributes in page.tags)
        assert page.texts("h2") == ["Artifacts", "Examples"]
        items += page.texts("li")
    for text in PRINTABLE:
        assert f"reference: {' '.join(text.split())}" in items


def test_page_fetches_nothing(hostile: list[Path]) -> None:
    """No address but names of XML namespaces, and a policy that forbids the browser to ask for any."""
    for page in map(html, hostile):
        (policy,) = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
        assert policy == "default-src 'none'; style-src 'unsafe-inline'"
        values = [(name, value) for _, attributes in page.tags for name, value in attributes.items() if "//" in value]
        assert all(name.startswith("xmlns") or name == "rdf:resource" for name, _ in values)  # names, not links
        assert not re.search(r"//|@import", "".join(page.texts("style")))


def test_report_with_long_texts_stays_small(hostile: list[Path]) -> None:
    """A page that is sent on by mail is under 3 MB, with a line of 100 kB in every text of a dialogue."""
    sizes = [(folder / "report.html").stat().st_size for folder in hostile]
    assert 600_000 < max(sizes) < 3_000_000


@pytest.mark.parametrize(
    ("base", "tuned", "state", "words"),
    [
        (Desk.constant, Desk.references, "better", "The tuned model is better than the base model."),
        (Desk.references, Desk.constant, "worse", "The tuned model is worse than the base model."),
        (Desk.references, Desk.references, "even", "No difference between tuned and base model is established."),
    ],
)
def test_verdict_is_what_the_predictions_are(desk: Desk, base: Any, tuned: Any, state: str, words: str) -> None:
    """References beat a constant sentence, the other way round they lose, and equal outputs establish nothing."""
    folder, verdict = desk.render(desk.inputs(base(desk), tuned(desk)))
    assert verdict["state"] == state
    assert html(folder).texts("h1") == [words]
    assert (folder / "report.md").read_text(encoding="utf-8").startswith(f"# {words}\n")


def test_report_of_the_base_alone_makes_no_comparison(desk: Desk) -> None:
    """Without an adapter there are scores and examples, but no curve, checks, second system or prompt note."""
    folder, verdict = desk.render(desk.inputs(desk.references()))
    page = html(folder)
    assert verdict["state"] == "alone"
    assert page.unbalanced == []
    assert page.texts("h2") == ["Scores", "Worked examples", "Lineage and time", "Settings"]
    assert not re.search("tuned|prompt than", "".join(page.texts("main") + page.texts("header")))
    assert "tuned" not in (folder / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("count", [0, 1, 5, 24, 100])
def test_as_many_examples_as_asked_for_evenly_spread(desk: Desk, count: int) -> None:
    """`report.examples` dialogues are shown, each once, in order, none beyond those there are."""
    shown = html(desk.render(desk.inputs(desk.constant(), desk.references()), examples=count)[0]).texts("article")
    numbers = [int(text.split("test_")[1].split()[0]) for text in shown]
    assert len(numbers) == min(count, 24)
    assert numbers == sorted(set(numbers))
    assert len({b - a for a, b in pairwise(numbers)}) <= 2


def test_rendering_twice_gives_the_same_bytes(desk: Desk) -> None:
    """The report is a function of its inputs: plot, ids and order included."""
    inputs = desk.inputs(desk.constant(), desk.references())
    one, two = desk.render(inputs)[0], desk.render(inputs)[0]
    assert sorted(file.name for file in one.iterdir()) == ["report.html", "report.md"]
    for file in one.iterdir():
        assert file.read_bytes() == (two / file.name).read_bytes()


@pytest.mark.parametrize(("trained_on", "noted"), [(TEMPLATE, False), ("Other words: {dialogue}", True)])
def test_another_prompt_than_trained_on_is_noted(desk: Desk, trained_on: str, noted: bool) -> None:
    """A reader learns when the adapter was evaluated with another prompt than it was trained on, and only then."""
    desk.trained_on = trained_on
    folder, _ = desk.render(desk.inputs(desk.constant(), desk.references()))
    assert ("another prompt than" in html(folder).texts("header")[0]) is noted
