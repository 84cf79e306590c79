"""Writes the page on which people vote: the summaries of a score artifact, its opponent, and a sample of dialogues."""

from dataclasses import dataclass
from pathlib import Path

from artifacts.artifact_store import DamageError, Store
from artifacts.atomic_files import atomic_path
from artifacts.errors import RequestError
from artifacts.record import Record
from artifacts.schemas import DATASET, PREDICTIONS, read_table
from artifacts.text import one_line
from tasks.execution.stage import Artifact
from tasks.manifest_views import ScoresView
from tasks.metrics.pairwise_votes import candidate_side, page_digest, sample_dialogues
from tasks.metrics.score_table import System
from tasks.reporting.review_html import Pair, ReviewPage, render_review
from tasks.review import identical_summaries

OPPONENTS = (System.CHAMPION, System.BASE, System.PREVIOUS)
"""What the candidate can be compared with, the default first: the gate compares with the champion or, without one, with
the base model."""


@dataclass(frozen=True)
class Comparison:
    """A score artifact, and the two sets of predictions of it that people compare; all verified."""

    scores: Artifact
    opponent: System
    tuned: Artifact
    other: Artifact
    """Predictions of the opponent."""

    def identical(self) -> dict[str, bool]:
        """Id of each dialogue -> whether both summaries are the same."""
        return identical_summaries(self.tuned, self.other)


class PageSummary(Record):
    """What is on a page that was written."""

    page: str
    """Path of the HTML file."""
    scores: str
    opponent: System
    seed: int
    dialogues: int
    differing: int
    """Dialogues of which the two summaries differ; the page has a sample of them."""
    identical: int
    """Dialogues that are left out because both summaries are the same."""


def find_scores(scores: str | None) -> ScoresView:
    """A score artifact by id; default: the newest evaluation of a tuned model. RequestError if there is none."""
    store = Store.current()
    if scores is None:
        newest_first = map(ScoresView, reversed(store.manifests("score")))
        of_tuned = (v for v in newest_first if v.manifest.variant is None and System.TUNED in v.predictions)
        if (newest := next(of_tuned, None)) is None:
            raise RequestError(f"no evaluation of a tuned model in {store.root}: `dialogsum run` makes one")
        return newest
    manifest = store.by_id(scores)
    if manifest.stage != "score" or System.TUNED not in ScoresView(manifest).predictions:
        raise RequestError(f"{scores}: expected a score artifact of a tuned model; `dialogsum history` lists them")
    if (view := ScoresView(manifest)).split != "test":
        raise RequestError(f"{scores} was made in a sweep, on the {view.split} split: people review test dialogues")
    return view


def compare(scores: ScoresView, opponent: str | None) -> Comparison:
    """The candidate and its opponent, by name or the first of OPPONENTS. RequestError if it was not evaluated."""
    known = [system for system in OPPONENTS if system in scores.predictions]
    if opponent is not None and opponent not in known:
        raise RequestError(f"--against {opponent}: {scores.id} has no such summaries; known: {', '.join(known)}")
    system = System(opponent or known[0])
    tuned, other = (_verified(scores.predictions[role].id) for role in (System.TUNED, system))
    return Comparison(_verified(scores.id), system, tuned, other)


def write_page(comparison: Comparison, file: Path, limit: int, seed: int | None) -> PageSummary:
    """Write the page. The default seed is the number in the id of the scores: each evaluation has its own sides.

    RequestError if all summaries are the same, or the file cannot be written.
    """
    scores = comparison.scores.manifest
    seed = int(scores.id.rpartition("-")[2], 16) if seed is None else seed
    identical = comparison.identical()
    differing = [name for name, same in identical.items() if not same]
    if not differing:
        raise RequestError(
            f"{scores.id}: all {len(identical)} summaries of both models are the same: nothing to vote on"
        )
    ids = sample_dialogues(differing, limit, seed)
    page = ReviewPage(
        scores=scores.id,
        seed=seed,
        digest=page_digest(scores.id, seed, comparison.opponent),
        pairs=_pairs(comparison, ids, seed),
    )
    try:
        with atomic_path(file) as temporary:
            temporary.write_text(render_review(page), encoding="utf-8", errors="replace")
    except OSError as error:
        raise RequestError(f"--out {one_line(file, 80)}: cannot be written ({one_line(error, 120)})") from error
    return PageSummary(
        page=str(file),
        scores=scores.id,
        opponent=comparison.opponent,
        seed=seed,
        dialogues=len(ids),
        differing=len(differing),
        identical=len(identical) - len(differing),
    )


def _pairs(comparison: Comparison, ids: list[str], seed: int) -> list[Pair]:
    """The dialogues and summaries of these ids, in this order, on the sides that the seed decides."""
    dataset = _verified(ScoresView(comparison.scores.manifest).dataset.id)
    dialogues = {row["id"]: row["dialogue"] for row in read_table(dataset.payload / "test.parquet", DATASET)}
    tuned, other = (
        {row["id"]: row["prediction"] for row in read_table(a.payload / "predictions.parquet", PREDICTIONS)}
        for a in (comparison.tuned, comparison.other)
    )
    pairs = []
    for name in ids:
        sides = (tuned[name], other[name]) if candidate_side(seed, name) == "left" else (other[name], tuned[name])
        pairs.append(Pair(id=name, dialogue=dialogues[name], left=sides[0], right=sides[1]))
    return pairs


def _verified(artifact: str) -> Artifact:
    """An artifact by id, intact. RequestError if it is missing or damaged."""
    store = Store.current()
    manifest = store.by_id(artifact)
    try:
        return Artifact(store.payload(manifest.path), manifest)
    except DamageError as error:
        raise RequestError(f"{artifact} is damaged ({one_line(error, 120)}): rerun its recipe") from error
