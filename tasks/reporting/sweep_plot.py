"""The plot of a sweep: the score of every trial with its interval, the best at the top."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tasks.metrics.scores import Interval
from tasks.reporting.plots import INK, LIGHT_COLOURS, LINE, PLACEHOLDER_COLOURS, svg_of, wrapped

MOST = 40
"""Trials in a plot; of more, the best are shown."""


@dataclass(frozen=True)
class PlottedTrial:
    """A complete trial."""

    label: str
    score: float
    interval: Interval
    reference: bool
    """Whether it is the recipe as it is."""


def sweep_plot(best_first: Sequence[PlottedTrial], measure: str, expected: float | None) -> Markup:
    """F1 x 100 of every trial with its interval, in fixed colours for a file of its own.

    measure: label of the axis. expected: what to expect of the best trial on other dialogues; shown as a hollow dot.
    """
    shown = list(reversed(best_first[:MOST]))
    labels = [wrapped(trial.label, 44) for trial in shown]

    def draw(axes: Any) -> None:
        for y, trial in enumerate(shown):
            colour = PLACEHOLDER_COLOURS["base" if trial.reference else "tuned"]
            axes.plot(trial.interval, [y, y], color=colour, linewidth=2.2, solid_capstyle="round")
            axes.plot([trial.score], [y], "o", color=colour, markersize=6)
        top = len(shown) - 1
        if expected is not None:
            style = {"markerfacecolor": "none", "markeredgecolor": INK, "markersize": 8, "linestyle": "none"}
            axes.plot([expected], [top], "o", **style, label="the best, as expected on other dialogues")
        if any(trial.reference for trial in shown):
            axes.plot([], [], "o-", color=PLACEHOLDER_COLOURS["base"], label="the recipe as it is")
        axes.set_yticks(range(len(shown)), labels)
        axes.set_ylim(-0.6, top + 0.6)
        more = f"; the best {MOST} of {len(best_first)}" if len(best_first) > MOST else ""
        axes.set_xlabel(f"{measure} on validation, 95 % interval{more}", color=INK)
        axes.grid(axis="x", color=LINE, linewidth=0.5)
        if axes.get_legend_handles_labels()[0]:
            axes.figure.legend(loc="outside lower center", frameon=False, labelcolor=INK, fontsize=10)

    lines = max(label.count("\n") + 1 for label in labels)
    return svg_of(draw, 1.4 + (0.12 + 0.2 * lines) * len(labels), salt="sweep", colours=LIGHT_COLOURS, width=8.0)
