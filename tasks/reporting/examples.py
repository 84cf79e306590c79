"""The dialogues of a report: those that moved most, then others evenly spread, each with references and outputs."""

from typing import Any

from markupsafe import escape

from artifacts.schemas import DATASET, PREDICTIONS, read_table
from tasks.execution.stage import Artifact
from tasks.reporting.escaping import marked, visible
from tasks.score import ROWS

MOVERS = 5
"""Shown first, of those that improved and of those that regressed."""
MOST_BYTES = 2_300_000
"""Of all texts together, as they stand in the page: a report stays below 3 MB."""
MEASURE = "rouge1"
RIVALS = ("before", "champion", "base")
"""Whom the tuned model is held against."""


def examples(
    count: int, dataset: Artifact, scores: Artifact, outputs: dict[str, Artifact]
) -> dict[str, list[dict[str, Any]]]:
    """`improved`, `regressed` (against the first of RIVALS there is, by ROUGE-1, strongest first) and `others`: `count` in all.

    outputs: predictions by system. Without a tuned model nothing has moved.
    """
    test = {row["id"]: row for row in read_table(dataset.payload / "test.parquet", DATASET)}
    rows = {(row["system"], row["id"]): row for row in read_table(scores.payload / "rows.parquet", ROWS)}
    said = {
        name: {row["id"]: row for row in read_table(a.payload / "predictions.parquet", PREDICTIONS)}
        for name, a in outputs.items()
    }
    ids = list(said["base"])
    rival = next((name for name in RIVALS if name in said and "tuned" in said), None)
    change = {name: (rows["tuned", name][MEASURE] - rows[rival, name][MEASURE]) * 100 if rival else 0.0 for name in ids}
    by_change = sorted(ids, key=lambda name: -change[name])
    improved = [name for name in by_change[:MOVERS] if change[name] > 0][: (count + 1) // 2]
    regressed = [name for name in by_change[::-1][:MOVERS] if change[name] < 0][: count - len(improved)]
    rest = [name for name in ids if name not in {*improved, *regressed}]
    left = min(count - len(improved) - len(regressed), len(rest))
    others = [rest[i * len(rest) // left] for i in range(left)]

    def card(name: str) -> dict[str, Any]:
        systems = [system for system in ("base", "before", "champion", "tuned") if system in said]
        shown = {}
        for system in systems:
            other = {"tuned": rival, rival: "tuned"}.get(system)
            text = said[system][name]["prediction"]
            shown[system] = said[system][name] | {
                "rouge1": rows[system, name][MEASURE] * 100,
                "marked": marked(text, said[other][name]["prediction"]) if other else marked(text, text),
                "stranger": rows[system, name]["speaker_error"] > 0,
            }
        last = shown[systems[-1]]
        flags = {
            "improved": change[name] > 0, "regressed": change[name] < 0, "limit": last["stop"] == "limit",
            "empty": not last["prediction"].strip(), "stranger": last["stranger"],
        }  # fmt: skip
        return {
            "id": name, "dialogue": test[name]["dialogue"], "topics": list(dict.fromkeys(t for t in test[name]["topics"] if t)),
            "references": test[name]["references"], "outputs": shown, "change": change[name] if rival else None,
            "flags": [flag for flag, holds in flags.items() if holds],
        }  # fmt: skip

    found: dict[str, list[dict[str, Any]]] = {"improved": [], "regressed": [], "others": []}
    size = 0
    for group, names in (("improved", improved), ("regressed", regressed), ("others", others)):
        for name in names:
            made = card(name)
            if size + _size(made) <= MOST_BYTES:
                size += _size(made)
                found[group].append(made)
    return found


def _size(made: dict[str, Any]) -> int:
    texts = [escape(visible(text)) for text in (made["dialogue"], *made["references"], *made["topics"])]
    texts += [row["marked"] for row in made["outputs"].values()]
    return 1500 + sum(len(text.encode("utf-8", "replace")) for text in texts)
