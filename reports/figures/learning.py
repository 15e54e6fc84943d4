"""How training went: loss and scores by iteration, from records.

Not by time: seconds of training are those of a machine that may have done other work meanwhile.
What a network costs is measured apart, and has tables of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from bench.metrics.regions import MeanRule, mean_iou
from reports.figures.style import INK, dot, plain, styled
from reports.read.losses import read_losses
from reports.read.runs import Run, matrix

POINTS = 60  # of the loss curve of a finished run; each the mean of equally many iterations
LOGARITHMIC_SPAN = 5.0  # the ratio of largest to smallest loss from which an axis is logarithmic
VALIDATION = "validation"

Point = tuple[int, float]  # iteration, value


@dataclass(frozen=True)
class Curve:
    """What is known of one run's course.

    Attributes:
        losses: the mean loss of equal stretches of training, by their last iterations.
        scores: mIoU in percent of every evaluation, under `validation` and the reported split.
    """

    losses: list[Point] = field(default_factory=list)
    scores: dict[str, list[Point]] = field(default_factory=dict)


Curves = Sequence[tuple[str, Curve]]  # with the names of the networks


def curve_of(run: Run, absent_classes: MeanRule) -> Curve:
    """Reads the course of a run; one that only post-processes another has none of its own.

    Stretches are equally long whatever the lines of the record hold, so that neither a resumed run
    nor a slow machine, which write shorter lines, shows as a step or as more noise.
    """
    if any(evaluation.get("variant") for evaluation in run.evaluations):
        return Curve()
    lines = [line for line in read_losses(run.folder) if line["losses"]]
    if not lines:
        return Curve(scores=_scores(run, absent_classes))
    iterations = np.concatenate([line["first"] + np.arange(len(line["losses"])) for line in lines])
    losses = np.concatenate([line["losses"] for line in lines])
    length = -(-run.config["max_iterations"] // POINTS)
    ends = np.arange(length, len(losses), length)
    if len(ends) and len(losses) - ends[-1] < length / 2:  # the last one would be mostly noise
        ends = ends[:-1]
    stretches = np.split(np.arange(len(losses)), ends)
    means = [(int(iterations[part[-1]]), float(losses[part].mean())) for part in stretches]
    return Curve(means, _scores(run, absent_classes))


def _scores(run: Run, absent_classes: MeanRule) -> dict[str, list[Point]]:
    protocol = run.config["protocol"]
    splits = {protocol["evaluation_splits"][0]: protocol["evaluation_splits"][0]}
    if protocol["validation"]["every"] is not None:
        splits[protocol["validation"]["split"]] = VALIDATION
    scores: dict[str, list[Point]] = {}
    for evaluation in sorted(run.evaluations, key=lambda e: e["iteration"]):
        if evaluation["split"] in splits:
            score = 100 * float(mean_iou(matrix(evaluation), absent_classes))
            scores.setdefault(splits[evaluation["split"]], []).append(
                (evaluation["iteration"], score)
            )
    return scores


def learning_curves(curves: Curves) -> Figure | None:
    """Draws training loss, and beside it the mIoU of evaluations, over iterations.

    Scores are drawn where one network at least has several; tables hold single ones better.
    """
    rows = ["losses"] if any(curve.losses for _, curve in curves) else []
    scores = [points for _, curve in curves for points in curve.scores.values()]
    rows += ["scores"] if any(len(points) > 1 for points in scores) else []
    if not rows:
        return None
    with styled():
        figure = Figure(figsize=(8.4, 4.0))
        panels = figure.subplots(1, len(rows), squeeze=False)[0]
        for number, (_, curve) in enumerate(curves):
            for row, axes in zip(rows, panels, strict=True):
                for kind, points in _lines(curve, row).items():
                    iterations, values = np.array(points).T
                    style = {**dot(number), **_line_style(kind, len(points))}
                    axes.plot(iterations, values, **style)
        for row, axes in zip(rows, panels, strict=True):
            axes.set(xlabel="iteration", ylabel="training loss" if row == "losses" else "mIoU (%)")
            axes.set_xlim(left=0)
            if row == "losses":
                _scale([loss for _, curve in curves for _, loss in curve.losses], axes)
        _legend(figure, curves, scores="scores" in rows)
    return figure


def _lines(curve: Curve, row: str) -> dict[str, list[Point]]:
    return curve.scores if row == "scores" else {"losses": curve.losses} if curve.losses else {}


def _line_style(kind: str, points: int) -> dict[str, Any]:
    """Losses and validations are lines, with some or all of their points; other splits dashed."""
    if kind == "losses":
        return {"markersize": 4, "linestyle": "-", "markevery": max(1, points // 8)}
    if kind == VALIDATION:
        return {"markersize": 4, "linestyle": "-"}
    return {"markersize": 6, "linestyle": ":", "markerfacecolor": "none", "markeredgewidth": 1.4}


def _scale(losses: Sequence[float], axes: Axes) -> None:
    """Makes an axis logarithmic where the losses span so much that it shows more."""
    if min(losses) > 0 and max(losses) > LOGARITHMIC_SPAN * min(losses):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


def _legend(figure: Figure, curves: Curves, *, scores: bool) -> None:
    """Names the networks, and below them what solid and dashed lines of scores mean."""
    shown = [(n, *one) for n, one in enumerate(curves) if one[1].losses or one[1].scores]
    handles = [
        Line2D([], [], **{**dot(number), "linestyle": "-"}, label=plain(name))
        for number, name, _ in shown
    ]
    kinds = dict.fromkeys(kind for *_, curve in shown for kind in curve.scores if scores)
    handles += [
        Line2D([], [], color=INK, marker="o", **_line_style(kind, 1), label=f"mIoU, {kind}")
        for kind in sorted(kinds, reverse=True)
    ]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=min(3, len(handles)), fontsize=8
    )
