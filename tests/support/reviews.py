"""Score artifacts whose summaries can be compared by votes, and files of votes, made without the code under test."""

import json
from collections.abc import Iterable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from artifacts.artifact_store import Store
from artifacts.manifest import InputRef, Manifest, Provenance
from tasks.config import ScoreSpec
from tasks.execution.executor import execute
from tasks.execution.job import Job
from tasks.execution.stage import Artifact
from tasks.metrics.review_result import Review
from tasks.review import REVIEW
from tasks.score import score
from tasks.workers.events import NullListener
from tests.support.artifacts import ArtifactFactory


def publish_scores(
    artifact_factory: ArtifactFactory,
    dialogues: list[str],
    key: str = "5c0e5c0e",
    references: list[str] | None = None,
    **systems: list[str],
) -> Manifest:
    """A score artifact in the store, with its dataset and the predictions of every system, really scored."""
    texts = [[text] for text in references or systems["tuned"]]
    dataset = artifact_factory.dataset(texts, dialogues)
    outputs = {name: artifact_factory.predictions(summaries) for name, summaries in systems.items()}
    return publish_scores_of(artifact_factory, dataset, outputs, key)


def publish_scores_of(
    artifact_factory: ArtifactFactory, dataset: Artifact, outputs: Mapping[str, Artifact], key: str
) -> Manifest:
    context, inputs = artifact_factory.context(), {"dataset": dataset, **outputs}
    result = score(ScoreSpec(bootstrap_resamples=100), context, dataset, **outputs)
    return artifact_factory.store.publish(
        context.out,
        stage="score",
        variant=None,
        name="rouge",
        key=key * 8,
        rows=result.rows,
        identity={"config": {}},
        inputs={role: InputRef(id=a.manifest.id, digest=a.manifest.digest) for role, a in inputs.items()},
        facts=result.facts,
        provenance=Provenance(at="2026-01-01T00:00:00", seconds=0, run="test", origin={"recipe": "quickstart 0abc"}),
    )


class PageReader(HTMLParser):
    """What a review page shows and saves, parsed by the standard library: its data, pairs and text outside of style."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.data, self.pairs, self.text = dict[str, str](), dict[str, dict[str, str]](), ""
        self.tags, self.open, self.side = list[str](), list[str](), ""
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.open = [*self.open, tag] if tag in ("style", "script", "pre", "p") else self.open
        if tag == "main":
            self.data = attributes
        if tag == "article":
            self.pairs[attributes["data-dialogue"]] = {"dialogue": "", "left": "", "right": ""}
        if tag == "section":
            self.side = attributes.get("class", "").removeprefix("side ")
        self.text += "" if tag in ("style", "script") else " ".join(["", *attributes.values(), ""])

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" in self.open or "script" in self.open:
            return
        self.text += data
        pair = [*self.pairs.values()][-1] if self.pairs else {}
        if "pre" in self.open:
            pair["dialogue"] += data
        elif "p" in self.open and self.side in ("left", "right"):
            pair[self.side] += data

    def votes(
        self, reviewer: str, preferred: Mapping[str, str], folder: Path, changes: Mapping[str, Any] | None = None
    ) -> Path:
        """Save votes as the page does. preferred: id of a dialogue -> the text of the better summary, or `tie`."""
        choices = {
            name: "tie" if text == "tie" else next(side for side in ("left", "right") if self.pairs[name][side] == text)
            for name, text in preferred.items()
        }
        content = {
            "kind": "dialogsum votes",
            "version": 1,
            "scores": self.data["data-scores"],
            "seed": int(self.data["data-seed"]),
            "page": self.data["data-page"],
            "reviewer": reviewer,
            "dialogues": len(self.pairs),
            "votes": [{"dialogue": name, "choice": choice} for name, choice in choices.items()],
        }
        file = folder / f"{reviewer}-{len([*folder.glob('*.json')])}.json"
        file.write_text(json.dumps(content | dict(changes or {})))
        return file


def execute_reviews(store: Store, jobs: Iterable[Job]) -> list[tuple[Manifest, Review]]:
    """Make review artifacts without Prefect."""
    manifests = [execute(store, REVIEW, job, NullListener())[0] for job in jobs]
    return [(manifest, Review.load(store.payload(manifest.path))) for manifest in manifests]
