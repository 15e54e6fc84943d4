"""Is a network as often right as it is sure? Accuracy over confidence, from its evidence."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bench.metrics.calibration import expected_calibration_error, reliability
from reports.compute.kept import Evaluated
from reports.compute.resamples import evidence_of
from reports.figures.style import INK, dot, plain, styled

Counts = NDArray[np.integer]  # (15, 3), see bench.metrics.calibration


def calibration_of(seeds: Sequence[Evaluated]) -> Counts | None:
    """Sums up the confidences of the seeds of a network; None where they were not counted."""
    found = [evidence_of(run.folder, evaluation) for run, evaluation in seeds]
    counts = [e.calibration.sum(axis=0) for e in found if e and e.calibration is not None]
    if not counts:
        return None
    total = np.stack(counts).sum(axis=0, dtype=np.int64)
    return total if total[:, 0].any() else None


def reliability_diagram(networks: Sequence[tuple[str, Counts | None]]) -> Figure | None:
    """Draws accuracy over confidence, and below it the share of the pixels in each bin.

    A network on the diagonal is calibrated; below it, it is too sure of itself.
    """
    shown = [(n, name, counts) for n, (name, counts) in enumerate(networks) if counts is not None]
    if not shown:
        return None
    with styled():
        figure = Figure(figsize=(6.4, 5.6))
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        above.plot([0, 100], [0, 100], color=INK, linewidth=0.8, linestyle=":")
        for number, name, counts in shown:
            sure, right, share = (100 * values for values in reliability(counts))
            error = 100 * expected_calibration_error(counts)
            look = {**dot(number), "linestyle": "-", "markersize": 4}
            above.plot(sure, right, label=f"{plain(name)}, ECE {error:.1f} %", **look)
            below.plot(sure, share, **look)
        above.set(ylabel="right (%)", ylim=(0, 100), xlim=(0, 100))
        below.set(xlabel="confidence (%)", ylabel="pixels (%)", ylim=(0, None))
        figure.legend(loc="outside upper center", ncols=2, fontsize=8)
    return figure
