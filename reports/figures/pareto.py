"""Accuracy against latency of what was exported, and which of it another one beats in both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from reports.compute.deployed import highest
from reports.figures.style import COLOURS, INK, MARKERS, MOST, plain, styled

FILLED: dict[str, Any] = {
    "markersize": 8, "markeredgecolor": "white", "markeredgewidth": 0.6
}  # fmt: skip
HOLLOW: dict[str, Any] = {"markersize": 7, "markerfacecolor": "none", "markeredgewidth": 1.4}


@dataclass(frozen=True)
class Point:
    """A row of the table "as deployed".

    Attributes:
        network: which gives the colour.
        kind: runtime and precision, which give the marker.
        latency: median, lower and upper quartile in ms.
        miou: percent.
        interval: of the mIoU.
        is_beaten: whether another is faster and more accurate, and the difference holds.
    """

    network: str
    kind: str
    latency: tuple[float, float | None, float | None]
    miou: float
    interval: tuple[float, float] | None
    is_beaten: bool = False


def accuracy_against_latency(points: Sequence[Point]) -> Figure | None:
    """Draws all points, hollow what is beaten; None for fewer than two.

    A line joins the highest mIoU at each latency, by point estimates.
    """
    if len(points) < 2:
        return None
    networks = list(dict.fromkeys(point.network for point in points))
    kinds = list(dict.fromkeys(point.kind for point in points))
    with styled():
        figure = Figure(figsize=(8.4, 4.4))
        axes = figure.subplots()
        places = [(point.latency[0], point.miou) for point in points]
        front = [places[place] for place in highest(places)]
        axes.step(*zip(*front, strict=True), where="post", color=INK, linewidth=0.9, zorder=1)
        for point in points:
            _draw(axes, point, networks.index(point.network), kinds.index(point.kind))
        axes.set(xscale="log", xlabel="latency of one image (ms)", ylabel="mIoU (%)")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.margins(0.08)
        _legends(figure, networks, kinds, beaten=any(point.is_beaten for point in points))
    return figure


def _draw(axes: Axes, point: Point, network: int, kind: int) -> None:
    colour = COLOURS[network % MOST]
    x, lower, upper = point.latency
    if point.interval is not None:
        axes.vlines(x, *point.interval, color=colour, linewidth=0.8, alpha=0.5)
    if lower is not None and upper is not None:
        axes.hlines(point.miou, lower, upper, color=colour, linewidth=0.8, alpha=0.5)
    axes.plot(
        x, point.miou, color=colour, marker=MARKERS[kind % MOST], linestyle="none",
        **(HOLLOW if point.is_beaten else FILLED),
    )  # fmt: skip


def _legends(
    figure: Figure, networks: Sequence[str], kinds: Sequence[str], *, beaten: bool
) -> None:
    look: dict[str, Any] = {"linestyle": "none", "markersize": 7}
    colours = [
        Line2D([], [], color=COLOURS[number % MOST], marker="s", label=plain(name), **look)
        for number, name in enumerate(networks)
    ]
    markers = [
        Line2D([], [], color=INK, marker=MARKERS[number % MOST], label=plain(name), **look)
        for number, name in enumerate(kinds)
    ]
    if beaten:
        hollow = look | HOLLOW | {"markersize": 7}
        markers.append(Line2D([], [], color=INK, marker="o", label="beaten in both", **hollow))
    label = "highest mIoU so far,\nby point estimates"
    markers.append(Line2D([], [], color=INK, linewidth=0.9, label=label))
    figure.legend(handles=colours, loc="outside right upper", fontsize=8, title="network")
    figure.legend(handles=markers, loc="outside right lower", fontsize=8, title="runtime")
