"""Figures of the report: pure functions from arrays to inline SVG.

Colours are written as the page's CSS variables, so that one drawing reads in light and in dark. Text stays text: it takes
the page's font and can be read aloud.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from paws.data.texts import one_line
from paws.metrics import Bin
from paws.report.contents import Evaluated, MethodBar

# Stand-ins drawn by matplotlib -> what the page paints them with. Matplotlib never uses these greys by itself.
INK, SOFT, LINE, ACCENT, PAPER, SECOND = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606"
PAINT = {INK: "--ink", SOFT: "--soft", LINE: "--line", ACCENT: "--accent", PAPER: "--card", SECOND: "--second"}
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "paws",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
}
MATRIX_CLASSES = 24  # more do not fit a screen


def curve(rows: Sequence[dict[str, Any]], names: Sequence[str], *, log: bool = False) -> str:
    """Metrics ``names`` over the step, a line for each head; a row without a metric is passed over."""
    figure, axes = _axes(3.5, 2.2)
    colours = (ACCENT, SECOND, SOFT, INK)
    heads = list(dict.fromkeys(row.get("head") for row in rows))  # of an ensemble: each was trained by itself
    for name, colour in zip(names, colours, strict=False):
        for head in heads:
            own = [row for row in rows if row.get("head") == head and isinstance(row.get(name), int | float)]
            if own:
                x, y = [row["step"] for row in own], [row[name] for row in own]
                label = name.replace("_", " ") if head == heads[0] else None
                axes.plot(
                    x, y, color=colour, linewidth=1.6 / len(heads) ** 0.3, marker="o" if len(x) == 1 else None, label=label
                )
    if log:
        axes.set_yscale("log")
    axes.grid(axis="y")
    axes.set_xlabel("step")
    if len(names) > 1:
        axes.legend(loc="best", fontsize=8, labelcolor=SOFT, frameon=False)
    return _svg(figure)


def comparison(bars: Sequence[MethodBar]) -> str:
    """Each method's share right as a dot on a line, with its 95 % interval; the one in use in the accent colour."""
    figure, axes = _axes(4.4, 0.55 + 0.36 * len(bars))
    for y, bar in enumerate(reversed(bars)):
        colour = ACCENT if bar.chosen else SOFT
        if bar.interval is not None:
            low, high = (100 * end for end in bar.interval)
            axes.plot([low, high], [y, y], color=colour, linewidth=5, alpha=0.3, solid_capstyle="round")
        axes.plot([100 * bar.accuracy], [y], "o", color=colour, markersize=7)
        if bar.test is not None:
            axes.plot([100 * bar.test], [y], "D", color=INK, markersize=4)
    axes.set_yticks(range(len(bars)), [bar.method for bar in reversed(bars)], color=INK)
    axes.set_ylim(-0.6, len(bars) - 0.4)
    axes.grid(axis="x")
    axes.set_xlabel("right, %")
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    return _svg(figure)


def reliability(bins: Sequence[Bin], threshold: float | None = None) -> str:
    """How often predictions of each confidence are right, a bar for each bin."""
    total = sum(b.count for b in bins)
    figure, axes = _axes(4.4, 3.3)
    axes.plot([0, 1], [0, 1], color=LINE, linewidth=1, linestyle="--")
    for b in bins:
        alpha = 0.25 + 0.75 * min(1, 2 * b.count / total)
        axes.bar((b.low + b.high) / 2, b.accuracy, 0.9 * (b.high - b.low), color=ACCENT, alpha=alpha)
        axes.plot([b.confidence, b.confidence], [b.confidence, b.accuracy], color=INK, linewidth=1)
    if threshold is not None and threshold <= 1:
        axes.axvline(threshold, color=INK, linewidth=1, linestyle=":")
        axes.text(threshold - 0.015, 1.03, "abstains below", ha="right", fontsize=8, color=SOFT)
    axes.set(xlim=(0, 1), ylim=(0, 1.08), xlabel="probability the model states", ylabel="share that is right")
    axes.grid(axis="y")
    return _svg(figure)


def confusion_matrix(evaluated: Evaluated, num_classes: int) -> np.ndarray:
    """Counts (C, C): rows are the true classes, columns the predicted ones."""
    cells = evaluated.truth * num_classes + evaluated.predicted
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def confusion(counts: np.ndarray, names: Sequence[str]) -> str:
    """The matrix (C, C) of counts as tinted cells, each row by its share; of many classes those with most mistakes."""
    rows = list(range(len(counts)))
    if len(rows) > MATRIX_CLASSES:
        mistakes = counts.sum(0) + counts.sum(1) - 2 * counts.diagonal()
        rows = sorted(np.argsort(-mistakes, kind="stable")[:MATRIX_CLASSES].tolist())
    share = counts / np.maximum(1, counts.sum(1, keepdims=True))
    height = max(2.6, 1.4 + 0.3 * len(rows))
    figure, axes = _axes(max(4.4, height), height)
    for y, row in enumerate(rows):
        for x, column in enumerate(rows):
            if counts[row, column]:
                tint = float(share[row, column])
                axes.add_patch(Rectangle((x - 0.47, y - 0.47), 0.94, 0.94, facecolor=ACCENT, alpha=0.06 + 0.94 * tint))
                if len(rows) <= 12:
                    colour = PAPER if tint > 0.55 else INK
                    axes.text(x, y, str(counts[row, column]), ha="center", va="center", fontsize=7.5, color=colour)
    labels = [shortened(names[row]) for row in rows]
    axes.set_xticks(range(len(rows)), labels, rotation=90 if max(map(len, labels)) > 2 else 0)
    axes.set_yticks(range(len(rows)), labels)
    axes.set(xlim=(-0.5, len(rows) - 0.5), ylim=(len(rows) - 0.5, -0.5), xlabel="predicted", ylabel="true", aspect="equal")
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    return _svg(figure)


def shortened(name: str, length: int = 16) -> str:
    """A class name that fits an axis; a dollar sign stays one, and begins no formula."""
    name = one_line(name)
    return (name if len(name) <= length else name[: length - 1] + "…").replace("$", r"\$")


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        return figure, figure.add_subplot()


def _svg(figure: Figure) -> str:
    """The figure as an <svg> element without size, date or font, painted with the page's variables."""
    text = io.StringIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the page's fonts draw it
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(?<=<svg)[^>]*?(viewBox="[^"]*")[^>]*', r' aria-hidden="true" \1', svg, count=1)
    svg = re.sub(r" font-family: [^;\"]*;|xlink:|<defs>\s*</defs>", "", svg)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    for colour, variable in PAINT.items():
        svg = svg.replace(colour, f"var({variable})")
    mark = hashlib.sha256(svg.encode()).hexdigest()[:8]  # ids of several figures on one page must differ
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>f{mark}", svg)
    return re.sub(r"\s*\n\s*", " ", svg)
