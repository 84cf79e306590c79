"""score: predictions of one or more systems, references -> scores per dialogue and in the mean, and what they differ by.

Reads   dataset; predictions (generate) of base and, where there are any: tuned (the candidate), champion, before (the
        same adapter under its training prompt)
Writes  scores.json (every system, floor and ceiling under every protocol; differences; slices; behaviour, and
        which measure of it was not applied, for what reason),
        rows.parquet (ROWS: one row a dialogue and system, the headline protocol's F1 and the behaviour)
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
from tasks.execution.stage import Artifact, Context, Done, Stage
from tasks.metrics.bootstrap import difference, draw, interval, resampled, slices
from tasks.metrics.diagnostics import COLUMNS, NAMES, behaviour, in_the_mean, names_misfit
from tasks.metrics.rouge import MEASURES, TYPES, Scorer, score_rows

ROWS = pa.schema(
    [("system", pa.string()), ("id", pa.string()), *[(name, pa.float64()) for name in TYPES],
     *[(name, pa.float64()) for name in COLUMNS]]
)  # fmt: skip
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
    spec: ScoreConfig,
    context: Context,
    dataset: Artifact,
    base: Artifact,
    tuned: Artifact | None = None,
    champion: Artifact | None = None,
    before: Artifact | None = None,
) -> Done:
    """Score every system on the same dialogues. StageError if they were not run on the same ones."""
    given = {"base": base, "tuned": tuned, "champion": champion, "before": before}
    outputs = {
        name: read_table(artifact.payload / "predictions.parquet", PREDICTIONS)
        for name, artifact in given.items()
        if artifact
    }
    ids = [row["id"] for row in outputs["base"]]
    if other := [name for name, rows in outputs.items() if [row["id"] for row in rows] != ids]:
        raise StageError(f"base and {other[0]} were run on different dialogues: rerun generate for both")
    test = {row["id"]: row for row in read_table(dataset.payload / "test.parquet", DATASET)}
    rows = [test[name] for name in ids]
    dialogues, references = [row["dialogue"] for row in rows], [row["references"] for row in rows]
    texts = {name: [row["prediction"] for row in found] for name, found in outputs.items()} | floors(dialogues)
    draws = draw(len(ids), spec.bootstrap_resamples, spec.bootstrap_seed)
    found = under_every_protocol(texts, references)
    f1 = {name: found[HEADLINE][name][..., F1] for name in outputs}
    misfit = names_misfit(dialogues, references)
    if misfit:
        context.events.log(f"{NAMES}: not applied: {misfit}")
    acted = {
        name: behaviour(texts[name], [row["stop"] for row in outputs[name]], dialogues, references, misfit is None)
        for name in outputs
    }
    stamp = {
        "package": f"rouge-score {version('rouge-score')}",
        "references_per_row": len(references[0]),
        "rows": len(ids),
        "rows_in_split": len(test),
        "interval": f"95 %, percentile bootstrap over dialogues, {spec.bootstrap_resamples} resamples",
    }
    protocols: dict[str, Any] = {
        name: {"protocol": {"name": name} | stamp, "systems": {system: summary(means, draws) for system, means in row.items()}}
        for name, row in found.items()
    }  # fmt: skip
    content: dict[str, Any] = {
        "headline": HEADLINE,
        "protocols": protocols,
        "differences": differences(f1, draws),
        "slices": [
            {"kind": kind, "name": name, "rows": int(mask.sum()),
             "scores": {system: _in_points(values[mask]) for system, values in f1.items()},
             "differences": differences({system: values[mask] for system, values in f1.items()}, draws[:, mask])}
            for kind, name, mask in slices(dialogues, [row["topics"] for row in rows])
        ],
        "behaviour": {name: in_the_mean(measures) for name, measures in acted.items()}
        | of_humans(dialogues, references, misfit is None),
        "not_applied": {NAMES: misfit} if misfit else {},
        "constant": CONSTANT,
    }  # fmt: skip
    (context.out / "scores.json").write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    table = [
        {"system": system, "id": ids[i]} | dict(zip(TYPES, map(float, f1[system][i]), strict=True))
        | {name: float(values[i]) for name, values in acted[system].items()}
        for system in outputs
        for i in range(len(ids))
    ]  # fmt: skip
    write_table(table, ROWS, context.out / "rows.parquet")
    scores = {name: protocols[HEADLINE]["systems"][name] for name in outputs}
    for name, values in scores.items():
        context.events.log(f"{name}: " + "  ".join(f"{kind} {values[kind]['f1']:.2f}" for kind in TYPES))
    facts = {
        "protocol": protocols[HEADLINE]["protocol"],
        "headline": {system: {kind: values[kind]["f1"] for kind in TYPES} for system, values in scores.items()},
        "intervals": {system: {kind: values[kind]["interval"] for kind in TYPES} for system, values in scores.items()},
    }
    return Done(rows=len(ids), facts=facts)


def under_every_protocol(texts: dict[str, list[str]], references: list[list[str]]) -> dict[str, dict[str, np.ndarray]]:
    """protocol -> system -> (rows, 4 types, 3 measures), with `human` where a row has several references.

    The human ceiling is the mean, over the k references, of each one's scores against the k - 1 others.
    """
    found: dict[str, dict[str, np.ndarray]] = {name: {} for name in PROTOCOLS}
    for stem in (True, False):
        scorer = Scorer(stem)
        detail = {name: score_rows(predictions, references, scorer) for name, predictions in texts.items()}
        others = [score_rows(left, rest, scorer) for left, rest in each_against_others(references)]
        for name, (stems, take) in PROTOCOLS.items():
            if stems == stem:
                found[name] = {system: take(values) for system, values in detail.items()}
                if others:
                    found[name]["human"] = np.mean([take(values) for values in others], axis=0)
    return found


def floors(dialogues: list[str]) -> dict[str, list[str]]:
    """What needs no model: the same sentence for all, and the first three utterances of each dialogue."""
    return {
        "constant sentence": [CONSTANT] * len(dialogues),
        "first three utterances": [" ".join(dialogue.split("\n")[:3]) for dialogue in dialogues],
    }


def each_against_others(references: list[list[str]]) -> list[tuple[list[str], list[list[str]]]]:
    """For each of the k references: that one of every row, and the k - 1 others. Nothing where k is 1."""
    count = len(references[0])
    return [
        ([row[i] for row in references], [row[:i] + row[i + 1 :] for row in references])
        for i in range(count)
        if count > 1
    ]


def of_humans(dialogues: list[str], references: list[list[str]], names: bool) -> dict[str, dict[str, float]]:
    """Behaviour of the references themselves, each measured against the others."""
    found = [
        in_the_mean(behaviour(left, None, dialogues, rest, names)) for left, rest in each_against_others(references)
    ]
    return (
        {"human": {name: round(float(np.mean([row[name] for row in found])), 4) for name in found[0]}} if found else {}
    )


def summary(means: np.ndarray, draws: np.ndarray) -> dict[str, dict[str, Any]]:
    """Means x 100 of an array (rows, 4 types, 3 measures), and a 95 % interval of F1."""
    point = means.mean(axis=0) * 100
    bounds = interval(resampled(means[..., F1], draws))
    return {
        kind: {measure: round(float(point[i, j]), 4) for j, measure in enumerate(MEASURES)} | {"interval": bounds[i]}
        for i, kind in enumerate(TYPES)
    }


def differences(f1: dict[str, np.ndarray], draws: np.ndarray) -> dict[str, dict[str, dict[str, Any]]]:
    """The candidate against every other system there is, under the headline protocol: system -> type -> difference."""
    return {
        name: difference(f1["tuned"] - values, draws, TYPES)
        for name, values in f1.items()
        if "tuned" in f1 and name != "tuned"
    }


def _in_points(values: np.ndarray) -> dict[str, float]:
    return {kind: round(float(mean) * 100, 4) for kind, mean in zip(TYPES, values.mean(axis=0), strict=True)}


SCORE = Stage(
    name="score", version=1, function=score, spec=ScoreConfig, label=lambda spec: "rouge", packages=("rouge-score",),
)  # fmt: skip
