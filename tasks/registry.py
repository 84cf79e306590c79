"""All stages, in the order of the graph."""

from tasks.download import DOWNLOAD
from tasks.execution.stage import Stage
from tasks.format import FORMAT
from tasks.generate import GENERATE
from tasks.promote import PROMOTE
from tasks.report import REPORT
from tasks.score import SCORE
from tasks.train import TRAIN

STAGES: dict[str, Stage] = {stage.name: stage for stage in (DOWNLOAD, FORMAT, TRAIN, GENERATE, SCORE, PROMOTE, REPORT)}
