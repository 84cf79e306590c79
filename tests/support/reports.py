"""Reports built from rows and summaries, and their pages as a parser reads them."""

from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from markdown_it import MarkdownIt
from rouge_score import rouge_scorer

from artifacts.artifact_store import Store
from artifacts.manifest import InputRef, Provenance
from artifacts.schemas import CURVE, DATASET, FORMATTED_EVAL, JUDGEMENTS
from tasks.config import ChampionData, Evaluation, GateConfig, PromoteSpec, ReportConfig, ReportSpec, ScoreSpec
from tasks.execution.stage import Artifact
from tasks.metrics.probe_kinds import ProbeKind
from tasks.promote import promote
from tasks.report import report
from tasks.score import score
from tests.support.artifacts import ArtifactFactory
from tests.support.data import read_csv
from tests.support.datasets import PLAIN_ROW, DatasetRow, write_dataset
from tests.support.hostile_texts import HOSTILE_TEXTS
from tests.support.paths import SAMPLE
from tests.support.probes import likelihoods, probe_artifact

TEMPLATE = "Summarize this dialogue.\n\n{dialogue}"


FOREIGN_ELEMENTS = {
    "img",
    "iframe",
    "object",
    "embed",
    "link",
    "base",
    "foreignobject",
    "audio",
    "video",
    "image",
    "animate",
}


DECISIONS: tuple[tuple[int, Literal["promoted", "rejected"] | None], ...] = (
    (1, "promoted"),
    (2, "rejected"),
    (3, None),
)


HISTORY = [
    Evaluation(
        at=f"2026-01-0{day}T06:00:00",
        recipe=f"recipe {HOSTILE_TEXTS[0]}",
        data=f"data {HOSTILE_TEXTS[1]}",
        scores=f"score-{day:08x}",
        adapter=f"train-{day:08x}",
        headline={"base": 20.0, "tuned": 24.0 + day, "champion": 25.0},
        interval=(23.0, 27.5),
        decision=decision,
    )
    for day, decision in DECISIONS
]


class Page(HTMLParser):
    """The elements, attributes and texts of an HTML page, parsed by the standard library."""

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
        """The full text of each element of this name."""
        return ["".join(texts) for name, texts in self.elements if name == tag]

    def values(self, attribute: str) -> list[str]:
        return [attributes[attribute] for _, attributes in self.tags if attribute in attributes]

    def shown(self) -> dict[str, list[str]]:
        """Group of dialogues -> the ids in it, in order."""
        groups: dict[str, list[str]] = {}
        title = ""
        for tag, texts in self.elements:
            title = "".join(texts) if tag == "h3" else title
            if tag == "article":
                groups.setdefault(title, []).append("".join(texts).split()[0])
        return groups


class ReportBuilder:
    """Builds the inputs of a report, and renders it."""

    def __init__(self, artifact_factory: ArtifactFactory, rows: list[dict[str, Any]]) -> None:
        self.artifact_factory, self.rows, self.cut = artifact_factory, rows, set[int]()
        self.template, self.trained_on, self.model, self.data = TEMPLATE, TEMPLATE, "tiny-model", "folder"
        self.checks = [{"name": "rows", "state": "ok", "detail": "3 of 3 rows reach the trainer"}]
        self.history: list[Evaluation] = []
        self.prompts: dict[str, str] = {}
        self.otherwise = {"prompt"}
        """Where the outputs `before` differ: in the prompt, the decoding or both."""
        self.champion_data: ChampionData | None = None
        self.probes: dict[str, Artifact] = {}
        """System -> its probe."""

    def probe(self, **systems: list[bool | None]) -> None:
        """Let each system prefer the reference to swapped speakers in the dialogues where it says True."""
        texts = [(row["references"][0], f"Not: {row['references'][0]}") for row in self.rows]
        for system, preferred in systems.items():
            rows = likelihoods({str(ProbeKind.SPEAKERS): preferred}, texts)
            artifact = probe_artifact(self.artifact_factory, rows)
            facts = artifact.manifest.facts
            self.probes[system] = self.with_provenance(artifact, {"turns": "gemma"}, **facts)

    def generated(self, name: str, output: Artifact) -> Artifact:
        """Predictions whose manifest names the prompts and decoding that made them."""
        otherwise = self.otherwise if name == "before" else set()
        config = {"turns": "gemma", "generate": {"candidates": 8 if "decoding" in otherwise else 1}}
        rows = InputRef(id="format-00000001", digest=("b" if "prompt" in otherwise else "a") * 64)
        predictions = self.with_provenance(output, config)
        return replace(predictions, manifest=predictions.manifest.model_copy(update={"inputs": {"rows": rows}}))

    def with_provenance(self, artifact: Artifact, config: dict[str, Any], **facts: Any) -> Artifact:
        """The same payload under the facts, identity and origin that a real stage would have written."""
        origin = {"model": self.model, "data": self.data}
        provenance = Provenance(at="2026-01-05T06:00:00", seconds=1, run="test", origin=origin)
        fields = {"facts": facts, "identity": {"config": config}, "provenance": provenance}
        return replace(artifact, manifest=artifact.manifest.model_copy(update=fields))

    def inputs(
        self, base: list[str], tuned: list[str] | None = None, gate: dict[str, Any] | None = None, **rivals: list[str]
    ) -> dict[str, Artifact]:
        """The inputs of a report on predictions of base and, if given, of tuned, champion and before, really scored.

        With `gate` also the decision.
        """
        table, context = self.artifact_factory.artifact, self.artifact_factory.context()
        dataset = self.with_provenance(table("download", "test", self.rows, DATASET), {"data": {"revision": "0"}})
        prefix, suffix = self.template.split("{dialogue}")
        filled = [{"id": row["id"], "prompt": prefix + row["dialogue"] + suffix} for row in self.rows]
        prompts = self.with_provenance(table("format", "prompts", filled, FORMATTED_EVAL), {"template": self.template})
        texts = {"base": base} | ({"tuned": tuned} if tuned is not None else {}) | rivals
        outputs = {
            name: self.generated(name, self.predictions(summaries, self.cut if name == "tuned" else set()))
            for name, summaries in texts.items()
        }
        probes = {f"probe_{system}": artifact for system, artifact in self.probes.items()}
        scored = score(ScoreSpec(bootstrap_resamples=500), context, dataset, **outputs, **probes)
        manifest = outputs["base"].manifest.model_copy(update={"stage": "score"})
        scores = self.with_provenance(Artifact(context.out, manifest), {}, **scored.facts)
        artifacts = {"dataset": dataset, "prompts": prompts, "scores": scores, **outputs, **probes}
        if gate is not None:
            decided = self.artifact_factory.context()
            promote(PromoteSpec(gate=GateConfig(**gate)), decided, scores)
            artifacts["decision"] = replace(scores, payload=decided.out)
        if tuned is not None:
            losses: list[dict[str, Any]] = [{"step": 0, "validation_loss": 3.5}]
            losses += [{"step": i, "train_loss": 3.0 / i} for i in (1, 2)]
            adapter = table("train", "curve", losses, CURVE)
            artifacts["adapter"] = self.with_provenance(
                adapter, {"turns": "gemma", "train": {"seed": 0}}, template=self.trained_on, checks=self.checks
            )
        return artifacts

    def with_training_rows(
        self, inputs: dict[str, Artifact], rows: list[DatasetRow], earlier: list[DatasetRow]
    ) -> dict[str, Artifact]:
        """The inputs, with these training rows, and others in the dataset of the champion `train-0000000a`."""
        self.champion_data = ChampionData(champion="train-0000000a")
        dataset, folder = inputs["dataset"], self.artifact_factory.context().out
        now = replace(dataset, payload=write_dataset(folder / "now", rows, test=self.rows))
        before = replace(dataset, payload=write_dataset(folder / "before", earlier, test=self.rows))
        return inputs | {"dataset": now, "champion_dataset": before}

    def predictions(self, texts: list[str], cut: set[int]) -> Artifact:
        artifact = self.artifact_factory.predictions(texts, cut)
        assert [row["id"] for row in self.rows] == [f"test_{i}" for i in range(len(texts))]
        return artifact

    def render(self, inputs: dict[str, Artifact], **settings: Any) -> tuple[Path, dict[str, Any]]:
        """Render: the folder with the pages, and the verdict."""
        context = self.artifact_factory.context()
        spec = ReportSpec(
            report=ReportConfig(**settings),
            history=tuple(self.history),
            prompts=self.prompts,
            champion_data=self.champion_data,
        )
        result = report(spec, context, **inputs)
        return context.out, result.facts["verdict"]

    def constant(self) -> list[str]:
        return ["People talk."] * len(self.rows)

    def references(self) -> list[str]:
        return [row["references"][0] for row in self.rows]


def html_page(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def markdown_page(folder: Path) -> Page:
    source = (folder / "report.md").read_text(encoding="utf-8")
    return Page(MarkdownIt("commonmark").enable("table").render(source))


def sample_report_builder(folder: Path, store: Store) -> ReportBuilder:
    """A builder on 24 dialogues of the sample with three references each."""
    source = read_csv(SAMPLE / "test.csv")
    groups = [source[i : i + 3] for i in range(0, 72, 3)]
    rows = [
        {"id": f"test_{i}", "dialogue": g[0]["dialogue"], "references": [r["summary"] for r in g], "topics": ["talk"]}
        for i, g in enumerate(groups)
    ]
    return ReportBuilder(ArtifactFactory(folder, store), rows)


def hostile_report(report_builder: ReportBuilder, texts: tuple[str, ...]) -> Path:
    """Render a report in which every text, from dialogues and ids of changed rows to names of models, is one of these.

    Three plain dialogues, in which nothing changes, stand beside them, so that every text names a slice.
    """
    report_builder.template, report_builder.model, report_builder.data = (
        f"{texts[0]} {HOSTILE_TEXTS[7]}\n{{dialogue}}",
        f"model {texts[0]}",
        f"data {texts[-1]}",
    )
    report_builder.checks = [{"name": text, "state": "ok", "detail": text} for text in texts]
    report_builder.history, report_builder.prompts = (
        HISTORY,
        dict.fromkeys(("base", "tuned", "champion"), texts[0][:40]),
    )
    rows = [*texts, "A: a plain one", "A: a second", "A: a third"]
    report_builder.rows = [
        {"id": f"test_{i}", "dialogue": text, "references": [text, f"b {text}", f"c {text}"], "topics": list(texts)}
        for i, text in enumerate(rows)
    ]
    tuned = [f"tuned {text}" if i < len(texts) else text for i, text in enumerate(rows)]
    train = [
        {"id": f"{i} {text}", "dialogue": f"A: {text}", "references": [text], "topics": [text]}
        for i, text in enumerate(texts)
    ]
    earlier = [PLAIN_ROW, *({**row, "references": ["earlier"], "topics": [f"{row['id']}"]} for row in train[1:])]
    report_builder.probe(**dict.fromkeys(("base", "tuned", "champion"), [True] * len(rows)))
    inputs = report_builder.inputs(rows, tuned, gate={}, champion=rows)
    judged = [
        {"id": f"test_{i}", "kind": "prediction", "score": 0.5, "lowest": None, "unsupported": [text], "answer": text}
        for i, text in enumerate(rows)
    ]
    table = report_builder.artifact_factory.artifact("judge", "judgements", judged, JUDGEMENTS)
    inputs["judge_tuned"] = report_builder.with_provenance(table, {})
    return report_builder.render(report_builder.with_training_rows(inputs, train, earlier), examples=6)[0]


def structure(page: Page) -> Counter[str]:
    """Count each element with the names of its attributes, without drawings and marked words."""
    apart = {
        "mark",
        "svg",
        "defs",
        "style",
        "g",
        "path",
        "use",
        "text",
        "tspan",
        "clippath",
        "rect",
        "metadata",
        "rdf:rdf",
        "cc:work",
    }
    return Counter(f"{tag} {sorted(attributes)}" for tag, attributes in page.tags if tag not in apart)


def rouge1(texts: list[str], rows: list[dict[str, Any]]) -> list[float]:
    """ROUGE-1 F1 x 100 of each dialogue, mean over references, by rouge_score."""
    oracle = rouge_scorer.RougeScorer(["rouge1"], use_stemmer=True)
    return [
        100 * fmean(oracle.score(reference, text)["rouge1"].fmeasure for reference in row["references"])
        for text, row in zip(texts, rows, strict=True)
    ]


def link_targets(markdown: str) -> list[str]:
    """The targets of the links in a Markdown text."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    inline = [child for token in tokens for child in token.children or []]
    return [str(token.attrs["href"]) for token in inline if token.type == "link_open"]
