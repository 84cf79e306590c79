"""All stages, in the order of the DAG, and which of them have a worker process."""

from tasks.download import DOWNLOAD
from tasks.execution.stage import Stage
from tasks.format import FORMAT
from tasks.generate import GENERATE
from tasks.judge import JUDGE
from tasks.probe import PROBE
from tasks.promote import PROMOTE
from tasks.report import REPORT
from tasks.review import REVIEW
from tasks.sample import SAMPLE
from tasks.score import SCORE
from tasks.train import TRAIN

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (DOWNLOAD, FORMAT, TRAIN, SAMPLE, GENERATE, PROBE, JUDGE, SCORE, REVIEW, PROMOTE, REPORT)
}


def worker_modules() -> list[str]:
    """The modules that the stages of every recipe run as a process of their own."""
    return [stage.worker for stage in STAGES.values() if stage.worker and not stage.optional]


def worker_follows(stage: Stage, variant: str | None) -> bool:
    """Whether another stage with a worker process follows in the run: a later one, or this one for the tuned model."""
    names = list(STAGES)
    later = [STAGES[name] for name in names[names.index(stage.name) + 1 :]]
    return any(each.worker and not each.optional for each in later) or (stage.worker is not None and variant == "base")
