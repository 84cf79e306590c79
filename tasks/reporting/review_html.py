"""Renders the page on which people vote: pairs of summaries without the names of the models."""

from dataclasses import dataclass, fields

from tasks.reporting.rendering import environment, inline_script


@dataclass(frozen=True)
class Pair:
    """A dialogue with its two summaries."""

    id: str
    dialogue: str
    left: str
    right: str


@dataclass(frozen=True)
class ReviewPage:
    """Everything that the page shows or saves with the votes."""

    scores: str
    """Id of the score artifact."""
    seed: int
    digest: str
    """`tasks.metrics.pairwise_votes.page_digest`."""
    pairs: list[Pair]


def render_review(page: ReviewPage) -> str:
    """The page as HTML. Dialogues and summaries are untrusted text, which Jinja2 escapes."""
    values = {field.name: getattr(page, field.name) for field in fields(page)}
    return environment().get_template("review.html.j2").render(values | inline_script("review.js"))
