"""The score of every trial over the values tried: how sensitive a network is to them."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.tuning.schema import flat
from reports.figures.style import INK, MOST, dot, plain, styled
from reports.read.tuning import Trials

PANEL = 4.6  # inches


def sensitivity(networks: Mapping[str, Trials]) -> Figure | None:
    """Draws a panel for each key: the validation score of every trial, chosen ones ringed.

    Trials that diverged stand as crosses below the axis of scores. Where several keys were tried, a
    point has the other keys' values too, so that points are not joined.

    Args:
        networks: the trials of each, by its name.
    """
    shown = dict(list(networks.items())[:MOST])
    if not shown:
        return None
    tuning = next(iter(shown.values())).tuning
    space = flat(tuning.space)
    with styled():
        figure = Figure(figsize=(max(8.4, PANEL * len(space)), 4.0))
        panels = figure.subplots(1, len(space), squeeze=False, sharey=True)[0]
        for axes, (key, entry) in zip(panels, space.items(), strict=True):
            for number, trials in enumerate(shown.values()):
                _draw(axes, number, trials, key, joined=len(space) == 1)
            if (isinstance(entry, Mapping) and entry.get("log")) or isinstance(entry, list):
                axes.set_xscale("log" if _is_positive(shown, key) else "linear")
            axes.set(xlabel=key)
            axes.margins(x=0.06)
        panels[0].set(ylabel=f"{tuning.criterion}, {tuning.select_on} (%)")
        lost = any(t.scores[tuning.criterion] is None for one in shown.values() for t in one.tried)
        _legend(figure, list(shown), lost=lost)
    return figure


def _is_positive(networks: Mapping[str, Trials], key: str) -> bool:
    return all(t.values[key] > 0 for trials in networks.values() for t in trials.tried)


def _draw(axes: Axes, number: int, trials: Trials, key: str, *, joined: bool) -> None:
    """Draws the trials of one network over one key."""
    by, look = trials.tuning.criterion, dot(number)
    points = sorted(
        (trial.values[key], 100 * score)
        for trial in trials.tried
        if (score := trial.scores[by]) is not None
    )
    style = {**look, "linestyle": "-" if joined else "none", "linewidth": 1.2, "markersize": 5}
    axes.plot(*zip(*points, strict=True), **style)
    best = trials.tried[trials.chosen]
    score = best.scores[by]
    assert score is not None
    ring = {**look, "markersize": 11, "markerfacecolor": "none", "markeredgewidth": 1.6}
    axes.plot(best.values[key], 100 * score, **{**ring, "markeredgecolor": look["color"]})
    lost = [trial.values[key] for trial in trials.tried if trial.scores[by] is None]
    below = axes.get_xaxis_transform()
    cross = {"color": look["color"], "marker": "x", "linestyle": "none", "clip_on": False}
    # One line for each network, so that crosses at one value stay apart.
    axes.plot(lost, [0.015 + 0.035 * number] * len(lost), transform=below, **cross)


def _legend(figure: Figure, names: list[str], *, lost: bool) -> None:
    handles = [
        Line2D([], [], **{**dot(number), "linestyle": "-"}, label=plain(name))
        for number, name in enumerate(names)
    ]
    ring: dict[str, Any] = {"markersize": 9, "markerfacecolor": "none", "markeredgewidth": 1.6}
    handles.append(Line2D([], [], color=INK, marker="o", linestyle="none", label="chosen", **ring))
    if lost:
        handles.append(Line2D([], [], color=INK, marker="x", linestyle="none", label="diverged"))
    figure.legend(
        handles=handles, loc="outside upper center", ncols=min(4, len(handles)), fontsize=8
    )
