"""TensorBoard: event files in a folder for each run, below the folder DIALOGSUM_TENSORBOARD."""

import os
from pathlib import Path
from typing import Any

from artifacts.user_paths import project_folder
from flows.integrations.tracker import Points, TrackedRun, Tracker


class TensorBoardTracker(Tracker):
    """Writes a run anew each time. The folder of a further evaluation lies in that of its adapter."""

    package = "tensorboard"

    @property
    def destination(self) -> str:
        return str(Path(os.environ.get("DIALOGSUM_TENSORBOARD") or project_folder() / "tensorboard").absolute())

    def open(self, artifact: str, group: str) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        # with purge_step, an open TensorBoard forgets the points of earlier files
        return SummaryWriter(self._folder(artifact, group), purge_step=0)

    def add_points(self, run: Any, points: Points) -> None:
        for step, values in points.items():
            for name, value in values.items():
                run.add_scalar(name, value, step)
        run.flush()

    def write(self, run: TrackedRun) -> None:
        from torch.utils.tensorboard.summary import hparams

        self.close()
        group = run.parent or run.id
        earlier = [*self._folder(run.id, group).glob("events.out.tfevents.*")]
        writer = self.opened(run.id, group)
        for summary in hparams(run.parameters, run.metrics):
            writer.file_writer.add_summary(summary)
        self.add_points(writer, run.curve)
        self.add_points(writer, {0: run.metrics})
        rows = [f"| {name} | {value} |" for name, value in (run.tags | run.links).items()]
        writer.add_text("tags", "\n".join(["| tag | value |", "|---|---|", *rows]), 0)
        self.close()
        for file in earlier:
            file.unlink()

    def end(self, run: Any) -> None:
        run.close()

    def _folder(self, artifact: str, group: str) -> Path:
        return Path(self.destination) / group / ("" if artifact == group else artifact)


TRACKER = TensorBoardTracker
