"""The figures: matplotlib, readable in print and by the colour-blind, the same bytes every time."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

INK, LINE = "#1a1b1c", "#c9cacb"  # markup.py turns these two into the page's own colours
# Okabe and Ito's colours, told apart by the colour-blind; with a marker each for print in grey.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#a6761d")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MOST = len(COLOURS)
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "segbench",  # makes the ids reproducible
    "font.family": "DejaVu Sans",  # ships with matplotlib
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Entry:
    """What is drawn of one network.

    Attributes:
        name: as displayed.
        miou: percent, or None.
        costs: parameters in millions, ms, MB, by axis title, as far as known.
        losses: per stretch of training: (last iteration, device-seconds since start, mean loss).
        accuracy: percent by class.
        confusion: (K, K) row-normalised, fractions.
        samples: forward times in ms.
    """

    name: str
    miou: float | None = None
    costs: dict[str, float] = field(default_factory=dict)
    losses: Sequence[tuple[int, float, float]] = ()
    accuracy: dict[str, float] = field(default_factory=dict)
    confusion: NDArray[np.float64] | None = None
    samples: Sequence[float] = ()


@contextmanager
def _style() -> Iterator[None]:
    with mpl.rc_context(STYLE):
        yield


def accuracy_against_cost(entries: Sequence[Entry]) -> Figure | None:
    """Draws mIoU over parameters, time and memory; the Pareto front is a line."""
    titles = list(dict.fromkeys(title for entry in entries for title in entry.costs))
    known = [entry for entry in entries if entry.miou is not None and entry.costs]
    if not known:
        return None
    with _style():
        figure = Figure(figsize=(max(4.2 * len(titles), 6.5), 3.4))
        panels = figure.subplots(1, len(titles), squeeze=False, sharey=True)[0]
        for axes, title in zip(panels, titles, strict=True):
            points = [
                (entry.costs[title], entry.miou or 0.0, number)
                for number, entry in enumerate(entries)
                if title in entry.costs and entry.miou is not None
            ]
            for x, y, number in points:
                axes.plot(x, y, **_dot(number), markersize=8, label=entries[number].name)
            front = pareto([(x, y) for x, y, _ in points])
            axes.plot(*zip(*front, strict=True), color=INK, linewidth=1, linestyle=":", zorder=0)
            axes.set(xlabel=title)
            axes.margins(0.12)
        panels[0].set(ylabel="mIoU (%)")
        _legend(figure, panels[0])
    return figure


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns the points that no other beats in cost (lower) and accuracy (higher) at once."""
    front: list[tuple[float, float]] = []
    for cost, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or accuracy > front[-1][1]:
            front.append((cost, accuracy))
    return front


def learning_curves(entries: Sequence[Entry]) -> Figure | None:
    """Draws the training loss over iterations and over seconds on the device."""
    if not any(entry.losses for entry in entries):
        return None
    with _style():
        figure = Figure(figsize=(8.4, 3.2))
        panels = figure.subplots(1, 2, sharey=True)
        for number, entry in enumerate(entries):
            if entry.losses:
                iterations, seconds, losses = zip(*entry.losses, strict=True)
                style = {**_dot(number), "markersize": 4, "linestyle": "-", "linewidth": 1.4}
                style["markevery"] = max(1, len(losses) // 8)
                panels[0].plot(iterations, losses, label=entry.name, **style)
                panels[1].plot(seconds, losses, **style)
        panels[0].set(xlabel="iteration", ylabel="training loss", yscale="log")
        panels[1].set(xlabel="seconds on the device")
        panels[0].yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panels[0].yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        panels[0].yaxis.set_minor_formatter(NullFormatter())
        _legend(figure, panels[0])
    return figure


def class_bars(entries: Sequence[Entry]) -> Figure | None:
    """Draws the accuracy of every class, a bar for each network."""
    shown = [(number, entry) for number, entry in enumerate(entries) if entry.accuracy]
    if not shown:
        return None
    classes = list(dict.fromkeys(name for _, entry in shown for name in entry.accuracy))
    with _style():
        figure = Figure(figsize=(max(8.4, 0.45 * len(classes)), 3.4))
        axes = figure.subplots()
        width = 0.8 / len(shown)
        for place, (number, entry) in enumerate(shown):
            x = np.arange(len(classes)) + (place - (len(shown) - 1) / 2) * width
            heights = [entry.accuracy.get(name, 0.0) for name in classes]
            axes.bar(x, heights, width, color=COLOURS[number % MOST], label=entry.name)
        axes.set_xticks(range(len(classes)), map(_plain, classes), rotation=40, ha="right")
        axes.set(ylabel="class accuracy (%)", ylim=(0, 100))
        axes.grid(axis="x", visible=False)
        _legend(figure, axes)
    return figure


def confusion_matrices(entries: Sequence[Entry], classes: Sequence[str]) -> Figure | None:
    """Draws where the pixels of each class went, in percent of the class."""
    shown = [entry for entry in entries if entry.confusion is not None]
    if not shown:
        return None
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    with _style():
        figure = Figure(figsize=(3.3 * columns + 1, 3.3 * rows + 0.6))
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for axes in panels[len(shown) :]:
            axes.set_visible(False)
        ticks = range(len(classes))
        for axes, entry in zip(panels, shown, strict=False):
            mesh = axes.pcolormesh(
                entry.confusion, cmap="cividis", vmin=0, vmax=1, edgecolors="face"
            )
            axes.set_aspect("equal")
            axes.set_title(_plain(entry.name), fontsize=9)
            axes.set_xticks([t + 0.5 for t in ticks], map(_plain, classes), rotation=90, fontsize=7)
            axes.set_yticks([t + 0.5 for t in ticks], map(_plain, classes), fontsize=7)
            axes.grid(visible=False)
        panels[0].invert_yaxis()
        panels[0].set_ylabel("truth")
        figure.supxlabel("prediction", fontsize=9)
        bar = figure.colorbar(mesh, ax=panels.tolist(), shrink=0.7)
        bar.set_label("share of the class")
    return figure


def timing_samples(entries: Sequence[Entry]) -> Figure | None:
    """Draws every timing sample over its median: a reliable measurement is a narrow band."""
    shown = [(number, entry) for number, entry in enumerate(entries) if entry.samples]
    if not shown:
        return None
    with _style():
        figure = Figure(figsize=(8.4, 0.5 * len(shown) + 1.2))
        axes = figure.subplots()
        for place, (number, entry) in enumerate(shown):
            relative = 100 * (np.asarray(entry.samples) / np.median(entry.samples) - 1)
            style = {**_dot(number), "alpha": 0.35, "markersize": 4}
            axes.plot(relative, np.full(len(relative), place), **style)
        axes.set_yticks(
            range(len(shown)), [f"{_plain(e.name)} ({len(e.samples)})" for _, e in shown]
        )
        axes.set(xlabel="deviation from the median (%)", ylim=(len(shown) - 0.5, -0.5))
    return figure


def svg(figure: Figure) -> bytes:
    """Renders a figure as SVG without date or version, letters as outlines."""
    with _style():
        buffer = io.BytesIO()
        figure.savefig(
            buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True
        )
    return buffer.getvalue()


def png(figure: Figure) -> bytes:
    """Renders a figure as PNG on white, for slides."""
    with _style():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
    return buffer.getvalue()


def _dot(number: int) -> dict[str, Any]:
    return {
        "color": COLOURS[number % MOST],
        "marker": MARKERS[number % MOST],
        "linestyle": "none",
        "markeredgewidth": 0,
    }


def _plain(name: str) -> str:
    """Keeps a dollar sign from starting a formula."""
    return name.replace("$", r"\$")


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        [_plain(text) for text in labels],
        loc="outside upper center",
        ncols=min(3, len(labels)),
        fontsize=8,
    )
