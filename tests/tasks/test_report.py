"""The report tells what the scores say, and no text in it can be anything but text."""

import base64
import hashlib
import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import pytest
from markdown_it import MarkdownIt
from rouge_score import rouge_scorer

from artifacts.artifact_store import Store
from artifacts.manifest import InputRef, Made
from artifacts.schemas import CURVE, DATASET, FORMATTED_EVAL
from tasks.config import Evaluation, GateConfig, PromoteSpec, ReportConfig, ReportSpec, ScoreConfig
from tasks.execution.stage import Artifact
from tasks.promote import promote
from tasks.report import report
from tasks.score import score
from tests.conftest import ROOT, SAMPLE, Bench, read_csv
from tests.support.languages import GERMAN

TEMPLATE = "Summarize this dialogue.\n\n{dialogue}"
HOSTILE = (
    "<script>alert(1); window.__hit = 1</script>",
    "<img src=x onerror=alert(window.__hit=1)>",
    "</pre></dd></article></body><iframe src=javascript:alert(window.__hit=1)>",
    '" onmouseover="alert(window.__hit=1)',
    "' onfocus='alert(window.__hit=1)' autofocus='",
    "[x](javascript:alert(1))",
    "![x](https://tracker.example/pixel.png) <https://tracker.example> https://tracker.example",
    "{{ 7*7 }} {% raw %} ${7*7} {{ self.__init__.__globals__ }}",
    "# heading\n- item\n> quote\n| a | b |\n|---|---|\n\n    code\n***\n`code` ~~gone~~ **bold** _slant_",
    "&lt;script&gt; &#60;b&#62; &amp; </script><svg onload=alert(window.__hit=1)>",
    "\u202egnp.exe \u2066isolate",
    "family \U0001f468\u200d\U0001f469\u200d\U0001f467 and \U0001f600",
    "nul \x00 escape \x1b[31mred\x1b[0m \x07 \x7f \x9b31m",
    "long " + "x" * 100_000,
)
FOREIGN = {"img", "iframe", "object", "embed", "link", "base", "foreignobject", "audio", "video", "image", "animate"}
PRINTABLE = [text for text in HOSTILE if all(c.isprintable() or c in "\n\u200d" for c in text)]
DECISIONS: tuple[tuple[int, Literal["promoted", "rejected"] | None], ...] = (
    (1, "promoted"),
    (2, "rejected"),
    (3, None),
)
HISTORY = [
    Evaluation(
        at=f"2026-01-0{day}T06:00:00", recipe=f"recipe {HOSTILE[0]}", data=f"data {HOSTILE[1]}", scores=f"score-{day:08x}",
        adapter=f"train-{day:08x}", headline={"base": 20.0, "tuned": 24.0 + day, "champion": 25.0}, interval=(23.0, 27.5),
        decision=decision,
    )
    for day, decision in DECISIONS
]  # fmt: skip


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
        if tag not in ("meta", "input"):
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

    def values(self, attribute: str) -> list[str]:
        return [attributes[attribute] for _, attributes in self.tags if attribute in attributes]

    def shown(self) -> dict[str, list[str]]:
        """Group of dialogues -> the ids in it, in order."""
        found: dict[str, list[str]] = {}
        title = ""
        for tag, texts in self.elements:
            title = "".join(texts) if tag == "h3" else title
            if tag == "article":
                found.setdefault(title, []).append("".join(texts).split()[0])
        return found


class Desk:
    """Builds what a report needs, and renders it."""

    def __init__(self, bench: Bench, rows: list[dict[str, Any]]) -> None:
        self.bench, self.rows, self.cut = bench, rows, set[int]()
        self.template, self.trained_on, self.model, self.data = TEMPLATE, TEMPLATE, "tiny-model", "folder"
        self.checks = [{"name": "rows", "state": "ok", "detail": "3 of 3 rows reach the trainer"}]
        self.history: list[Evaluation] = []
        self.prompts: dict[str, str] = {}
        self.otherwise = {"prompt"}
        """What `before` was asked otherwise."""

    def asked(self, name: str, output: Artifact) -> Artifact:
        """Predictions with the prompts and the decoding that they were asked by."""
        otherwise = self.otherwise if name == "before" else set()
        config = {"turns": "gemma", "generate": {"candidates": 8 if "decoding" in otherwise else 1}}
        rows = InputRef(id="format-00000001", digest=("b" if "prompt" in otherwise else "a") * 64)
        found = self.told(output, config)
        return replace(found, manifest=found.manifest.model_copy(update={"inputs": {"rows": rows}}))

    def told(self, artifact: Artifact, config: dict[str, Any], **facts: Any) -> Artifact:
        """The same payload with what a real stage would have said of it."""
        origin = {"model": self.model, "data": self.data}
        made = Made(at="2026-01-05T06:00:00", seconds=1, run="test", origin=origin)
        said = {"facts": facts, "identity": {"config": config}, "made": made}
        return replace(artifact, manifest=artifact.manifest.model_copy(update=said))

    def inputs(
        self, base: list[str], tuned: list[str] | None = None, gate: dict[str, Any] | None = None, **rivals: list[str]
    ) -> dict[str, Artifact]:
        """Everything before the report, with the predictions of base and, if given, tuned, champion, before; really scored.

        With `gate` also the decision.
        """
        table, context = self.bench.artifact, self.bench.context()
        dataset = self.told(table("download", "test", self.rows, DATASET), {"data": {"revision": "0"}})
        before, after = self.template.split("{dialogue}")
        filled = [{"id": row["id"], "prompt": before + row["dialogue"] + after} for row in self.rows]
        prompts = self.told(table("format", "test", filled, FORMATTED_EVAL), {"template": self.template})
        texts = {"base": base} | ({"tuned": tuned} if tuned is not None else {}) | rivals
        outputs = {
            name: self.asked(name, self.predictions(found, self.cut if name == "tuned" else set()))
            for name, found in texts.items()
        }
        done = score(ScoreConfig(bootstrap_resamples=500), context, dataset, **outputs)
        scores = self.told(replace(outputs["base"], payload=context.out), {}, **done.facts)
        made = {"dataset": dataset, "prompts": prompts, "scores": scores, **outputs}
        if gate is not None:
            decided = self.bench.context()
            promote(PromoteSpec(gate=GateConfig(**gate)), decided, scores)
            made["decision"] = replace(scores, payload=decided.out)
        if tuned is not None:
            losses: list[dict[str, Any]] = [{"step": 0, "validation_loss": 3.5}]
            losses += [{"step": i, "train_loss": 3.0 / i} for i in (1, 2)]
            adapter = table("train", "curve", losses, CURVE)
            (adapter.payload / "checks.json").write_text(json.dumps(self.checks))
            made["adapter"] = self.told(adapter, {"turns": "gemma", "train": {"seed": 0}}, template=self.trained_on)
        return made

    def predictions(self, texts: list[str], cut: set[int]) -> Artifact:
        made = self.bench.predictions(texts, cut)
        assert [row["id"] for row in self.rows] == [f"test_{i}" for i in range(len(texts))]
        return made

    def render(self, inputs: dict[str, Artifact], **settings: Any) -> tuple[Path, dict[str, Any]]:
        """The folder with the pages, and the verdict."""
        context = self.bench.context()
        spec = ReportSpec(report=ReportConfig(**settings), history=tuple(self.history), prompts=self.prompts)
        done = report(spec, context, **inputs)
        return context.out, done.facts["verdict"]

    def constant(self) -> list[str]:
        return ["People talk."] * len(self.rows)

    def references(self) -> list[str]:
        return [row["references"][0] for row in self.rows]


def html(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def markdown(folder: Path) -> Page:
    source = (folder / "report.md").read_text(encoding="utf-8")
    return Page(MarkdownIt("commonmark").enable("table").render(source))


def sample_desk(folder: Path, store: Store) -> Desk:
    """24 dialogues of the sample with three references each."""
    source = read_csv(SAMPLE / "test.csv")
    groups = [source[i : i + 3] for i in range(0, 72, 3)]
    rows = [
        {"id": f"test_{i}", "dialogue": g[0]["dialogue"], "references": [r["summary"] for r in g], "topics": ["talk"]}
        for i, g in enumerate(groups)
    ]
    return Desk(Bench(folder, store), rows)


def hostile_folder(desk: Desk, texts: tuple[str, ...]) -> Path:
    """A report of dialogues, summaries, topics, slices, predictions, prompt, checks, history and names of these texts.

    Three plain dialogues, in which nothing changes, stand beside them, so that every text names a slice.
    """
    desk.template, desk.model, desk.data = (
        f"{texts[0]} {HOSTILE[7]}\n{{dialogue}}",
        f"model {texts[0]}",
        f"data {texts[-1]}",
    )
    desk.checks = [{"name": text, "state": "ok", "detail": text} for text in texts]
    desk.history, desk.prompts = HISTORY, dict.fromkeys(("base", "tuned", "champion"), texts[0][:40])
    rows = [*texts, "A: a plain one", "A: a second", "A: a third"]
    desk.rows = [
        {"id": f"test_{i}", "dialogue": text, "references": [text, f"b {text}", f"c {text}"], "topics": list(texts)}
        for i, text in enumerate(rows)
    ]
    tuned = [f"tuned {text}" if i < len(texts) else text for i, text in enumerate(rows)]
    return desk.render(desk.inputs(rows, tuned, gate={}, champion=rows), examples=6)[0]


@pytest.fixture
def desk(tmp_path: Path, store: Store) -> Desk:
    return sample_desk(tmp_path, store)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Reports of all hostile texts, three in each: as many as the Markdown shows of those that regressed."""
    folder = tmp_path_factory.mktemp("hostile")
    desk = Desk(Bench(folder, Store(folder / "store")), [])
    return [hostile_folder(desk, HOSTILE[i : i + 3]) for i in range(0, len(HOSTILE), 3)]


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The same report of three texts that nobody could take for anything else."""
    folder = tmp_path_factory.mktemp("harmless")
    return html(
        hostile_folder(Desk(Bench(folder, Store(folder / "store")), []), ("one word", "two words", "three words"))
    )


def structure(page: Page) -> Counter[str]:
    """Every element with the names of its attributes, outside the drawings and but for the marks of words."""
    apart = {"mark", "svg", "defs", "style", "g", "path", "use", "text", "tspan", "clippath", "rect", "metadata", "rdf:rdf", "cc:work"}  # fmt: skip
    return Counter(f"{tag} {sorted(attributes)}" for tag, attributes in page.tags if tag not in apart)


def test_hostile_text_makes_no_element_and_no_attribute(hostile: list[Path], harmless: Page) -> None:
    """The page is made of the same elements and attributes as that of harmless texts: no handler, address or form more."""
    assert harmless.unbalanced == []
    for page in map(html, hostile[:-1]):  # the last has fewer texts
        assert structure(page) == structure(harmless)
    for page in map(html, hostile):
        assert page.unbalanced == []
        tags = Counter(tag for tag, _ in page.tags)
        assert not tags.keys() & FOREIGN
        assert (tags["form"], tags["input"], tags["select"], tags["button"], tags["script"]) == (1, 1, 1, 1, 1)
        for tag, attributes in page.tags:
            handlers = {name for name in attributes if name.startswith("on")}
            assert not handlers | ({"src", "action", "srcdoc", "autofocus", "formaction"} & set(attributes))
            addresses = [value for name, value in attributes.items() if name.endswith("href")]
            assert all(tag in ("a", "use") and value.startswith("#") for value in addresses)


def test_the_only_script_is_ours_and_its_hash_is_in_the_policy(hostile: list[Path]) -> None:
    """Byte for byte tasks/reporting/report.js; the browser is told to run nothing else and to fetch nothing."""
    for page in map(html, hostile):
        (script,) = page.texts("script")
        assert script == (ROOT / "tasks" / "reporting" / "report.js").read_text()
        (policy,) = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
        values = [(name, value) for _, attributes in page.tags for name, value in attributes.items() if "//" in value]
        labels = {"aria-label", "content"}
        assert all(name.startswith("xmlns") or name == "rdf:resource" or name in labels for name, _ in values)
        assert not re.search(r"//|@import|url\(\s*['\"]?[^#'\")]", "".join(page.texts("style")))


def test_hostile_text_is_shown_as_it_is(hostile: list[Path]) -> None:
    """Escaping loses nothing and evaluates nothing: each text stands on the page as its author wrote it."""
    pages = [html(folder) for folder in hostile]
    shown = {text for page in pages for tag in ("pre", "dd", "li", "th", "td") for text in page.texts(tag)}
    assert len(PRINTABLE) == len(HOSTILE) - 2
    for text in PRINTABLE:
        assert {text, f"b {text}", f"c {text}", f"tuned {text}"} <= shown
        assert text.strip().casefold() in shown  # the name of a slice
    for page, texts in zip(pages, (HOSTILE[i : i + 3] for i in range(0, len(HOSTILE), 3)), strict=True):
        if texts[0] in PRINTABLE and texts[-1] in PRINTABLE:
            assert page.texts("title") == [f"Summaries of data {texts[-1]} by model {texts[0]}"]
    assert {HISTORY[0].recipe, HISTORY[0].data} <= shown
    assert not [text for text in shown if re.match(r"(tuned |b |c )?49 ", text)]


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
        assert not re.search(r"<|(?<!\\)\[", source)  # nor for a dialect that reads more into them
        tokens = [child for token in markdown.parse(source) for child in (token, *(token.children or []))]
        assert not {token.type for token in tokens} & {"html_block", "html_inline", "link_open", "image", "fence"}
        page = Page(markdown.render(source))
        assert {tag for tag, _ in page.tags} <= ours
        assert not any(attributes for _, attributes in page.tags)
        assert page.texts("h2") == ["Regressed most", "Others", "Artifacts"]
        assert len(page.texts("table")) == 1
        items += page.texts("li")
    for text in PRINTABLE:
        assert f"reference: {' '.join(text.split())}" in items


@pytest.mark.parametrize("text", ["word ", "<&\"'", "\u200b\u2066", "日本"])
def test_report_of_five_hundred_long_dialogues_stays_small(desk: Desk, text: str) -> None:
    """A page that is sent on by mail is under 3 MB, however much longer its texts become by being escaped or shown."""
    desk.rows = [
        {
            "id": f"test_{i}",
            "dialogue": text * (9000 // len(text)),
            "references": [f"ref {i} {text * 9}"],
            "topics": [text],
        }
        for i in range(500)
    ]
    folder, _ = desk.render(desk.inputs([f"a {text * 5}"] * 500, [f"ref {text * 20}"] * 500))
    size = (folder / "report.html").stat().st_size
    assert 1_500_000 < size < 3_000_000
    assert html(folder).unbalanced == []
    assert (folder / "report.md").stat().st_size < 500_000


# -- what it says


@pytest.mark.parametrize(
    ("base", "tuned", "rivals", "state", "words"),
    [
        ("constant", "references", {}, "better", "The tuned model is better than the base model."),
        ("references", "constant", {}, "worse", "The tuned model is worse than the base model."),
        ("references", "references", {}, "even", "No significant difference between the tuned model and the base model."),
        ("constant", "references", {"champion": "constant"}, "better", "The tuned model is better than the champion."),
        ("constant", "constant", {"champion": "references"}, "worse", "The tuned model is worse than the champion."),
        ("constant", "references", {"champion": "references"}, "even", "No significant difference between the tuned model and the champion."),
        ("constant", "references", {"before": "constant", "champion": "references"}, "better", "The new prompt is better than the previous prompt."),
        ("constant", "constant", {"before": "constant"}, "even", "No significant difference between the new prompt and the previous prompt."),
    ],
)  # fmt: skip
def test_verdict_is_what_the_predictions_are(
    desk: Desk, base: str, tuned: str, rivals: dict[str, str], state: str, words: str
) -> None:
    """References beat a constant sentence, the other way round they lose, equal outputs establish nothing; the others follow."""
    texts = {"constant": desk.constant(), "references": desk.references()}
    inputs = desk.inputs(texts[base], texts[tuned], gate=None, **{name: texts[key] for name, key in rivals.items()})
    folder, verdict = desk.render(inputs, examples=3)
    assert verdict["state"] == state
    page = html(folder)
    assert page.texts("h1") == [words]
    assert markdown(folder).texts("h1") == [words]
    against = {"before": "the previous prompt", "champion": "the champion", "base": "the base model"}
    named = [against[name] for name in ("before", "champion", "base") if name in {*rivals, "base"}][1:]
    assert [sentence.split(":")[0] for sentence in verdict["others"]] == [f"Against {name}" for name in named]
    means = {key: fmean(rouge1(rows, desk.rows)) for key, rows in texts.items()}
    rival = next((rivals[name] for name in ("before", "champion") if name in rivals), base)
    assert verdict["much"].startswith(f"ROUGE-1 {means[tuned]:.1f} against {means[rival]:.1f}: {means[tuned] - means[rival]:+.1f} points")  # fmt: skip
    chance = {"better": "above 99.9 %", "worse": "below 0.1 %", "even": "50.0 %"}[state]
    assert f"same 24 test dialogues with 3 references each; probability of being better {chance}." in verdict["trust"]
    assert "one seed was trained" in verdict["trust"]
    rounded = [cell for cell in page.texts("td") if cell in ("0.0 %", "100.0 %")]
    assert rounded == []
    assert chance in page.texts("td")  # the table's wording is that of the first screen


@pytest.mark.parametrize(
    ("otherwise", "head", "systems", "chart"),
    [
        (
            {"prompt"}, 'Prompt "brief" is better than the previous prompt "Say <who> wants…".',
            ['tuned, prompt "Say <who> wants…"', "champion", "tuned, prompt brief"], "Difference to the previous prompt",
        ),
        (
            {"decoding"}, "The new decoding (greedy) is better than the previous decoding (best of 8 by agreement).",
            ["tuned, best of 8 by agreement", "champion", "tuned, greedy"], "Difference to the previous decoding",
        ),
        (
            {"prompt", "decoding"},
            'Prompt "brief" with the new decoding (greedy) is better than the previous prompt "Say <who> wants…" and decoding '
            "(best of 8 by agreement).",
            ['tuned, prompt "Say <who> wants…", best of 8 by agreement', "champion", "tuned, prompt brief, greedy"],
            "Difference to the previous prompt and decoding",
        ),
    ],
)  # fmt: skip
def test_two_outputs_of_one_adapter_can_be_told_apart(
    desk: Desk, otherwise: set[str], head: str, systems: list[str], chart: str
) -> None:
    """Headline, tables, examples, chart and the choice of dialogues name the prompts or decodings that were compared."""
    desk.otherwise, desk.prompts = otherwise, {"base": "brief", "tuned": "brief", "before": "Say <who> wants…"}
    texts = desk.constant()
    folder, verdict = desk.render(desk.inputs(texts, desk.references(), before=texts, champion=texts), examples=3)
    page, short = html(folder), markdown(folder)
    assert verdict["head"] == head
    assert page.texts("h1") == short.texts("h1") == [head]
    assert [text for text in page.texts("th") if text in ("base", *systems)][:4] == ["base", *systems]
    assert [text.rsplit(" ", 1)[0] for text in page.texts("dt")][:4] == ["base", *systems]
    assert [row for row in short.texts("td") if row in ("base", *systems)] == ["base", *systems]
    assert chart in page.texts("figcaption")
    assert f"better than {chart.removeprefix('Difference to ')}" in page.texts("option")
    compared = {text.split(": ")[0]: text for text in page.texts("li") if ": no adapter" in text}
    assert list(compared) == ["base", *systems]
    assert compared[systems[-1]] == f"{systems[-1]}: no adapter, prompt brief, greedy"
    assert "before" not in {text for tag in ("th", "dt", "figcaption", "option") for text in page.texts(tag)}
    assert "before" not in " ".join(page.values("aria-label")).replace("Checks before training", "")


def test_two_prompts_of_one_name_are_the_new_and_the_previous_one(desk: Desk) -> None:
    """Such as one text in two turn templates: no name is said twice as if it were two."""
    desk.prompts = dict.fromkeys(("base", "tuned", "before"), "brief")
    texts = desk.constant()
    folder, verdict = desk.render(desk.inputs(texts, desk.references(), before=texts), examples=1)
    assert verdict["head"] == "The new prompt is better than the previous prompt."
    assert {"tuned, new prompt", "tuned, previous prompt"} <= set(html(folder).texts("th"))


def test_recipe_and_overrides_are_on_the_first_screen(desk: Desk) -> None:
    """As the scores note them; without overrides the recipe alone."""
    inputs = desk.inputs(desk.constant(), desk.references())
    scores = inputs["scores"]
    for overrides in ("generate.limit=8, train.epochs=2", ""):
        origin = {"recipe": "quickstart 1a2b3c4d"} | ({"overrides": overrides} if overrides else {})
        made = scores.manifest.made.model_copy(update={"origin": origin})
        inputs["scores"] = replace(scores, manifest=scores.manifest.model_copy(update={"made": made}))
        folder, _ = desk.render(inputs, examples=1)
        words = f"ecipe quickstart 1a2b3c4d{', with ' if overrides else ''}{overrides}"
        assert f"R{words}" in html(folder).texts("p")
        assert f"r{words}" in markdown(folder).texts("li")


def rouge1(texts: list[str], rows: list[dict[str, Any]]) -> list[float]:
    """ROUGE-1 F1 x 100 of each dialogue, mean over references, by rouge_score."""
    oracle = rouge_scorer.RougeScorer(["rouge1"], use_stemmer=True)
    return [
        100 * fmean(oracle.score(reference, text)["rouge1"].fmeasure for reference in row["references"])
        for text, row in zip(texts, rows, strict=True)
    ]


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ({"least_rows": 24}, "It passes the gate."),
        ({"least_rows": 25}, "It does not pass the gate: test dialogues: 24 (wanted: at least 25)."),
        (None, ""),
    ],
)
def test_gate_is_told_where_there_was_one(desk: Desk, gate: dict[str, Any] | None, words: str) -> None:
    """Passed, not passed with its reason, or no word of it; and every condition in a table."""
    folder, verdict = desk.render(desk.inputs(desk.constant(), desk.references(), gate=gate), examples=1)
    page = html(folder)
    assert verdict["gate"] == words
    assert ("Gate" in page.texts("h2")) is bool(words)
    if words:
        assert page.texts("p").count(words) == 2  # on the first screen and in its section
        assert Counter(page.texts("td"))["at least 95 %"] == 1
        assert words in Page(MarkdownIt().render((folder / "report.md").read_text())).texts("strong")


def test_a_measure_that_the_language_does_not_allow_is_named_with_the_reason(desk: Desk) -> None:
    """On the first screen, in the table of the gate and beside the measures; in English there is no word of it."""
    plain = html(desk.render(desk.inputs(desk.constant(), desk.references(), gate={"least_rows": 1}), examples=1)[0])
    assert "ot applied" not in " ".join(plain.texts("body"))
    desk.rows = [
        {"id": f"test_{i}", "dialogue": dialogue, "references": list(texts), "topics": ["x", "x"]}
        for i, (dialogue, *texts) in enumerate(GERMAN)
    ]
    page = html(desk.render(desk.inputs(desk.constant(), desk.references(), gate={"least_rows": 1}), examples=1)[0])
    assert page.texts("p").count("It passes the gate. Not applied: names not in the dialogue.") == 2
    assert [text for text in page.texts("p") if text.startswith("Names not in the dialogue: not applied. 95.0 %")]
    assert [text for text in page.texts("td") if text.startswith("not applied: 95.0 %")]


def test_seeds_are_told_with_mean_and_deviation(desk: Desk) -> None:
    """By hand: 30, 32 and 34 have the mean 32 and the standard deviation 2."""
    inputs = desk.inputs(desk.constant(), desk.references())
    kinds = ("rouge1", "rouge2", "rougeL", "rougeLsum")
    for name, value in (("scores", 30.0), ("seed_10", 34.0), ("seed_9", 32.0)):
        inputs[name] = desk.told(inputs["scores"], {}, headline={"tuned": dict.fromkeys(kinds, value)})
    folder, verdict = desk.render(inputs, examples=1)
    cells = html(folder).texts("td")
    assert cells.count("32.00 ± 2.00") == 4
    start = cells.index("30.00")
    assert cells[start : start + 12 : 4] == ["30.00", "32.00", "34.00"]  # in the order of the seeds, 9 before 10
    assert "Over 3 training seeds ROUGE-1 went from 30.0 to 34.0." in verdict["trust"]


@pytest.mark.parametrize(("trained_on", "noted"), [(TEMPLATE, False), ("Other words: {dialogue}", True)])
def test_another_prompt_than_trained_on_is_noted(desk: Desk, trained_on: str, noted: bool) -> None:
    """A reader learns when the adapter was evaluated with another prompt than it was trained on, and only then."""
    desk.trained_on = trained_on
    folder, _ = desk.render(desk.inputs(desk.constant(), desk.references()), examples=1)
    assert (
        "This prompt differs from the one the adapter was trained with." in html(folder).texts("header")[0]
    ) is noted


FULL = ["Scores", "Gate", "Behaviour", "Slices", "Dialogues", "Training", "History", "Time and lineage", "Settings"]


@pytest.mark.parametrize(
    ("tuned", "gate", "history", "missing"),
    [
        (False, None, 0, {"Gate", "Slices", "Training", "History"}),
        (True, None, 0, {"Gate", "History"}),
        (True, {}, 1, set()),
        (True, {}, 3, set()),
    ],
)
def test_sections_are_there_for_what_there_is_and_named_once(
    desk: Desk, tuned: bool, gate: Any, history: int, missing: set[str]
) -> None:
    """Each section is labelled by its own heading, each anchor leads to one element, each id is there once."""
    desk.history = HISTORY[:history]
    inputs = desk.inputs(desk.constant(), desk.references() if tuned else None, gate=gate)
    folder, verdict = desk.render(inputs, examples=3)
    page = html(folder)
    sections = [title for title in FULL if title not in missing]
    assert page.unbalanced == []
    assert page.texts("h2") == page.texts("a")[1:] == sections
    ids = Counter(page.values("id"))
    assert set(ids.values()) == {1}
    headings = [attributes["id"] for tag, attributes in page.tags if tag == "h2"]
    assert page.values("aria-labelledby") == headings
    links = [a["href"].removeprefix("#") for tag, a in page.tags if tag == "a"]
    assert links[1:] == headings
    assert {value.removeprefix("#") for name in ("href", "xlink:href") for value in page.values(name)} <= set(ids)
    if not tuned:
        assert verdict["state"] == "alone"
        base = fmean(rouge1(desk.constant(), desk.rows))
        assert page.texts("h1") == [f"The base model scores {base:.1f} ROUGE-1."]
        assert not re.search("tuned|prompt than|probability", "".join(page.texts("main") + page.texts("header")))
        assert "tuned" not in (folder / "report.md").read_text(encoding="utf-8")


# -- which dialogues it shows


def test_movers_are_the_dialogues_that_moved_most_and_the_rest_follows(desk: Desk) -> None:
    """Seven improved and six regressed by construction: the five strongest of each, strongest first, as rouge_score orders them."""
    good, poor = desk.references(), desk.constant()
    better, worse = {1, 4, 7, 10, 13, 16, 19}, {2, 5, 8, 11, 14, 17}
    base = [good[i] if i in worse else poor[i] for i in range(24)]
    tuned = [good[i] if i in better else poor[i] for i in range(24)]
    page = html(desk.render(desk.inputs(base, tuned))[0])
    change = {i: b - a for i, (a, b) in enumerate(zip(rouge1(base, desk.rows), rouge1(tuned, desk.rows), strict=True))}
    up, down = sorted(better, key=lambda i: -change[i]), sorted(worse, key=lambda i: change[i])
    rest = sorted({*range(24)} - {*up[:5], *down[:5]})
    groups = {"Improved most": up[:5], "Regressed most": down[:5], "Others": rest}
    assert page.shown() == {title: [f"test_{i}" for i in numbers] for title, numbers in groups.items()}
    flags = {text.split()[0]: a["data-flags"].split() for text, a in zip(page.texts("article"), [a for t, a in page.tags if t == "article"], strict=True)}  # fmt: skip
    assert {name for name, found in flags.items() if "improved" in found} == {f"test_{i}" for i in better}
    assert {name for name, found in flags.items() if "regressed" in found} == {f"test_{i}" for i in worse}


@pytest.mark.parametrize("count", [0, 1, 5, 7, 24, 100])
def test_as_many_dialogues_as_asked_for_each_once(desk: Desk, count: int) -> None:
    """`report.examples` of them: movers first, then others evenly spread; none beyond those there are."""
    tuned = [desk.references()[i] if i < 2 else "People talk." for i in range(24)]
    shown = html(desk.render(desk.inputs(desk.constant(), tuned), examples=count)[0]).shown()
    assert len(shown.get("Improved most", [])) == min(count, 2)
    others = [int(name.split("_")[1]) for name in shown.get("Others", [])]
    assert len(others) == min(max(count - 2, 0), 22)
    assert others == sorted(set(others) - {0, 1})
    assert len({b - a for a, b in pairwise(others)}) <= 2


def test_marked_words_are_those_that_only_one_of_the_two_has(desk: Desk) -> None:
    """Against the champion where there is one; the base, which is not compared, has no marks; case and order count."""
    desk.rows = desk.rows[:1]
    inputs = desk.inputs(["something else"], ["Ann asks the dog to sit down"], champion=["Ann asks a cat to sit"])
    page = html(desk.render(inputs)[0])
    assert page.texts("dd") == ["something else", "Ann asks a cat to sit", "Ann asks the dog to sit down"]
    assert [text.strip() for text in page.texts("mark")] == ["a", "cat", "the", "dog", "down"]


def test_flags_are_of_what_the_last_system_wrote(desk: Desk) -> None:
    """Cut, empty, naming somebody who is not there: by construction one dialogue each, one all of the first two."""
    tuned = desk.references()
    desk.cut, tuned[5], tuned[6], tuned[7] = {3, 6}, "", " \n", "#Person9# talks."
    page = html(desk.render(desk.inputs([*desk.references()], tuned))[0])
    flags = {text.split()[0]: a["data-flags"].split() for text, a in zip(page.texts("article"), [a for t, a in page.tags if t == "article"], strict=True)}  # fmt: skip
    assert {name for name, found in flags.items() if "limit" in found} == {"test_3", "test_6"}
    assert {name for name, found in flags.items() if "empty" in found} == {"test_5", "test_6"}
    assert "stranger" in flags["test_7"]
    assert page.texts("dd").count("(empty)") == 2


def test_rendering_twice_gives_the_same_bytes(desk: Desk) -> None:
    """The report is a function of its inputs: drawings, ids and order included."""
    desk.history = HISTORY
    inputs = desk.inputs(desk.constant(), desk.references(), gate={})
    one, two = desk.render(inputs)[0], desk.render(inputs)[0]
    assert sorted(file.name for file in one.iterdir()) == ["report.html", "report.md"]
    for file in one.iterdir():
        assert file.read_bytes() == (two / file.name).read_bytes()
