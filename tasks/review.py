"""review: blind pairwise votes of people, scores -> win rate of the candidate, agreement, and votes as a table.

Reads   scores; predictions (generate) of tuned and of the opponent: base, champion or before
Writes  review.json (tasks/metrics/review_result.py: win rate with its interval, inter-annotator agreement,
        disagreement with ROUGE), votes.parquet (VOTES: one row per vote)
Rerun   dialogsum review --votes FILE

The votes are part of the settings, and so of the key. The gate reads a review if `gate.least_win_rate` is set.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from artifacts.errors import StageError
from artifacts.record import Record
from artifacts.schemas import PREDICTIONS, read_table, write_table
from tasks.config import Count, Seed
from tasks.execution.stage import Artifact, Context, Stage, StageResult
from tasks.metrics.agreement import agreement
from tasks.metrics.bootstrap import bootstrap_counts, percentile_intervals, resampled_means
from tasks.metrics.pairwise_votes import POINTS, VOTES, Preference, VotesFile, preferences
from tasks.metrics.review_result import MeasureDisagreement, Review, ReviewerVotes
from tasks.metrics.row_scores import ROW_SCORES
from tasks.metrics.score_table import ROUGE_TYPES, System
from tasks.metrics.scores import Interval

MEASURES = ROUGE_TYPES[:3]
STRONGEST = 5
"""Dialogues that a disagreement names."""


class ReviewSpec(Record):
    """Settings of the stage review."""

    opponent: System
    """The system that the candidate is compared with."""
    files: tuple[VotesFile, ...]
    bootstrap_seed: Seed = 0
    bootstrap_resamples: Count = 10_000


def review(spec: ReviewSpec, context: Context, scores: Artifact, tuned: Artifact, **opponents: Artifact) -> StageResult:
    """Aggregate the votes of all reviewers. opponents: predictions of the opponent, by its name."""
    votes = preferences(spec.files)
    same = identical_summaries(tuned, opponents[spec.opponent])
    if foreign := [vote.id for vote in votes if same.get(vote.id, True)]:
        raise StageError(f"votes on {foreign[0]}, which is not on a page of these summaries")
    by_dialogue: dict[str, list[Preference]] = defaultdict(list)
    for vote in votes:
        by_dialogue[vote.id].append(vote)
    points = {name: float(np.mean([POINTS[vote.outcome] for vote in each])) for name, each in by_dialogue.items()}
    outcomes = Counter(vote.outcome for vote in votes)
    result = Review(
        opponent=spec.opponent,
        win_rate=round(float(np.mean([*points.values()])), 6),
        interval=win_rate_interval([*points.values()], spec.bootstrap_resamples, spec.bootstrap_seed),
        interval_method=f"95 %, percentile bootstrap over dialogues, {spec.bootstrap_resamples} resamples",
        dialogues=len(points),
        without_vote=sum(not each for each in same.values()) - len(points),
        identical=sum(same.values()),
        votes=len(votes),
        wins=outcomes["win"],
        losses=outcomes["loss"],
        ties=outcomes["tie"],
        reviewers=_reviewers(spec.files, votes),
        agreement=agreement([vote.outcome for vote in each] for each in by_dialogue.values()),
        disagreements=_disagreements(points, scores, spec.opponent),
    )
    result.save(context.out)
    rows = [vote.model_dump() | {"outcome": vote.outcome} for vote in votes]
    write_table(rows, VOTES, context.out / "votes.parquet")
    context.events.log(f"win rate against {spec.opponent}: {result.rate_and_interval}, {result.dialogues} dialogues")
    facts = {"opponent": str(spec.opponent), "win_rate": result.win_rate, "interval": list(result.interval)}
    return StageResult(rows=len(votes), facts=facts | {"dialogues": result.dialogues, "votes": result.votes})


def identical_summaries(tuned: Artifact, opponent: Artifact) -> dict[str, bool]:
    """Id of each dialogue -> whether both summaries are the same, up to spaces and line breaks.

    StageError if the predictions are not of the same dialogues.
    """
    one, other = (
        {row["id"]: row["prediction"].split() for row in read_table(a.payload / "predictions.parquet", PREDICTIONS)}
        for a in (tuned, opponent)
    )
    if [*one] != [*other]:
        raise StageError("candidate and opponent were run on different dialogues: rerun generate for both")
    return {name: one[name] == other[name] for name in one}


def win_rate_interval(points: Sequence[float], resamples: int, seed: int) -> Interval:
    """95 % interval (0 to 1) of the mean of `points`, one of each dialogue, by the bootstrap over dialogues."""
    counts = bootstrap_counts(len(points), resamples, seed)
    ((low, high),) = percentile_intervals(resampled_means(np.array(points)[:, None], counts))
    return round(low / 100, 6), round(high / 100, 6)


def _reviewers(files: Sequence[VotesFile], votes: Sequence[Preference]) -> tuple[ReviewerVotes, ...]:
    pages = {file.reviewer: max(f.dialogues for f in files if f.reviewer == file.reviewer) for file in files}
    counts = Counter(vote.reviewer for vote in votes)
    return tuple(
        ReviewerVotes(reviewer=name, votes=counts[name], dialogues=max(pages[name], counts[name]))
        for name in sorted(counts)
    )


def _disagreements(points: Mapping[str, float], scores: Artifact, opponent: System) -> tuple[MeasureDisagreement, ...]:
    """points: id of a dialogue -> its mean points, above 1/2 where people prefer the candidate."""
    rows = read_table(scores.payload / "rows.parquet", ROW_SCORES)
    f1 = {(row["system"], row["id"]): row for row in rows}
    preferred = {name: mean for name, mean in points.items() if mean != 0.5}
    disagreements = []
    for measure in MEASURES:
        change = {name: f1[System.TUNED, name][measure] - f1[opponent, name][measure] for name in preferred}
        opposite = [name for name, mean in preferred.items() if change[name] * (mean - 0.5) < 0]
        disagreements.append(
            MeasureDisagreement(
                measure=measure,
                preferred=len(preferred),
                opposite=len(opposite),
                equal=sum(difference == 0 for difference in change.values()),
                strongest=tuple(sorted(opposite, key=lambda name: (-abs(change[name]), name))[:STRONGEST]),
            )
        )
    return tuple(disagreements)


REVIEW = Stage(
    name="review", version=1, function=review, spec=ReviewSpec, label=lambda spec: f"against {spec.opponent}"
)
