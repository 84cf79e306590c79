"""probe: dataset, formatted eval rows, a base model and an adapter or none -> how probable right and wrong facts are.

Reads   dataset; rows (format, eval); adapter (train) or none
Writes  probe.parquet (LIKELIHOODS): a human reference and the same text with one wrong fact, for each dialogue and
        kind of error (tasks/metrics/probe_kinds.py), with the log-probability of both behind the dialogue's prompt
Rerun   dialogsum run RECIPE --refresh probe

Nothing is generated: a forward pass per dialogue tells which text the model prefers (FacEval, Wang et al., EMNLP 2022).
The pairs depend on dataset and seed alone, so the probes of several models compare the same texts.
"""

from statistics import fmean
from typing import Any

from artifacts.schemas import DATASET, read_table, write_table
from tasks.config import ProbeSpec
from tasks.execution.stage import Artifact, Context, Stage, StageResult
from tasks.metrics.probe_kinds import ProbeKind
from tasks.metrics.probe_scores import preferences
from tasks.metrics.probe_table import LIKELIHOODS, PAIRS
from tasks.probing.corruptions import Pairs, make_pairs
from tasks.probing.worker_records import ProbeMeasurements, ProbeWorkerConfig
from tasks.workers.launcher import run_workers

WORKER = "tasks.probing.worker"


def probe(
    spec: ProbeSpec, context: Context, dataset: Artifact, rows: Artifact, adapter: Artifact | None = None
) -> StageResult:
    """Compare the likelihood of references and their corruptions, for the first `probe.dialogues` test dialogues.

    A data set whose references admit no kind of wrong fact gives an empty table.
    """
    made = make_pairs(read_table(dataset.payload / "test.parquet", DATASET), spec.probe.dialogues, spec.probe.seed)
    pairs, out = context.work / "pairs.parquet", context.out / "probe.parquet"
    write_table(({**vars(pair), "kind": str(pair.kind)} for pair in made.pairs), PAIRS, pairs)
    for kind, reason in made.not_applied.items():
        context.events.log(f"{kind}: not applied: {reason}")
    if not made.pairs:
        context.events.log("no reference admits any kind of wrong fact: nothing is compared")
        write_table([], LIKELIHOODS, out)
        return StageResult(rows=0, facts=_facts([], made))
    config = ProbeWorkerConfig(
        spec=spec,
        runtime=context.runtime,
        rows=rows.payload,
        adapter=adapter.payload if adapter else None,
        pairs=pairs,
        out=out,
    )
    (measured,) = run_workers(WORKER, [config], ProbeMeasurements, context.work, context.events)
    scored = read_table(out, LIKELIHOODS)
    return StageResult(rows=len(scored), facts=_facts(scored, made), measured=measured.model_dump())


def _facts(scored: list[dict[str, Any]], made: Pairs) -> dict[str, Any]:
    preferred = preferences(scored)
    by_kind = {str(kind): [value for (_, name), value in preferred.items() if name == kind] for kind in ProbeKind}
    return {
        "preferred": {kind: round(fmean(values), 4) for kind, values in by_kind.items() if values},
        "pairs": {kind: len(values) for kind, values in by_kind.items() if values},
        "left_out": made.left_out,
        "not_applied": made.not_applied,
    }


PROBE = Stage(
    name="probe",
    version=1,
    function=probe,
    spec=ProbeSpec,
    label=lambda spec: spec.model.name,
    pool="gpu",
    packages=("py3langid",),
    worker=WORKER,
)
