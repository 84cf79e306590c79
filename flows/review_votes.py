"""Reads files of votes that review pages saved, checks them, and makes the jobs of the stage review."""

from collections import defaultdict
from collections.abc import Sequence

from pydantic import ValidationError

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from artifacts.refs import Ref
from artifacts.text import one_line
from artifacts.user_paths import user_path
from flows.review_page import OPPONENTS, Comparison, compare, find_scores
from tasks.execution.decision import decide
from tasks.execution.job import Job
from tasks.manifest_views import ScoresView
from tasks.metrics.pairwise_votes import VotesFile, page_digest, preferences, sample_dialogues
from tasks.metrics.score_table import System
from tasks.review import REVIEW, ReviewSpec


def review_jobs(paths: Sequence[str], scores: str | None) -> list[Job]:
    """One job for each opponent that was voted on.

    scores: id of the score artifact that all files must belong to, or None. RequestError for a file that is no file of
    votes, has no votes, belongs to other scores or has unknown dialogues, and for votes that contradict each other.
    """
    files = {path: _read(path) for path in paths}
    expected = scores or next(iter(files.values())).scores
    for path, file in files.items():
        if file.scores != expected:
            raise RequestError(f"--votes {_shown(path)}: its votes are on {file.scores}, not on {expected}")
    view = find_scores(expected)
    by_opponent: dict[System, dict[str, VotesFile]] = defaultdict(dict)
    for path, file in files.items():
        by_opponent[_opponent(path, file, view)][path] = file
    return [_job(compare(view, opponent), by_opponent[opponent]) for opponent in OPPONENTS if opponent in by_opponent]


def _read(path: str) -> VotesFile:
    try:
        file = VotesFile.model_validate_json(user_path(path, "--votes").read_bytes())
    except OSError as error:
        raise RequestError(f"--votes {_shown(path)}: cannot be read ({error.strerror or one_line(error)})") from error
    except ValidationError as error:
        problem = error.errors()[0]
        message = ": ".join([*(str(part) for part in problem["loc"][-1:]), problem["msg"]])
        raise RequestError(
            f"--votes {_shown(path)}: not a file of votes that a review page saved ({one_line(message, 120)})"
        ) from error
    if not file.votes:
        raise RequestError(f"--votes {_shown(path)}: it has no votes")
    return file


def _opponent(path: str, file: VotesFile, scores: ScoresView) -> System:
    """The opponent on the page that saved this file."""
    for system in OPPONENTS:
        if system in scores.predictions and page_digest(scores.id, file.seed, system) == file.page:
            return system
    raise RequestError(f"--votes {_shown(path)}: {scores.id} has no review page with its seed and digest")


def _job(comparison: Comparison, files: dict[str, VotesFile]) -> Job:
    identical = comparison.identical()
    differing = [name for name, same in identical.items() if not same]
    for path, file in files.items():
        on_page = set(sample_dialogues(differing, file.dialogues, file.seed))
        if unknown := [vote.dialogue for vote in file.votes if vote.dialogue not in on_page]:
            raise RequestError(f"--votes {_shown(path)}: {one_line(unknown[0], 60)!r} is not a dialogue of its page")
    preferences([*files.values()])
    # sorted, each once: the order of the options and a file that is named twice make no other key
    unique = {file.model_dump_json(): file for file in (each.in_order() for each in files.values())}
    spec = ReviewSpec(opponent=comparison.opponent, files=tuple(unique[text] for text in sorted(unique)))
    artifacts = {"scores": comparison.scores, System.TUNED: comparison.tuned, comparison.opponent: comparison.other}
    inputs = {str(role): Ref.of_manifest(artifact.manifest) for role, artifact in artifacts.items()}
    return Job(
        stage=REVIEW.name,
        variant=None,
        spec=spec,
        inputs=inputs,
        identity=decide(Store.current(), REVIEW, None, spec, inputs).identity,
        run="",
        recipe=comparison.scores.manifest.provenance.origin.get("recipe", ""),
    )


def _shown(path: str) -> str:
    return one_line(path, 200)
