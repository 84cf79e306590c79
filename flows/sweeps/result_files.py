"""Files of a sweep: the recipe of its best trial, and the plot of all."""

import textwrap
from pathlib import Path
from typing import Any

import yaml

from artifacts.atomic_files import atomic_path
from artifacts.errors import RequestError
from artifacts.text import one_line
from flows.sweeps.result_text import measure_label, sentence
from flows.sweeps.results import SweepResult
from flows.sweeps.setup import SweepSetup
from flows.sweeps.space import as_yaml, short_names
from tasks.reporting.sweep_plot import PlottedTrial, sweep_plot


def winner_recipe(setup: SweepSetup, result: SweepResult) -> str:
    """The recipe of the best trial as YAML: what recipe and overrides set, with its parameters. Empty without one."""
    if result.best is None:
        return ""
    trial = result.best.trial
    recipe = setup.resolved(trial.parameters).recipe
    content: dict[str, Any] = recipe.model_dump(mode="json", exclude_unset=True, exclude={"name"})
    overrides = ", ".join(setup.overrides)
    comments = [
        f"The best trial of sweep {setup.id} of the recipe {setup.base.recipe.name}"
        f"{f' with {overrides}' if overrides else ''}.",
        sentence(result),
        f"Adapter {trial.adapter}, scores {trial.scores}. `dialogsum run` with this file reuses the adapter, and "
        "evaluates it on the test split.",
    ]
    lines = [f"# {line}" for comment in comments for line in textwrap.wrap(one_line(comment, 1000), 100)]
    return "\n".join([*lines, yaml.safe_dump(content, sort_keys=False, allow_unicode=True)])


def plot(result: SweepResult) -> str:
    """SVG of the complete trials; empty if there is none."""
    complete = [each.trial for each in result.trials if each.trial.state == "complete"]
    if not complete or result.best is None:
        return ""
    names, best = short_names([*complete[0].parameters]), result.best.trial.value or 0.0
    plotted = [
        PlottedTrial(
            label=", ".join(f"{names[key]} {as_yaml(value)}" for key, value in trial.parameters.items()),
            score=trial.value or 0.0,
            interval=trial.interval or (0.0, 0.0),
            reference=not trial.number,
        )
        for trial in complete
    ]
    expected = best - result.selection_bias if result.selection_bias is not None else None
    return str(sweep_plot(plotted, measure_label(result.measure), expected))


def write_files(setup: SweepSetup, result: SweepResult, folder: Path) -> dict[str, str]:
    """Write both files, if any trial is complete. Returns `recipe` and `plot` -> path."""
    contents = {
        "recipe": (f"{setup.base.recipe.name}-sweep-{setup.id}.yaml", winner_recipe(setup, result)),
        "plot": (f"{setup.base.recipe.name}-sweep-{setup.id}.svg", plot(result)),
    }
    files = {}
    for kind, (name, content) in contents.items():
        if content:
            file = folder / name
            try:
                with atomic_path(file) as temporary:
                    temporary.write_text(content, encoding="utf-8")
            except OSError as error:
                raise RequestError(f"--out: {one_line(file, 120)} cannot be written ({one_line(error, 80)})") from error
            files[kind] = str(file)
    return files


def checked_folder(out: str) -> Path:
    """The folder of `--out`. RequestError unless it exists: a sweep takes hours, and this is known at its start."""
    folder = Path(out).expanduser()
    if not folder.is_dir():
        raise RequestError(f"--out {one_line(out, 120)}: there is no such folder")
    return folder
