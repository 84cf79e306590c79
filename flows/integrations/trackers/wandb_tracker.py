"""Weights & Biases: the project WANDB_PROJECT; with WANDB_MODE=offline, files for `wandb sync`."""

import os
from typing import Any

from flows.integrations.tracker import Points, TrackedRun, Tracker


class WandbTracker(Tracker):
    """Resumes a run by its id."""

    package = "wandb"
    environment = {  # noqa: RUF012  # as in the base class
        "WANDB_CONSOLE": "off",
        "WANDB_DISABLE_CODE": "true",
        "WANDB_DISABLE_GIT": "true",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_PROJECT": "dialogsum",
        "WANDB_SILENT": "true",
    }

    @property
    def destination(self) -> str:
        mode = os.environ.get("WANDB_MODE", "online")
        where = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai") if mode == "online" else mode
        names = ("WANDB_ENTITY", "WANDB_PROJECT", "WANDB_DIR")
        return " ".join([where, *filter(None, map(os.environ.get, names))])

    def open(self, artifact: str, group: str) -> Any:
        import wandb

        settings = wandb.Settings(
            x_disable_stats=True,
            x_disable_meta=True,
            x_save_requirements=False,
            finish_timeout=60,
            finish_timeout_raises=True,
        )
        kind = "train" if artifact == group else "evaluate"
        return wandb.init(id=artifact, name=artifact, group=group, job_type=kind, resume="allow", settings=settings)

    def add_points(self, run: Any, points: Points) -> None:
        for step in sorted(step for step in points if step >= run.step):  # wandb takes no earlier step
            run.log(points[step], step=step)

    def write(self, run: TrackedRun) -> None:
        opened = self.opened(run.id, run.parent or run.id)
        self.add_points(opened, run.curve)
        opened.config.update(run.parameters | {"dialogsum": run.tags | run.links}, allow_val_change=True)
        opened.summary.update(run.metrics)
        shown = [f"{name}: {run.tags[name]}"[:64] for name in ("champion", "recipe", "variant") if name in run.tags]
        opened.tags = tuple(shown)
        if not opened.offline:  # offline, the files are complete, and each session is another folder
            self.close()

    def end(self, run: Any) -> None:
        run.finish()


TRACKER = WandbTracker
