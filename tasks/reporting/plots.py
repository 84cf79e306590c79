"""The plots of a report: SVG by matplotlib in the page's own colours, so that one plot serves light and dark mode.

Each is drawn narrow, for a phone; a wide page shows several side by side. They contain numbers and our own words only,
except for slice names, which matplotlib escapes and `visible` makes safe.
"""

import io
import re
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from tasks.config import Evaluation
from tasks.metrics.score_table import HEADLINE_LABEL, HEADLINE_TYPE, System
from tasks.metrics.scores import RougeScore, SliceScores
from tasks.reporting.escaping import visible

PLACEHOLDER_COLOURS = {
    "ink": "#111111",
    "line": "#222222",
    "tuned": "#333333",
    "base": "#444444",
    "champion": "#555555",
    "human": "#666666",
    "soft": "#777777",
}
"""Name of a colour of the page -> what matplotlib draws instead; replaced in the SVG."""
SYSTEM_COLOUR: dict[str, str] = {
    System.BASE: "base",
    System.TUNED: "tuned",
    System.CHAMPION: "champion",
    System.PREVIOUS: "champion",
    System.HUMAN: "human",
}
LIGHT_COLOURS = {
    "ink": "#1d2129",
    "line": "#d4d9e1",
    "tuned": "#0b62c4",
    "base": "#a34a00",
    "champion": "#7a3fb8",
    "human": "#11713a",
    "soft": "#5b6472",
}
"""The page's colours in light mode, for a plot outside of a report."""
MAX_HISTORY_LABELS = 10
"""Evaluations in the history plot that have a label; of more, evenly spread ones are labelled."""
INK, LINE = PLACEHOLDER_COLOURS["ink"], PLACEHOLDER_COLOURS["line"]


def score_plot(
    systems: Mapping[str, Mapping[str, RougeScore]], rouge_type: str, order: Sequence[str], labels: Mapping[str, str]
) -> Markup:
    """F1 of every system with its interval, of one ROUGE type."""
    names = [wrapped(labels[name]) for name in order]

    def draw(axes: Any) -> None:
        for y, name in enumerate(order):
            score, colour = systems[name][rouge_type], PLACEHOLDER_COLOURS[SYSTEM_COLOUR.get(name, "soft")]
            axes.plot(score.interval, [y, y], color=colour, linewidth=2.2, solid_capstyle="round")
            axes.plot([score.f1], [y], "o", color=colour, markersize=6)
            right = (score.interval[1], y)
            axes.annotate(f"{score.f1:.1f}", right, xytext=(6, 0), textcoords="offset points", va="center", color=INK)
        axes.set_yticks(range(len(order)), names)
        axes.set_ylim(-0.6, len(order) - 0.4)
        axes.margins(x=0.14)
        axes.grid(axis="x", color=LINE, linewidth=0.5)

    height = 0.6 + 0.32 * len(order) * max(1.0, 0.7 * max(map(_line_count, names)))
    return svg_of(draw, height, salt=f"score {rouge_type}")


def curve_plot(train: list[tuple[int, float]], validation: list[tuple[int, float]]) -> Markup:
    """Training and validation loss by optimizer step."""

    def draw(axes: Any) -> None:
        style: dict[str, Any] = {"color": PLACEHOLDER_COLOURS["tuned"], "linewidth": 1.2, "alpha": 0.45}
        axes.plot(*zip(*train, strict=True), **style, label="training loss")
        if validation:
            style = {"color": PLACEHOLDER_COLOURS["base"], "linewidth": 2, "markersize": 4}
            axes.plot(*zip(*validation, strict=True), "o-", **style, label="validation loss")
        axes.set_xlabel("optimizer step", color=INK)
        axes.grid(axis="y", color=LINE, linewidth=0.5)
        axes.legend(frameon=False, labelcolor=INK)

    return svg_of(draw, 2.8, salt="curve")


def length_plot(words: Mapping[str, Sequence[float]], labels: Mapping[str, str]) -> Markup:
    """Histogram of words per summary, one line per system; `human` are the references."""
    longest = max(1.0, float(np.percentile(np.concatenate([np.asarray(v) for v in words.values()]), 99)))
    edges = np.linspace(0, np.ceil(longest), 26)

    def draw(axes: Any) -> None:
        for name, values in words.items():
            counts, _ = np.histogram(np.minimum(values, edges[-1]), bins=edges)
            label = "references" if name == System.HUMAN else wrapped(labels[name])
            colour = PLACEHOLDER_COLOURS[SYSTEM_COLOUR[name]]
            axes.stairs(counts / max(len(values), 1) * 100, edges, color=colour, linewidth=1.8, label=label)
        axes.set_xlabel("words per summary", color=INK)
        axes.set_ylabel("% of summaries", color=INK)
        axes.legend(frameon=False, labelcolor=INK)
        axes.grid(axis="y", color=LINE, linewidth=0.5)

    return svg_of(draw, 2.8, salt="length")


def slice_plot(slices: Sequence[SliceScores], compared: str) -> Markup:
    """Paired difference to the compared system with its interval, one line per slice."""
    colour = PLACEHOLDER_COLOURS["tuned"]

    def draw(axes: Any) -> None:
        for y, entry in enumerate(reversed(slices)):
            difference = entry.differences[compared][HEADLINE_TYPE]
            axes.plot(difference.interval, [y, y], color=colour, linewidth=2.2, solid_capstyle="round")
            axes.plot([difference.mean], [y], "o", color=colour, markersize=5)
        names = [_shortened(entry.name) for entry in reversed(slices)]
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel(f"{HEADLINE_LABEL} points; right of 0 is better", color=INK)
        axes.grid(axis="x", color=LINE, linewidth=0.5)

    return svg_of(draw, 0.8 + 0.26 * len(slices), salt="slices")


def history_plot(evaluations: Sequence[Evaluation], standalone: bool = False) -> Markup:
    """ROUGE-1 of every evaluation with its interval, and of the champion at that time.

    standalone: in fixed colours, for a file of its own.
    """

    def draw(axes: Any) -> None:
        for x, entry in enumerate(evaluations, 1):
            colour = PLACEHOLDER_COLOURS["tuned" if entry.adapter else "base"]
            score = entry.headline.get(System.TUNED, entry.headline[System.BASE])
            axes.plot([x, x], entry.interval, color=colour, linewidth=2.2, solid_capstyle="round")
            marker = {"promoted": "*", "rejected": "x"}.get(entry.decision or "", "o")
            axes.plot([x], [score], marker, color=colour, markersize=10 if marker == "*" else 6)
        champions = [
            (x, entry.headline[System.CHAMPION])
            for x, entry in enumerate(evaluations, 1)
            if System.CHAMPION in entry.headline
        ]
        if champions:
            style = {"color": PLACEHOLDER_COLOURS["champion"], "markersize": 14, "markeredgewidth": 2}
            axes.plot(*zip(*champions, strict=True), "_", **style, label="champion at the time")
            axes.legend(frameon=False, labelcolor=INK)
        axes.set_xlabel("date and adapter (star: promoted, cross: rejected)", color=INK)
        axes.set_ylabel(HEADLINE_LABEL, color=INK)
        count = len(evaluations)
        labelled = sorted({int(x) for x in np.linspace(1, count, min(count, MAX_HISTORY_LABELS)).round()})
        labels = [f"{evaluations[x - 1].at[:10]}\n{_short_id(evaluations[x - 1].adapter)}" for x in labelled]
        axes.set_xticks(labelled, labels, rotation=90, fontsize=9)
        axes.margins(x=0.1)
        axes.grid(axis="y", color=LINE, linewidth=0.5)

    return svg_of(draw, 3.4, salt="history", colours=LIGHT_COLOURS if standalone else None)


def _short_id(adapter: str | None) -> str:
    """`train-1a2b3c4d` -> `1a2b3c4d`."""
    return adapter.removeprefix("train-") if adapter else "base model"


def wrapped(label: str, characters: int = 22) -> str:
    """A label broken into lines that leave room for the plot."""
    return "\n".join(textwrap.wrap(visible(label), characters)) or label


def _line_count(label: str) -> int:
    return label.count("\n") + 1


def _shortened(text: str) -> str:
    text = visible(text.replace("\n", " "))
    return text if len(text) <= 24 else text[:23] + "…"


def svg_of(
    draw: Callable[[Any], None], height: float, salt: str, colours: dict[str, str] | None = None, width: float = 4.8
) -> Markup:
    """Axes as SVG, `width` and `height` in inches; without `colours`, in CSS variables of the page."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
        "font.family": "sans-serif",
        "font.size": 12,
        "text.parse_math": False,
    }
    with rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.tick_params(colors=INK, length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(LINE)
        file = io.StringIO()
        no_metadata = dict.fromkeys(("Date", "Creator", "Type", "Format"))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from")  # the browser has fonts of its own
            figure.savefig(file, format="svg", transparent=True, metadata=no_metadata)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    for name, placeholder in PLACEHOLDER_COLOURS.items():
        svg = svg.replace(placeholder, colours[name] if colours else f"var(--{name})")
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # equal in all plots, but an id must be unique in a page
    return Markup(re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2))  # noqa: S704  # escaped by matplotlib
