"""Sentences about the checks before training. The payload has their figures only, so rewording one retrains nothing."""

from collections.abc import Mapping

MESSAGES = {
    "rows": "{reached} of {expected} rows reach the trainer",
    "prompt": "the generation prompt is a strict prefix of the training text in {prefixes} of {rows} rows",
    "stop token": "carries a label in {labelled} of {rows} rows (id {id})",
    "stop token untrained": "not trained, since train.stop_token is false: summaries will run to the token limit",
    "labels": "{labelled} of {rows} rows have a token to learn",
    "length": "{oversized} of {rows} completions do not fit into train.max_length={max_length}",
    "truncation": "{truncated} of {rows} dialogues lose their end at {max_length} tokens",
    "no truncation": "no dialogue is cut at {max_length} tokens",
    "leakage": "{shared} dialogues are in both train and test",
}


def message(name: str, figures: Mapping[str, float]) -> str:
    """The sentence of a check with its figures."""
    return MESSAGES[name].format(**figures)
