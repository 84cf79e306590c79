"""score: predictions of base and tuned model, references -> scores per dialogue and in the mean.

Reads   dataset; base and, unless only the base is evaluated, tuned (generate)
Writes  scores.json (every system, floor and ceiling under every protocol), rows.parquet (one row a dialogue and system: the headline protocol's F1)
Rerun   dialogsum run RECIPE --refresh score

Headline protocol: rouge_score, F1, mean over the references of a dialogue, then over dialogues, with stemming.
"""

import json
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa

from artifacts.errors import StageError
from artifacts.schemas import DATASET, PREDICTIONS, read_table, write_table
from tasks.config import ScoreConfig
from tasks.rouge import MEASURES, TYPES, score_rows
from tasks.stage import Artifact, Context, Done, Stage

ROWS = pa.schema([("system", pa.string()), ("id", pa.string()), *[(name, pa.float64()) for name in TYPES]])
F1 = MEASURES.index("f1")


def mean_of_references(detail: np.ndarray) -> np.ndarray:
    """(rows, references, 4, 3) -> (rows, 4, 3)."""
    return np.asarray(detail.mean(axis=1))


def best_reference(detail: np.ndarray) -> np.ndarray:
    """The reference with the highest F1, chosen for each measure alone, as rouge_score's `score_multi` does."""
    best = detail[..., F1].argmax(axis=1)[:, None, :, None]
    return np.take_along_axis(detail, best, axis=1)[:, 0]


def first_reference(detail: np.ndarray) -> np.ndarray:
    """The first reference alone."""
    return detail[:, 0]


HEADLINE = "mean of references, stemming"
PROTOCOLS: dict[str, tuple[bool, Callable[[np.ndarray], np.ndarray]]] = {
    HEADLINE: (True, mean_of_references),
    "mean of references, no stemming": (False, mean_of_references),
    "best reference, stemming": (True, best_reference),
    "first reference only, stemming": (True, first_reference),
}
"""The same predictions move by up to 11 points between these, so each figure is shown with its protocol."""
CONSTANT = "#Person1# and #Person2# are talking about something."


def score(
    spec: ScoreConfig, context: Context, dataset: Artifact, base: Artifact, tuned: Artifact | None = None
) -> Done:
    """Score every system on the same dialogues. StageError if they were not run on the same ones."""
    test = {row["id"]: row for row in read_table(dataset.payload / "test.parquet", DATASET)}
    systems = {"base": base} | ({"tuned": tuned} if tuned else {})
    outputs = {name: read_table(a.payload / "predictions.parquet", PREDICTIONS) for name, a in systems.items()}
    ids = [row["id"] for row in outputs["base"]]
    if any([row["id"] for row in rows] != ids for rows in outputs.values()):
        raise StageError("base and tuned were run on different dialogues: rerun generate for both")
    references = [test[name]["references"] for name in ids]
    texts = {name: [row["prediction"] for row in rows] for name, rows in outputs.items()}
    texts |= floors([test[name]["dialogue"] for name in ids])
    draws = resample(len(ids), spec)
    found: dict[str, dict[str, np.ndarray]] = {name: {} for name in PROTOCOLS}
    for stem in (True, False):
        detail = {name: score_rows(predictions, references, stem) for name, predictions in texts.items()}
        others = against_others(references, stem)
        for name, (stems, take) in PROTOCOLS.items():
            if stems == stem:
                found[name] = {system: take(values) for system, values in detail.items()}
                if others:
                    found[name]["human"] = np.mean([take(values) for values in others], axis=0)
    every = {name: {system: summary(means, draws) for system, means in row.items()} for name, row in found.items()}
    means = {name: found[HEADLINE][name] for name in systems}
    scores = {name: every[HEADLINE][name] for name in systems}
    for name, values in scores.items():
        context.events.log(f"{name}: " + "  ".join(f"{kind} {values[kind]['f1']:.2f}" for kind in TYPES))
    protocol = {
        "name": HEADLINE,
        "package": f"rouge-score {version('rouge-score')}",
        "references_per_row": len(references[0]),
        "rows": len(ids),
        "rows_in_split": len(test),
        "interval": f"95 %, percentile bootstrap over dialogues, {spec.bootstrap_resamples} resamples",
    }
    content: dict[str, Any] = {"protocol": protocol, "systems": scores, "protocols": every, "constant": CONSTANT}
    if tuned:
        content["difference"] = difference(means["tuned"] - means["base"], draws)
    (context.out / "scores.json").write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    table = [
        {"system": system, "id": name} | dict(zip(TYPES, map(float, row), strict=True))
        for system, values in means.items()
        for name, row in zip(ids, values[..., F1], strict=True)
    ]
    write_table(table, ROWS, context.out / "rows.parquet")
    headline = {system: {kind: scores[system][kind]["f1"] for kind in TYPES} for system in scores}
    return Done(rows=len(ids), facts={"protocol": protocol, "headline": headline})


def floors(dialogues: list[str]) -> dict[str, list[str]]:
    """What needs no model: the same sentence for all, and the first three utterances of each dialogue."""
    return {
        "constant sentence": [CONSTANT] * len(dialogues),
        "first three utterances": ["\n".join(dialogue.split("\n")[:3]) for dialogue in dialogues],
    }


def against_others(references: list[list[str]], stem: bool) -> list[np.ndarray]:
    """The human ceiling: for each of the k references its scores against the k - 1 others, (rows, k - 1, 4, 3)."""
    count = len(references[0])
    return [
        score_rows([row[i] for row in references], [row[:i] + row[i + 1 :] for row in references], stem)
        for i in range(count)
        if count > 1
    ]


def resample(rows: int, spec: ScoreConfig) -> np.ndarray:
    """Bootstrap weights over dialogues, shape (resamples, rows), each line summing to 1."""
    generator = np.random.default_rng(spec.bootstrap_seed)
    return generator.multinomial(rows, np.full(rows, 1 / rows), size=spec.bootstrap_resamples) / rows


def summary(means: np.ndarray, draws: np.ndarray) -> dict[str, dict[str, Any]]:
    """Means x 100 of an array (rows, 4 types, 3 measures), and a 95 % interval of F1.

    Dialogues are resampled, not references: those of one dialogue are not independent.
    """
    point = means.mean(axis=0) * 100
    bounds = _interval(means[..., F1], draws)
    return {
        kind: {measure: round(float(point[i, j]), 4) for j, measure in enumerate(MEASURES)} | {"interval": bounds[i]}
        for i, kind in enumerate(TYPES)
    }


def difference(gains: np.ndarray, draws: np.ndarray) -> dict[str, dict[str, Any]]:
    """Paired difference of F1 x 100 with its 95 % interval and the share of resamples in which it is above zero."""
    f1 = gains[..., F1]
    bounds, share = _interval(f1, draws), (draws @ f1 > 0).mean(axis=0)
    return {
        kind: {
            "mean": round(float(f1[:, i].mean() * 100), 4),
            "interval": bounds[i],
            "better": round(float(share[i]), 4),
        }
        for i, kind in enumerate(TYPES)
    }


def _interval(f1: np.ndarray, draws: np.ndarray) -> list[list[float]]:
    bounds = np.percentile(draws @ f1, [2.5, 97.5], axis=0) * 100
    return [[round(float(low), 4), round(float(high), 4)] for low, high in bounds.T]


SCORE = Stage(
    name="score", version=1, function=score, spec=ScoreConfig, label=lambda spec: "rouge", packages=("rouge-score",),
)  # fmt: skip
