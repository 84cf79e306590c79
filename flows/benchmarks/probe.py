"""bench probe: does the probe see that a model learned, and that another was trained on swapped speakers?"""

from typing import Any

from artifacts.errors import RequestError
from flows.benchmarks.environment import BenchmarkSettings, benchmark_run
from tasks.config import GateConfig
from tasks.metrics.probe_guard import probe_check
from tasks.metrics.score_table import System
from tasks.metrics.scores import Difference, ProbeKindScores, ProbeScores


def bench_probe(settings: BenchmarkSettings) -> tuple[list[dict[str, Any]], str]:
    """A row per kind of wrong fact with the share of preferred references of three models, and a remark.

    RequestError if the child fails or the data admits no pair.
    """
    with benchmark_run(settings) as run:
        result = run.run_system("models", "children.probed_models", folder=str(run.folder))
        if "failed" in result:
            raise RequestError(f"the models could not be probed: {result['failed']}; the log is in {run.folder}")
    if result["scores"] is None:
        raise RequestError("no reference of this data admits a kind of wrong fact: choose other data")
    scores = ProbeScores.model_validate(result["scores"])
    check = probe_check(GateConfig().most_probe_loss, scores, System.CHAMPION)
    seconds = ", ".join(f"{each:g}" for each in result["seconds_of_probes"])
    remark = (
        f"share of preferred references in %, {scores.pairs} pairs of {scores.dialogues} dialogues; speakers were "
        f"swapped in {result['changed']} of {result['summaries']} training summaries. Seconds of the probes: {seconds} "
        f"({result['device']}). The gate {'passes' if check.passed else 'rejects'} the swapped model: {check.observed}"
    )
    return [_row(kind) for kind in (*scores.kinds, scores.all_kinds)], remark


def _row(kind: ProbeKindScores) -> dict[str, Any]:
    names = {System.BASE: "base", System.CHAMPION: "tuned", System.TUNED: "tuned on swapped speakers"}
    shares = {
        name: f"{kind.shares[system].share:.1f} ({kind.shares[system].interval[0]:.1f} to "
        f"{kind.shares[system].interval[1]:.1f})"
        for system, name in names.items()
    }
    return {
        "kind": kind.kind,
        **shares,
        "swapped - tuned": _signed(kind.differences[System.CHAMPION]),
        "dialogues": kind.dialogues,
        "left out": kind.left_out,
    }


def _signed(difference: Difference) -> str:
    return f"{difference.mean:+.1f} ({difference.interval[0]:+.1f} to {difference.interval[1]:+.1f})"
