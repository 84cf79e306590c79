"""Blind pairwise votes: the dialogues of a review page, the hidden sides of the candidate, and files of votes.

Neither a page nor a file of votes says on which side the candidate is. A hash of seed and dialogue decides it, so that
it is computed again when the votes are read.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, Self

import pyarrow as pa
from pydantic import Field, field_validator

from artifacts.errors import RequestError
from artifacts.record import Record
from artifacts.text import one_line

Side = Literal["left", "right"]
Choice = Literal["left", "right", "tie"]
Outcome = Literal["win", "loss", "tie"]
"""Result of one vote for the candidate."""
POINTS: dict[Outcome, float] = {"win": 1.0, "tie": 0.5, "loss": 0.0}
"""What one vote adds to the win rate of the candidate."""
MAX_NAME = 100
"""Characters of a reviewer's name."""


class Vote(Record):
    """Which of the two summaries of a dialogue a reviewer prefers."""

    dialogue: str
    choice: Choice


class VotesFile(Record):
    """What the review page saves: the votes of one reviewer."""

    kind: Literal["dialogsum votes"]
    version: Literal[1]
    scores: str
    """Id of the score artifact whose summaries are compared."""
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    """Seed of the sides and of the sample of dialogues."""
    page: str
    """`page_digest` of the page."""
    reviewer: str
    dialogues: Annotated[int, Field(ge=1)]
    """Number of dialogues on the page."""
    votes: tuple[Vote, ...]

    @field_validator("reviewer")
    @classmethod
    def _name(cls, text: str) -> str:
        """The name on one line, so that the same person has the same name in each file."""
        if not (name := one_line(text, MAX_NAME)):
            raise ValueError("the reviewer has no name")
        return name

    def in_order(self) -> Self:
        """The same votes, each once and sorted, so that equal votes have equal keys."""
        unique = {(vote.dialogue, vote.choice): vote for vote in self.votes}
        return self.model_copy(update={"votes": tuple(unique[key] for key in sorted(unique))})


class Preference(Record):
    """One vote after its side was resolved; a row of votes.parquet."""

    reviewer: str
    id: str
    """Id of the dialogue."""
    candidate_side: Side
    choice: Choice

    @property
    def outcome(self) -> Outcome:
        if self.choice == "tie":
            return "tie"
        return "win" if self.choice == self.candidate_side else "loss"


VOTES = pa.schema([(name, pa.string()) for name in ("reviewer", "id", "candidate_side", "choice", "outcome")])
"""Columns of votes.parquet, one row per vote."""


def candidate_side(seed: int, dialogue: str) -> Side:
    """The side of the candidate's summary: the lowest bit of a hash, left or right with probability 1/2."""
    return "left" if _digest("side", seed, dialogue)[-1] & 1 else "right"


def sample_dialogues(ids: Iterable[str], limit: int, seed: int) -> list[str]:
    """A random sample of at most `limit` dialogues in random order.

    The first votes of an unfinished page are a random sample as well, and a page with a higher limit and the same seed
    begins with the same dialogues.
    """
    return sorted(ids, key=lambda dialogue: _digest("order", seed, dialogue))[:limit]


def page_digest(scores: str, seed: int, opponent: str) -> str:
    """Identifies a page without the name of the opponent; whoever reads votes tries each of the few opponents."""
    return _digest("page", seed, f"{scores} {opponent}").hex()[:16]


def preferences(files: Sequence[VotesFile]) -> list[Preference]:
    """All votes with their sides resolved, by reviewer and dialogue.

    RequestError if a reviewer's votes on a dialogue contradict each other.
    """
    by_key: dict[tuple[str, str], Preference] = {}
    for file in files:
        for vote in file.votes:
            side = candidate_side(file.seed, vote.dialogue)
            new = Preference(reviewer=file.reviewer, id=vote.dialogue, candidate_side=side, choice=vote.choice)
            earlier = by_key.setdefault((file.reviewer, vote.dialogue), new)
            if earlier.outcome != new.outcome:
                raise RequestError(
                    f"the votes of {file.reviewer} on {one_line(vote.dialogue, 60)} contradict each other: remove one "
                    "of the files, or give different people different names"
                )
    return [by_key[key] for key in sorted(by_key)]


def _digest(purpose: str, seed: int, text: str) -> bytes:
    return hashlib.sha256(f"{purpose} {seed} {text}".encode("utf-8", "surrogatepass")).digest()
