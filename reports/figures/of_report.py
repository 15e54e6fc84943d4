"""Which figures a report has: for each set of conditions, from its runs and cost records."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bench.metrics.ratios import ratio
from bench.metrics.uncertainty import Interval
from reports.compute.context import Context
from reports.compute.deployed import beaten, deployed_rows
from reports.compute.groups import Contestant, contestants, groups, told_apart
from reports.compute.kept import Evaluated
from reports.compute.pooling import ENOUGH_SEEDS
from reports.compute.tuned import trials_by_network
from reports.figures import charts as figures
from reports.figures.grid import kept_predictions, qualitative
from reports.figures.learning import curve_of, learning_curves
from reports.figures.pareto import Point, accuracy_against_latency
from reports.figures.reliability import calibration_of, reliability_diagram
from reports.figures.style import MOST
from reports.figures.tuning import sensitivity
from reports.read.costs import cost_of
from reports.read.deployed import Deployed
from reports.read.given import by_run
from reports.read.runs import Run, matrix

PARAMETERS, TIME, MEMORY = "parameters (M)", "forward pass (ms)", "inference memory (MB)"


@dataclass(frozen=True)
class Drawing:
    """A figure with its file name, its caption, and what the page filters it by."""

    name: str
    caption: str
    figure: Figure
    dataset: str
    protocol: str


def drawings(runs: Sequence[Run], context: Context) -> list[Drawing]:
    """Draws every figure for which there is something to draw."""
    found, exported = [], by_run(runs, context.given)
    for number, group in enumerate(groups(runs), start=1):
        config = group[0].config
        dataset, protocol = config["dataset"]["name"], config["protocol"]["name"]
        on = told_apart(group, runs)
        where = f"{dataset}, protocol {protocol}, {f'{on}, ' if on else ''}fingerprint "
        where += group[0].fingerprint
        for name, caption, figure in _of_group(group, context):
            if figure is not None:
                found.append(
                    Drawing(f"{name}-{number}", f"{caption} {where}.", figure, dataset, protocol)
                )
        for name, caption, figure in _deployed(group, exported, context):
            found.append(
                Drawing(f"{name}-{number}", f"{caption} {where}.", figure, dataset, protocol)
            )
    return found


def _deployed(
    group: Sequence[Run], exported: Mapping[Path, Sequence[Deployed]], context: Context
) -> Iterator[tuple[str, str, Figure]]:
    """Yields a figure of what was exported for each setting in which it was timed."""
    settings = deployed_rows(group, exported, context.estimates)
    for place, (setting, rows) in enumerate(settings.items(), start=1):
        lost = beaten(rows, context.estimates)
        points = [
            Point(
                r.network, r.first.title, r.latency, 100 * r.miou.estimate, _percent(r.miou),
                number in lost,
            )
            for number, r in enumerate(rows)
            if r.latency is not None and r.miou is not None and not isnan(r.miou.estimate)
        ]  # fmt: skip
        figure = accuracy_against_latency(points)
        if figure is not None:
            yield (
                f"deployed-{place}",
                "mIoU through the runtime, with its 95 % interval, against the latency of one "
                "image, with its quartiles. Hollow: another is faster, quartiles apart, and more "
                "accurate by a difference that holds over all pairs; a network with fewer than "
                f"{ENOUGH_SEEDS} seeds is beaten by no other. The line: point estimates. "
                f"{', '.join(setting)};",
                figure,
            )


def _of_group(group: Sequence[Run], context: Context) -> list[tuple[str, str, Figure | None]]:
    split = group[0].config["protocol"]["evaluation_splits"][0]
    dataset = _dataset(group)
    ranked = _best(contestants(group), context, split)
    entries = [entry for _, entry in ranked]
    kept = kept_predictions([(one.label, one.runs) for one, _ in ranked], split)
    grid = qualitative(kept, dataset, split)
    more = len(contestants(group)) - len(ranked)
    only = f" The {len(ranked)} networks with the highest mIoU." if more > 0 else ""
    return [
        (
            "accuracy-cost",
            "mIoU, with its 95 % interval, against what a network costs; networks whose intervals "
            f"overlap may not differ.{only}",
            figures.accuracy_against_cost(entries),
        ),
        ("qualitative", *(grid or ("", None))),
        (
            "learning",
            "Training loss, and mIoU where there were several evaluations, over iterations; of the "
            f"lowest seed.{only}",
            learning_curves([(entry.name, entry.curve) for entry in entries]),
        ),
        ("classes", f"Accuracy of each class, {split}.{only}", figures.class_bars(entries)),
        (
            "confusion",
            f"Where the pixels of each class went, {split}.",
            figures.confusion_matrices(entries, dataset["classes"]),
        ),
        (
            "tuning",
            "Validation score of every trial over the values tried; rings: chosen. A flat line is "
            "of a network that forgives the value.",
            sensitivity(trials_by_network(group)),
        ),
        (
            "reliability",
            "How often a network is right where it is so sure (the probability of its class, in 15 "
            f"bins, over the labelled pixels of {split} and all seeds), and how many pixels are "
            f"that. ECE: the mean distance to the dotted diagonal.{only}",
            reliability_diagram(
                [(one.label, calibration_of(_evaluated(one, split))) for one, _ in ranked]
            ),
        ),
        (
            "timing",
            "Samples of the forward pass around their median (their number in parentheses).",
            figures.timing_samples(entries),
        ),
    ]


def _dataset(group: Sequence[Run]) -> dict[str, Any]:
    """Returns the data set of a group, from where it lies here, with all pictures asked for."""
    found = [run.config["dataset"] for run in group]
    here = (d for d in found if d.get("root") is None or Path(d["root"]).is_dir())
    named = dict.fromkeys(name for dataset in found for name in dataset.get("pictures") or ())
    return {**next(here, found[0]), "pictures": list(named)}


def _best(
    found: Sequence[Contestant], context: Context, split: str
) -> list[tuple[Contestant, figures.Entry]]:
    """Returns as many networks as can be told apart, those of the highest mIoU, in their order."""
    entries = [(one, _entry(one, context, split)) for one in found]
    kept = sorted(entries, key=lambda pair: -(pair[1].miou or 0.0))[:MOST]
    names = {entry.name for _, entry in kept}
    return [pair for pair in entries if pair[1].name in names]


def _evaluated(one: Contestant, split: str) -> list[Evaluated]:
    return [(run, e) for run in one.runs if (e := run.evaluation(split, None)) is not None]


def _entry(one: Contestant, context: Context, split: str) -> figures.Entry:
    run = one.first
    seeds = _evaluated(one, split)
    estimates = context.estimates.of(seeds) if seeds else {}
    cost = cost_of(context.costs, run)
    quartiles = cost.quartiles("forward_ms") if cost else None
    parameters = run.network.get("parameters")
    known = {
        PARAMETERS: parameters / 1e6 if parameters else None,
        TIME: quartiles[0] if quartiles else None,
        MEMORY: cost.megabytes("inference") if cost else None,
    }
    return figures.Entry(
        name=one.label,
        miou=100 * estimates["mIoU"].estimate if estimates else None,
        interval=_percent(estimates["mIoU"]) if estimates else None,
        costs={title: value for title, value in known.items() if value is not None},
        curve=curve_of(run, context.estimates.conventions.absent_classes),
        accuracy={
            key.removeprefix("accuracy/"): 100 * estimate.estimate
            for key, estimate in estimates.items()
            if key.startswith("accuracy/")
        },
        confusion=_confusion([matrix(e) for _, e in seeds]),
        samples=cost.samples.get("forward_ms", []) if cost else [],
    )


def _percent(found: Interval) -> tuple[float, float] | None:
    return None if isnan(found.low) else (100 * found.low, 100 * found.high)


def _confusion(matrices: Sequence[NDArray[np.int64]]) -> NDArray[np.float64] | None:
    """Sums matrices (K+1, K+1) and divides each class's row (K, K) by its pixels."""
    if not matrices:
        return None
    counts = np.sum(matrices, axis=0)[:-1]
    return np.nan_to_num(ratio(counts, counts.sum(axis=1, keepdims=True)))[:, :-1]
