"""Probe artifacts with likelihoods that a test chooses."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tasks.execution.stage import Artifact
from tasks.metrics.probe_table import LIKELIHOODS
from tests.support.artifacts import ArtifactFactory


def likelihoods(
    chosen: Mapping[str, Sequence[bool | None]], texts: Sequence[tuple[str, str]] | None = None
) -> list[dict[str, Any]]:
    """Rows of LIKELIHOODS. chosen: kind -> for each dialogue whether the reference is preferred, None without a pair.

    texts: reference and corruption of each dialogue.
    """
    rows = []
    for i in range(len(next(iter(chosen.values())))):
        for kind, preferred in chosen.items():
            if preferred[i] is None:
                continue
            reference, corruption = texts[i] if texts else (f"right {i}", f"wrong {i}")
            right, wrong = (-10.0, -20.0) if preferred[i] else (-20.0, -10.0)
            rows.append(
                {"id": f"test_{i}", "kind": kind, "reference": reference, "corruption": corruption}
                | {"logp_reference": right, "logp_corruption": wrong, "tokens_reference": 4, "tokens_corruption": 4}
            )
    return rows


def probe_artifact(
    factory: ArtifactFactory,
    rows: list[dict[str, Any]],
    left_out: Mapping[str, int] | None = None,
    not_applied: Mapping[str, str] | None = None,
) -> Artifact:
    """An artifact of the stage probe with these rows and counts."""
    artifact = factory.artifact("probe", "probe", rows, LIKELIHOODS)
    facts = {"left_out": dict(left_out or {}), "not_applied": dict(not_applied or {})}
    return replace(artifact, manifest=artifact.manifest.model_copy(update={"facts": facts}))
