"""The report tells what the scores say, and no text in it can be anything but text."""

import base64
import hashlib
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from markdown_it import MarkdownIt

from artifacts.artifact_store import Store
from tests.support.artifacts import ArtifactFactory
from tests.support.hostile_texts import HOSTILE_TEXTS, PRINTABLE
from tests.support.languages import GERMAN
from tests.support.paths import ROOT
from tests.support.reports import (
    FOREIGN_ELEMENTS,
    HISTORY,
    TEMPLATE,
    Page,
    ReportBuilder,
    hostile_report,
    html_page,
    markdown_page,
    rouge1,
    sample_report_builder,
    structure,
)


@pytest.fixture
def report_builder(tmp_path: Path, store: Store) -> ReportBuilder:
    return sample_report_builder(tmp_path, store)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Reports of all hostile texts, three in each: as many as the Markdown shows of those that regressed."""
    folder = tmp_path_factory.mktemp("hostile")
    report_builder = ReportBuilder(ArtifactFactory(folder, Store(folder / "store")), [])
    return [hostile_report(report_builder, HOSTILE_TEXTS[i : i + 3]) for i in range(0, len(HOSTILE_TEXTS), 3)]


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The same report of three texts that nobody could take for anything else."""
    folder = tmp_path_factory.mktemp("harmless")
    return html_page(
        hostile_report(
            ReportBuilder(ArtifactFactory(folder, Store(folder / "store")), []),
            ("one word", "two words", "three words"),
        )
    )


def test_hostile_text_makes_no_element_and_no_attribute(hostile: list[Path], harmless: Page) -> None:
    """The page is made of the same elements and attributes as that of harmless texts: no handler, address or form more."""
    assert harmless.unbalanced == []
    for page in map(html_page, hostile[:-1]):  # the last has fewer texts
        assert structure(page) == structure(harmless)
    for page in map(html_page, hostile):
        assert page.unbalanced == []
        tags = Counter(tag for tag, _ in page.tags)
        assert not tags.keys() & FOREIGN_ELEMENTS
        assert (tags["form"], tags["input"], tags["select"], tags["button"], tags["script"]) == (1, 1, 1, 1, 1)
        for tag, attributes in page.tags:
            handlers = {name for name in attributes if name.startswith("on")}
            assert not handlers | ({"src", "action", "srcdoc", "autofocus", "formaction"} & set(attributes))
            addresses = [value for name, value in attributes.items() if name.endswith("href")]
            assert all(tag in ("a", "use") and value.startswith("#") for value in addresses)


def test_the_only_script_is_ours_and_its_hash_is_in_the_policy(hostile: list[Path]) -> None:
    """Byte for byte tasks/reporting/report.js; the browser is told to run nothing else and to fetch nothing."""
    for page in map(html_page, hostile):
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
    pages = [html_page(folder) for folder in hostile]
    shown = {text for page in pages for tag in ("pre", "dd", "li", "th", "td") for text in page.texts(tag)}
    assert len(PRINTABLE) == len(HOSTILE_TEXTS) - 2
    for text in PRINTABLE:
        assert {text, f"b {text}", f"c {text}", f"tuned {text}"} <= shown
        assert text.strip().casefold() in shown  # the name of a slice
    for page, texts in zip(pages, (HOSTILE_TEXTS[i : i + 3] for i in range(0, len(HOSTILE_TEXTS), 3)), strict=True):
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
def test_report_of_five_hundred_long_dialogues_stays_small(report_builder: ReportBuilder, text: str) -> None:
    """A page that is sent on by mail is under 3 MB, however much longer its texts become by being escaped or shown."""
    report_builder.rows = [
        {
            "id": f"test_{i}",
            "dialogue": text * (9000 // len(text)),
            "references": [f"ref {i} {text * 9}"],
            "topics": [text],
        }
        for i in range(500)
    ]
    folder, _ = report_builder.render(report_builder.inputs([f"a {text * 5}"] * 500, [f"ref {text * 20}"] * 500))
    size = (folder / "report.html").stat().st_size
    assert 1_500_000 < size < 3_000_000
    assert html_page(folder).unbalanced == []
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
    report_builder: ReportBuilder, base: str, tuned: str, rivals: dict[str, str], state: str, words: str
) -> None:
    """References beat a constant sentence, the other way round they lose, equal outputs establish nothing; the others follow."""
    texts = {"constant": report_builder.constant(), "references": report_builder.references()}
    inputs = report_builder.inputs(
        texts[base], texts[tuned], gate=None, **{name: texts[key] for name, key in rivals.items()}
    )
    folder, verdict = report_builder.render(inputs, examples=3)
    assert verdict["state"] == state
    page = html_page(folder)
    assert page.texts("h1") == [words]
    assert markdown_page(folder).texts("h1") == [words]
    against = {"before": "the previous prompt", "champion": "the champion", "base": "the base model"}
    named = [against[name] for name in ("before", "champion", "base") if name in {*rivals, "base"}][1:]
    assert [sentence.split(":")[0] for sentence in verdict["others"]] == [f"Against {name}" for name in named]
    means = {key: fmean(rouge1(rows, report_builder.rows)) for key, rows in texts.items()}
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
    report_builder: ReportBuilder, otherwise: set[str], head: str, systems: list[str], chart: str
) -> None:
    """Headline, tables, examples, chart and the choice of dialogues name the prompts or decodings that were compared."""
    report_builder.otherwise, report_builder.prompts = (
        otherwise,
        {"base": "brief", "tuned": "brief", "before": "Say <who> wants…"},
    )
    texts = report_builder.constant()
    folder, verdict = report_builder.render(
        report_builder.inputs(texts, report_builder.references(), before=texts, champion=texts), examples=3
    )
    page, short = html_page(folder), markdown_page(folder)
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


def test_two_prompts_of_one_name_are_the_new_and_the_previous_one(report_builder: ReportBuilder) -> None:
    """Such as one text in two turn templates: no name is said twice as if it were two."""
    report_builder.prompts = dict.fromkeys(("base", "tuned", "before"), "brief")
    texts = report_builder.constant()
    folder, verdict = report_builder.render(
        report_builder.inputs(texts, report_builder.references(), before=texts), examples=1
    )
    assert verdict["head"] == "The new prompt is better than the previous prompt."
    assert {"tuned, new prompt", "tuned, previous prompt"} <= set(html_page(folder).texts("th"))


def test_recipe_and_overrides_are_on_the_first_screen(report_builder: ReportBuilder) -> None:
    """As the scores note them; without overrides the recipe alone."""
    inputs = report_builder.inputs(report_builder.constant(), report_builder.references())
    scores = inputs["scores"]
    for overrides in ("generate.limit=8, train.epochs=2", ""):
        origin = {"recipe": "quickstart 1a2b3c4d"} | ({"overrides": overrides} if overrides else {})
        made = scores.manifest.made.model_copy(update={"origin": origin})
        inputs["scores"] = replace(scores, manifest=scores.manifest.model_copy(update={"made": made}))
        folder, _ = report_builder.render(inputs, examples=1)
        words = f"ecipe quickstart 1a2b3c4d{', with ' if overrides else ''}{overrides}"
        assert f"R{words}" in html_page(folder).texts("p")
        assert f"r{words}" in markdown_page(folder).texts("li")


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ({"least_rows": 24}, "It passes the gate."),
        ({"least_rows": 25}, "It does not pass the gate: test dialogues: 24 (wanted: at least 25)."),
        (None, ""),
    ],
)
def test_gate_is_told_where_there_was_one(
    report_builder: ReportBuilder, gate: dict[str, Any] | None, words: str
) -> None:
    """Passed, not passed with its reason, or no word of it; and every condition in a table."""
    folder, verdict = report_builder.render(
        report_builder.inputs(report_builder.constant(), report_builder.references(), gate=gate), examples=1
    )
    page = html_page(folder)
    assert verdict["gate"] == words
    assert ("Gate" in page.texts("h2")) is bool(words)
    if words:
        assert page.texts("p").count(words) == 2  # on the first screen and in its section
        assert Counter(page.texts("td"))["at least 95 %"] == 1
        assert words in Page(MarkdownIt().render((folder / "report.md").read_text())).texts("strong")


def test_a_measure_that_the_language_does_not_allow_is_named_with_the_reason(report_builder: ReportBuilder) -> None:
    """On the first screen, in the table of the gate and beside the measures; in English there is no word of it."""
    plain = html_page(
        report_builder.render(
            report_builder.inputs(report_builder.constant(), report_builder.references(), gate={"least_rows": 1}),
            examples=1,
        )[0]
    )
    assert "ot applied" not in " ".join(plain.texts("body"))
    report_builder.rows = [
        {"id": f"test_{i}", "dialogue": dialogue, "references": list(texts), "topics": ["x", "x"]}
        for i, (dialogue, *texts) in enumerate(GERMAN)
    ]
    page = html_page(
        report_builder.render(
            report_builder.inputs(report_builder.constant(), report_builder.references(), gate={"least_rows": 1}),
            examples=1,
        )[0]
    )
    assert page.texts("p").count("It passes the gate. Not applied: names not in the dialogue.") == 2
    assert [text for text in page.texts("p") if text.startswith("Names not in the dialogue: not applied. 95.0 %")]
    assert [text for text in page.texts("td") if text.startswith("not applied: 95.0 %")]


def test_seeds_are_told_with_mean_and_deviation(report_builder: ReportBuilder) -> None:
    """By hand: 30, 32 and 34 have the mean 32 and the standard deviation 2."""
    inputs = report_builder.inputs(report_builder.constant(), report_builder.references())
    kinds = ("rouge1", "rouge2", "rougeL", "rougeLsum")
    for name, value in (("scores", 30.0), ("seed_10", 34.0), ("seed_9", 32.0)):
        inputs[name] = report_builder.told(inputs["scores"], {}, headline={"tuned": dict.fromkeys(kinds, value)})
    folder, verdict = report_builder.render(inputs, examples=1)
    cells = html_page(folder).texts("td")
    assert cells.count("32.00 ± 2.00") == 4
    start = cells.index("30.00")
    assert cells[start : start + 12 : 4] == ["30.00", "32.00", "34.00"]  # in the order of the seeds, 9 before 10
    assert "Over 3 training seeds ROUGE-1 went from 30.0 to 34.0." in verdict["trust"]


@pytest.mark.parametrize(("trained_on", "noted"), [(TEMPLATE, False), ("Other words: {dialogue}", True)])
def test_another_prompt_than_trained_on_is_noted(report_builder: ReportBuilder, trained_on: str, noted: bool) -> None:
    """A reader learns when the adapter was evaluated with another prompt than it was trained on, and only then."""
    report_builder.trained_on = trained_on
    folder, _ = report_builder.render(
        report_builder.inputs(report_builder.constant(), report_builder.references()), examples=1
    )
    assert (
        "This prompt differs from the one the adapter was trained with." in html_page(folder).texts("header")[0]
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
    report_builder: ReportBuilder, tuned: bool, gate: Any, history: int, missing: set[str]
) -> None:
    """Each section is labelled by its own heading, each anchor leads to one element, each id is there once."""
    report_builder.history = HISTORY[:history]
    inputs = report_builder.inputs(report_builder.constant(), report_builder.references() if tuned else None, gate=gate)
    folder, verdict = report_builder.render(inputs, examples=3)
    page = html_page(folder)
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
        base = fmean(rouge1(report_builder.constant(), report_builder.rows))
        assert page.texts("h1") == [f"The base model scores {base:.1f} ROUGE-1."]
        assert not re.search("tuned|prompt than|probability", "".join(page.texts("main") + page.texts("header")))
        assert "tuned" not in (folder / "report.md").read_text(encoding="utf-8")


# -- which dialogues it shows


def test_movers_are_the_dialogues_that_moved_most_and_the_rest_follows(report_builder: ReportBuilder) -> None:
    """Seven improved and six regressed by construction: the five strongest of each, strongest first, as rouge_score orders them."""
    good, poor = report_builder.references(), report_builder.constant()
    better, worse = {1, 4, 7, 10, 13, 16, 19}, {2, 5, 8, 11, 14, 17}
    base = [good[i] if i in worse else poor[i] for i in range(24)]
    tuned = [good[i] if i in better else poor[i] for i in range(24)]
    page = html_page(report_builder.render(report_builder.inputs(base, tuned))[0])
    change = {
        i: b - a
        for i, (a, b) in enumerate(
            zip(rouge1(base, report_builder.rows), rouge1(tuned, report_builder.rows), strict=True)
        )
    }
    up, down = sorted(better, key=lambda i: -change[i]), sorted(worse, key=lambda i: change[i])
    rest = sorted({*range(24)} - {*up[:5], *down[:5]})
    groups = {"Improved most": up[:5], "Regressed most": down[:5], "Others": rest}
    assert page.shown() == {title: [f"test_{i}" for i in numbers] for title, numbers in groups.items()}
    flags = {text.split()[0]: a["data-flags"].split() for text, a in zip(page.texts("article"), [a for t, a in page.tags if t == "article"], strict=True)}  # fmt: skip
    assert {name for name, found in flags.items() if "improved" in found} == {f"test_{i}" for i in better}
    assert {name for name, found in flags.items() if "regressed" in found} == {f"test_{i}" for i in worse}


@pytest.mark.parametrize("count", [0, 1, 5, 7, 24, 100])
def test_as_many_dialogues_as_asked_for_each_once(report_builder: ReportBuilder, count: int) -> None:
    """`report.examples` of them: movers first, then others evenly spread; none beyond those there are."""
    tuned = [report_builder.references()[i] if i < 2 else "People talk." for i in range(24)]
    shown = html_page(
        report_builder.render(report_builder.inputs(report_builder.constant(), tuned), examples=count)[0]
    ).shown()
    assert len(shown.get("Improved most", [])) == min(count, 2)
    others = [int(name.split("_")[1]) for name in shown.get("Others", [])]
    assert len(others) == min(max(count - 2, 0), 22)
    assert others == sorted(set(others) - {0, 1})
    assert len({b - a for a, b in pairwise(others)}) <= 2


def test_marked_words_are_those_that_only_one_of_the_two_has(report_builder: ReportBuilder) -> None:
    """Against the champion where there is one; the base, which is not compared, has no marks; case and order count."""
    report_builder.rows = report_builder.rows[:1]
    inputs = report_builder.inputs(
        ["something else"], ["Ann asks the dog to sit down"], champion=["Ann asks a cat to sit"]
    )
    page = html_page(report_builder.render(inputs)[0])
    assert page.texts("dd") == ["something else", "Ann asks a cat to sit", "Ann asks the dog to sit down"]
    assert [text.strip() for text in page.texts("mark")] == ["a", "cat", "the", "dog", "down"]


def test_flags_are_of_what_the_last_system_wrote(report_builder: ReportBuilder) -> None:
    """Cut, empty, naming somebody who is not there: by construction one dialogue each, one all of the first two."""
    tuned = report_builder.references()
    report_builder.cut, tuned[5], tuned[6], tuned[7] = {3, 6}, "", " \n", "#Person9# talks."
    page = html_page(report_builder.render(report_builder.inputs([*report_builder.references()], tuned))[0])
    flags = {text.split()[0]: a["data-flags"].split() for text, a in zip(page.texts("article"), [a for t, a in page.tags if t == "article"], strict=True)}  # fmt: skip
    assert {name for name, found in flags.items() if "limit" in found} == {"test_3", "test_6"}
    assert {name for name, found in flags.items() if "empty" in found} == {"test_5", "test_6"}
    assert "stranger" in flags["test_7"]
    assert page.texts("dd").count("(empty)") == 2


def test_rendering_twice_gives_the_same_bytes(report_builder: ReportBuilder) -> None:
    """The report is a function of its inputs: drawings, ids and order included."""
    report_builder.history = HISTORY
    inputs = report_builder.inputs(report_builder.constant(), report_builder.references(), gate={})
    one, two = report_builder.render(inputs)[0], report_builder.render(inputs)[0]
    assert sorted(file.name for file in one.iterdir()) == ["report.html", "report.md"]
    for file in one.iterdir():
        assert file.read_bytes() == (two / file.name).read_bytes()
