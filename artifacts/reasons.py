"""Sentences that explain why a stage runs, from the differences between two identities."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from artifacts.cache_key import UNKNOWN, canonical

MAX_REASON_LENGTH = 120
"""Characters of a reason, which is shown in a table; parts that do not fit are counted."""
EXCERPT_LENGTH = 24
"""Characters shown of each of two different texts."""
SUMMARIES = {
    "base": "the base model's summaries",
    "tuned": "the tuned model's summaries",
    "champion": "the champion's summaries",
    "before": "the summaries with the previous prompt",
}
INPUTS = {
    "dataset": "the dataset",
    "rows": "the prompts",
    "prompts": "the prompts",
    "adapter": "the adapter",
    "candidates": "the sampled summaries",
    **SUMMARIES,
    "predictions": "the summaries",
    **{f"judge_{system}": f"the judge of {summaries}" for system, summaries in SUMMARIES.items()},
    "judge_references": "the judge of the references",
    "scores": "the scores",
    "review": "the review",
    "decision": "the decision of the gate",
    "champion_dataset": "the champion's dataset",
}
"""Role of an input -> its name in a sentence, in the order of the DAG."""
REVISIONS = {
    "config.data.revision": "the data",
    "config.model.revision": "the base model",
    "config.classifier.model.revision": "the judge",
}
SHOWN_ONLY = ("config.history", "config.prompts", "config.champion_data", "config.judge_agreement")
"""Settings that a report only shows: mentioned last."""

Changes = Mapping[str, tuple[Any, Any]]


def explain(
    changes: Changes,
    stage: str = "",
    old_ids: Mapping[str, str] | None = None,
    new_ids: Mapping[str, str] | None = None,
) -> str:
    """Differences (artifacts.cache_key.difference) as one line: `train.lora.rank: 8 -> 16; the prompts changed (…)`.

    old_ids, new_ids: role -> id of the inputs of the closest existing artifact and of the new one.
    """
    code = [name.removeprefix("code.") for name in changes if name.startswith("code.")]
    inputs = [name.removeprefix("inputs.") for name in changes if name.startswith("inputs.")]
    settings = [name for name in changes if not name.startswith(("code.", "inputs.", *SHOWN_ONLY))]
    parts = [
        *([_code(code)] if code else []),
        *(_setting(name, *changes[name]) for name in settings),
        *(
            _input(_named(role, stage), (old_ids or {}).get(role), (new_ids or {}).get(role), changes[f"inputs.{role}"])
            for role in sorted(inputs, key=_order)
        ),
    ]
    if "config.history" in changes:
        parts.append(_history(*changes["config.history"]))
    if any(name.startswith("config.prompts") for name in changes):
        parts.append("the names of the prompts changed")
    if any(name.startswith("config.champion_data") for name in changes):
        parts.append("the champion whose data is compared changed")
    if any(name.startswith("config.judge_agreement") for name in changes):
        parts.append("the judge was compared with people")
    return _short(parts)


def excerpts(old: str, new: str, most: int = EXCERPT_LENGTH) -> tuple[str, str]:
    """The words from the first difference on, about `most` characters of each text.

    The excerpts are equal if the texts differ only in spaces and line breaks.
    """
    old_words, new_words = old.split(), new.split()
    shorter = min(len(old_words), len(new_words))
    at = next((i for i in range(shorter) if old_words[i] != new_words[i]), shorter)
    if at and at == shorter:
        at -= 1  # one text ends here: the last common word shows where
    return excerpt(old_words, at, most), excerpt(new_words, at, most)


def excerpt(words: Sequence[str], at: int = 0, most: int = EXCERPT_LENGTH) -> str:
    """As many words from index `at` on as fit, at least one, with an ellipsis on each side where words are left out."""
    shown = list(words[at : at + 1])
    for word in words[at + 1 :]:
        if len(" ".join([*shown, word])) > most:
            break
        shown.append(word)
    text = " ".join("".join(c if c.isprintable() else " " for c in word) for word in shown)
    cut = len(text) > 2 * most  # one word, longer than in any language
    more = cut or at + len(shown) < len(words)
    return f"{'…' if at else ''}{text[: 2 * most] if cut else text}{'…' if more else ''}"


def _code(modules: list[str]) -> str:
    if len(modules) > 2:
        return f"code of {modules[0]}, {modules[1]} and {len(modules) - 2} more changed"
    return f"code of {' and '.join(modules)} changed"


def _setting(name: str, old: Any, new: Any) -> str:
    if name == "config.withdrawn_at":
        return f"the champion was rolled back on {_moment(new)}" if new else "the adapter is no longer rolled back"
    if name in REVISIONS:
        return f"{REVISIONS[name]} changed (revision {_value(old)} -> {_value(new)})"
    shown = "prompt" if name == "config.template" else name.removeprefix("config.")
    if isinstance(old, str) and isinstance(new, str) and re.search(r"\s", f"{old}{new}"):
        old_excerpt, new_excerpt = excerpts(old, new)
        if old_excerpt == new_excerpt:
            return f"{shown}: only spaces or line breaks differ"
        return f'{shown}: "{old_excerpt}" -> "{new_excerpt}"'
    return f"{shown}: {_value(old)} -> {_value(new)}"


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, str):
        if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", value):
            return value[:8]
        return value if re.fullmatch(r"[\w./:@+-]{1,40}", value) else f'"{excerpt(value.split())}"'
    text = canonical(value)
    return text if len(text) <= EXCERPT_LENGTH or not isinstance(value, list) else f"{len(value)} entries"


def _input(name: str, old_id: str | None, new_id: str | None, digests: tuple[Any, Any]) -> str:
    old, new = digests
    if old is None or new is None:
        return f"{name} added ({_id(new_id, new)})" if old is None else f"{name} removed ({_id(old_id, old)})"
    if old_id is not None and old_id == new_id and not str(new).startswith(UNKNOWN):
        return f"{name} changed ({new_id} was rerun with a different result)"
    return f"{name} changed ({_id(old_id, old)} -> {_id(new_id, new)})"


def _id(known: str | None, digest: Any) -> str:
    if str(digest).startswith(UNKNOWN):
        return UNKNOWN
    return known or str(digest)[:8]


def _named(role: str, stage: str) -> str:
    if role.startswith("seed_"):
        return f"the scores of seed {role.removeprefix('seed_')}"
    if role.startswith("made_from_"):
        return "what the adapter was distilled from"
    if role.startswith("candidates_"):
        return f"the sampled summaries of fold {int(role.removeprefix('candidates_')) + 1}"
    return "the training rows" if role == "rows" and stage in ("train", "sample") else INPUTS.get(role, role)


def _order(role: str) -> tuple[int, str]:
    return (list(INPUTS).index(role) if role in INPUTS else len(INPUTS), role)


def _history(old: Any, new: Any) -> str:
    old_count, new_count = len(old or ()), len(new or ())
    if old_count == new_count:
        return "history: an earlier evaluation changed"
    return f"history: {old_count} evaluations -> {new_count}"


def _moment(at: str) -> str:
    moment = datetime.fromisoformat(at)
    return f"{moment.day} {moment:%b %H:%M} UTC"


def _short(parts: list[str]) -> str:
    for count in range(len(parts), 0, -1):
        left = len(parts) - count
        text = "; ".join([*parts[:count], *([f"and {left} more"] if left else [])])
        if len(text) <= MAX_REASON_LENGTH or count == 1:
            return text
    return ""
