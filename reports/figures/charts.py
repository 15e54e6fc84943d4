"""The charts of networks: accuracy against cost, classes, confusion, timing samples."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reports.figures.learning import Curve
from reports.figures.style import COLOURS, HATCHES, MOST, dot, plain, styled


@dataclass(frozen=True)
class Entry:
    """What is drawn of one network.

    Attributes:
        name: as displayed.
        miou: percent, or None.
        interval: of the mIoU, or None.
        costs: parameters in millions, ms, MB, by axis title, as far as known.
        curve: the course of training.
        accuracy: percent by class.
        confusion: (K, K) row-normalised, fractions.
        samples: forward times in ms.
    """

    name: str
    miou: float | None = None
    interval: tuple[float, float] | None = None
    costs: dict[str, float] = field(default_factory=dict)
    curve: Curve = field(default_factory=Curve)
    accuracy: dict[str, float] = field(default_factory=dict)
    confusion: NDArray[np.float64] | None = None
    samples: Sequence[float] = ()


def accuracy_against_cost(entries: Sequence[Entry]) -> Figure | None:
    """Draws mIoU with its interval over parameters, time and memory.

    None where there are not two networks to be compared.
    """
    titles = list(dict.fromkeys(title for entry in entries for title in entry.costs))
    known = [entry for entry in entries if entry.miou is not None and entry.costs]
    if len(known) < 2:
        return None
    with styled():
        figure = Figure(figsize=(max(4.2 * len(titles), 6.5), 3.4))
        panels = figure.subplots(1, len(titles), squeeze=False, sharey=True)[0]
        for axes, title in zip(panels, titles, strict=True):
            for number, entry in enumerate(entries):
                if title not in entry.costs or entry.miou is None:
                    continue
                x, y = entry.costs[title], entry.miou
                axes.plot(x, y, **dot(number), markersize=8, label=entry.name)
                if entry.interval is not None:
                    axes.vlines(x, *entry.interval, color=dot(number)["color"], linewidth=1.2)
            axes.set(xlabel=title)
            axes.margins(0.12)
        panels[0].set(ylabel="mIoU (%)")
        _legend(figure, panels[0])
    return figure


def class_bars(entries: Sequence[Entry]) -> Figure | None:
    """Draws the accuracy of every class, a bar for each network."""
    shown = [(number, entry) for number, entry in enumerate(entries) if entry.accuracy]
    if not shown:
        return None
    classes = list(dict.fromkeys(name for _, entry in shown for name in entry.accuracy))
    with styled():
        figure = Figure(figsize=(max(8.4, 0.45 * len(classes)), 3.4))
        axes = figure.subplots()
        width = 0.8 / len(shown)
        for place, (number, entry) in enumerate(shown):
            x = np.arange(len(classes)) + (place - (len(shown) - 1) / 2) * width
            heights = [entry.accuracy.get(name, 0.0) for name in classes]
            look: dict[str, Any] = {
                "color": COLOURS[number % MOST],
                "hatch": HATCHES[number % MOST],
                "edgecolor": "white",
                "linewidth": 0,
            }
            axes.bar(x, heights, width, label=entry.name, **look)
        axes.set_xticks(range(len(classes)), map(plain, classes), rotation=40, ha="right")
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
    with styled():
        figure = Figure(figsize=(3.3 * columns + 1, 3.3 * rows + 0.6))
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for axes in panels[len(shown) :]:
            axes.set_visible(False)
        for axes in panels[max(0, len(shown) - columns) : len(shown)]:
            axes.tick_params(labelbottom=True)
        ticks = range(len(classes))
        for axes, entry in zip(panels, shown, strict=False):
            mesh = axes.pcolormesh(
                entry.confusion, cmap="cividis", vmin=0, vmax=1, edgecolors="face"
            )
            axes.set_aspect("equal")
            axes.set_title(plain(entry.name), fontsize=9)
            axes.set_xticks([t + 0.5 for t in ticks], map(plain, classes), rotation=90, fontsize=7)
            axes.set_yticks([t + 0.5 for t in ticks], map(plain, classes), fontsize=7)
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
    with styled():
        figure = Figure(figsize=(8.4, 0.36 * len(shown) + 1.2))
        axes = figure.subplots()
        for place, (number, entry) in enumerate(shown):
            relative = 100 * (np.asarray(entry.samples) / np.median(entry.samples) - 1)
            style = {**dot(number), "alpha": 0.35, "markersize": 4}
            axes.plot(relative, np.full(len(relative), place), **style)
        axes.set_yticks(
            range(len(shown)), [f"{plain(e.name)} ({len(e.samples)})" for _, e in shown]
        )
        axes.set(xlabel="deviation from the median (%)", ylim=(len(shown) - 0.5, -0.5))
    return figure


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        [plain(text) for text in labels],
        loc="outside upper center",
        ncols=min(3, len(labels)),
        fontsize=8,
    )
