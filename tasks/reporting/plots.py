"""The drawings of a report: matplotlib's SVG in the page's own colours, so that one drawing serves light and dark.

Each is drawn narrow, for a phone; a wide page puts several beside one another. Only numbers and our own words are in
them, but for slice names, which are escaped by matplotlib and made visible here.
"""

import io
import re
import textwrap
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from tasks.config import Evaluation
from tasks.reporting.escaping import visible

INKS = {
    "ink": "#111111", "line": "#222222", "tuned": "#333333", "base": "#444444", "champion": "#555555", "human": "#666666",
    "soft": "#777777",
}  # fmt: skip
"""Names of the page's colours -> the stand-ins that matplotlib draws in."""
OF_SYSTEM = {"base": "base", "tuned": "tuned", "champion": "champion", "before": "champion", "human": "human"}
LIGHT = {
    "ink": "#1d2129", "line": "#d4d9e1", "tuned": "#0b62c4", "base": "#a34a00", "champion": "#7a3fb8", "human": "#11713a",
    "soft": "#5b6472",
}  # fmt: skip
"""The page's light colours, for a drawing that stands alone."""
LABELLED = 10
"""Evaluations in the history that have room for a label; of more, evenly spread ones are labelled."""


def score_plot(systems: dict[str, dict[str, Any]], kind: str, order: list[str], labels: Mapping[str, str]) -> Markup:
    """F1 with its interval for every system, floors and ceiling, of one type of ROUGE."""
    names = [_wrapped(labels[name]) for name in order]

    def draw(axes: Any) -> None:
        for place, name in enumerate(order):
            found, ink = systems[name][kind], INKS[OF_SYSTEM.get(name, "soft")]
            axes.plot(found["interval"], [place, place], color=ink, linewidth=2.2, solid_capstyle="round")
            axes.plot([found["f1"]], [place], "o", color=ink, markersize=6)
            axes.annotate(f"{found['f1']:.1f}", (found["interval"][1], place), xytext=(6, 0), textcoords="offset points", va="center", color=INKS["ink"])  # fmt: skip
        axes.set_yticks(range(len(order)), names)
        axes.set_ylim(-0.6, len(order) - 0.4)
        axes.margins(x=0.14)
        axes.grid(axis="x", color=INKS["line"], linewidth=0.5)

    return _svg(draw, 0.6 + 0.32 * len(order) * max(1.0, 0.7 * max(map(_lines, names))), salt=f"score {kind}")


def curve_plot(train: list[tuple[int, float]], validation: list[tuple[int, float]]) -> Markup:
    """Training and validation loss by optimizer step."""

    def draw(axes: Any) -> None:
        axes.plot(*zip(*train, strict=True), color=INKS["tuned"], linewidth=1.2, alpha=0.45, label="training loss")
        if validation:
            axes.plot(*zip(*validation, strict=True), "o-", color=INKS["base"], linewidth=2, markersize=4, label="validation loss")  # fmt: skip
        axes.set_xlabel("optimizer step", color=INKS["ink"])
        axes.grid(axis="y", color=INKS["line"], linewidth=0.5)
        axes.legend(frameon=False, labelcolor=INKS["ink"])

    return _svg(draw, 2.8, salt="curve")


def length_plot(words: dict[str, list[float]], labels: Mapping[str, str]) -> Markup:
    """Histogram of words a summary, one line a system; `human` are the references."""
    most = max(1.0, float(np.percentile(np.concatenate([np.asarray(v) for v in words.values()]), 99)))
    edges = np.linspace(0, np.ceil(most), 26)

    def draw(axes: Any) -> None:
        for name, values in words.items():
            counts, _ = np.histogram(np.minimum(values, edges[-1]), bins=edges)
            label = "references" if name == "human" else _wrapped(labels[name])
            axes.stairs(counts / max(len(values), 1) * 100, edges, color=INKS[OF_SYSTEM[name]], linewidth=1.8, label=label)  # fmt: skip
        axes.set_xlabel("words a summary", color=INKS["ink"])
        axes.set_ylabel("% of summaries", color=INKS["ink"])
        axes.legend(frameon=False, labelcolor=INKS["ink"])
        axes.grid(axis="y", color=INKS["line"], linewidth=0.5)

    return _svg(draw, 2.8, salt="length")


def slice_plot(slices: list[dict[str, Any]], rival: str, kind: str) -> Markup:
    """Paired difference to the rival with its interval, one line a slice."""

    def draw(axes: Any) -> None:
        for place, entry in enumerate(reversed(slices)):
            found = entry["differences"][rival][kind]
            axes.plot(found["interval"], [place, place], color=INKS["tuned"], linewidth=2.2, solid_capstyle="round")
            axes.plot([found["mean"]], [place], "o", color=INKS["tuned"], markersize=5)
        names = [_short(entry["name"]) for entry in reversed(slices)]
        axes.axvline(0, color=INKS["ink"], linewidth=1)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("ROUGE-1 points; right of 0 is better", color=INKS["ink"])
        axes.grid(axis="x", color=INKS["line"], linewidth=0.5)

    return _svg(draw, 0.8 + 0.26 * len(slices), salt="slices")


def history_plot(found: list[Evaluation], standalone: bool = False) -> Markup:
    """ROUGE-1 of every evaluation with its interval, and of the champion it had to beat."""

    def draw(axes: Any) -> None:
        for place, entry in enumerate(found, 1):
            ink = INKS["tuned" if entry.adapter else "base"]
            score = entry.headline.get("tuned", entry.headline["base"])
            axes.plot([place, place], entry.interval, color=ink, linewidth=2.2, solid_capstyle="round")
            mark = {"promoted": "*", "rejected": "x"}.get(entry.decision or "", "o")
            axes.plot([place], [score], mark, color=ink, markersize=10 if mark == "*" else 6)
        against = [(i, e.headline["champion"]) for i, e in enumerate(found, 1) if "champion" in e.headline]
        if against:
            axes.plot(*zip(*against, strict=True), "_", color=INKS["champion"], markersize=14, markeredgewidth=2, label="champion then")  # fmt: skip
            axes.legend(frameon=False, labelcolor=INKS["ink"])
        axes.set_xlabel("date and adapter (star: promoted, cross: rejected)", color=INKS["ink"])
        axes.set_ylabel("ROUGE-1", color=INKS["ink"])
        named = sorted({int(place) for place in np.linspace(1, len(found), min(len(found), LABELLED)).round()})
        labels = [f"{found[place - 1].at[:10]}\n{_short_id(found[place - 1].adapter)}" for place in named]
        axes.set_xticks(named, labels, rotation=90, fontsize=9)
        axes.margins(x=0.1)
        axes.grid(axis="y", color=INKS["line"], linewidth=0.5)

    return _svg(draw, 3.4, salt="history", colours=LIGHT if standalone else None)


def _short_id(adapter: str | None) -> str:
    """`train-1a2b3c4d` -> `1a2b3c4d`, as there is room for."""
    return adapter.removeprefix("train-") if adapter else "base model"


def _wrapped(label: str) -> str:
    """A label on lines that leave room for the drawing."""
    return "\n".join(textwrap.wrap(visible(label), 22)) or label


def _lines(label: str) -> int:
    return label.count("\n") + 1


def _short(text: str) -> str:
    text = visible(text.replace("\n", " "))
    return text if len(text) <= 24 else text[:23] + "…"


def _svg(draw: Callable[[Any], None], height: float, salt: str, colours: dict[str, str] | None = None) -> Markup:
    """One pair of axes as SVG, 4.8 inches wide, `height` inches high; without `colours` in the page's CSS variables."""
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
        figure = Figure(figsize=(4.8, height), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.tick_params(colors=INKS["ink"], length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(INKS["line"])
        file = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Type", "Format"))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from")  # the page's fonts are the browser's
            figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    for name, ink in INKS.items():
        svg = svg.replace(ink, colours[name] if colours else f"var(--{name})")
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # the same in every drawing, and a page has each id once
    return Markup(re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2))  # noqa: S704  # escaped by matplotlib
