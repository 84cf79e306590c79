"""Output of `review`: what is on the page, and the results of votes."""

import json
from collections.abc import Iterator

from artifacts.artifact_store import Store
from artifacts.manifest import Manifest
from artifacts.text import one_line
from flows.cli.terminal import Terminal
from flows.review_page import PageSummary
from tasks.metrics.agreement import Agreement
from tasks.metrics.percentages import percent
from tasks.metrics.review_result import MeasureDisagreement, Review
from tasks.reporting.escaping import visible

NAMES = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"}


def print_page(summary: PageSummary) -> None:
    """Print the path on standard output, and what is on the page on standard error."""
    console = Terminal().console
    left_out = f"; {summary.identical} with identical summaries are left out" if summary.identical else ""
    console.print(
        f"{summary.dialogues} of {summary.differing} dialogues whose summaries differ, tuned against "
        f"{summary.opponent} of {summary.scores}, seed {summary.seed}{left_out}",
        markup=False,
    )
    console.print("vote in a browser, save, then: dialogsum review --votes FILE", markup=False)
    print(summary.page)


def print_reviews(manifests: list[Manifest], as_json: bool) -> None:
    """Print the results of review artifacts."""
    store = Store.current()
    results = [(manifest, Review.load(store.payload(manifest.path))) for manifest in manifests]
    if as_json:
        reviews = [
            {"artifact": m.id, "scores": m.inputs["scores"].id, "path": store.absolute(m.path)} | result.as_json()
            for m, result in results
        ]
        print(json.dumps({"reviews": reviews}, ensure_ascii=False))
        return
    for manifest, result in results:
        print("\n".join([*_lines(manifest, result), f"{manifest.id}  {store.absolute(manifest.path)}"]))


def _lines(manifest: Manifest, review: Review) -> Iterator[str]:
    low, high = map(percent, review.interval)
    yield (
        f"tuned against {review.opponent} of {manifest.inputs['scores'].id}: win rate {percent(review.win_rate)} "
        f"(95 % interval {low} to {high})"
    )
    yield f"{_count(review.votes, 'vote')}: {review.wins} for tuned, {review.losses} for {review.opponent}, " + _count(
        review.ties, "tie"
    )
    yield f"{_count(review.dialogues, 'dialogue')} with a vote, {review.without_vote} without, {review.identical} " + (
        "left out because both summaries are identical"
    )
    yield from (
        f"{visible(one_line(each.reviewer))}: {each.votes} of {each.dialogues} dialogues" for each in review.reviewers
    )
    yield _agreement(review.agreement)
    yield from map(_disagreement, review.disagreements)


def _agreement(agreement: Agreement) -> str:
    if agreement.percent_agreement is None:
        return "agreement: no dialogue has votes of two reviewers"
    alpha = "not defined, all votes are the same" if agreement.alpha is None else f"{agreement.alpha:.3f}"
    return (
        f"agreement: {percent(agreement.percent_agreement)} of {_count(agreement.pairs, 'pair')} of votes on "
        f"{_count(agreement.units, 'dialogue')}, Krippendorff's alpha {alpha}"
    )


def _disagreement(each: MeasureDisagreement) -> str:
    """How often a ROUGE type prefers the summary that people do not."""
    equal = f", {each.equal} with equal scores" if each.equal else ""
    strongest = f": {', '.join(visible(one_line(name)) for name in each.strongest)}" if each.strongest else ""
    return (
        f"{NAMES[each.measure]} prefers the other summary on {each.opposite} of {_count(each.preferred, 'dialogue')} "
        f"of which people prefer one{equal}{strongest}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
