"""BF, the boundary F1 measure: boundary pixels counted per image and class, and F1 from the counts.

Boundaries are those of the authors' script (computeBFmeasure.m with seg2bdry): a pixel belongs to
the boundary of class c where the 2x2 block to its right and below, clipped to the image, lies
partly inside c and partly outside. The image border alone is never a boundary. Two readings of
"matched within the tolerance" are kept side by side:

one_to_one: a boundary pixel serves one partner only. The authors call the randomised BSDS matcher;
    here it is the exact maximum matching, which that matcher approaches from below.
tolerance: a boundary pixel counts as soon as any boundary pixel of the other map is near (Csurka et
    al., BMVC 2013). Never below one_to_one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import floor, isqrt
from typing import Literal, assert_never, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

from bench.metrics.ratios import FloatArray, mean_defined, ratio

Matching = Literal["one_to_one", "tolerance"]
BoundaryClasses = Literal["ground_truth", "union"]
VoidRule = Literal["ignore_nothing", "mask_prediction"]
MATCHINGS: tuple[Matching, ...] = get_args(Matching)
BOUNDARY_CLASSES: tuple[BoundaryClasses, ...] = get_args(BoundaryClasses)
VOID_RULES: tuple[VoidRule, ...] = get_args(VoidRule)

TOLERANCE = 0.0075  # of the image diagonal (paper, section 3.3): 4.5 pixels at 360x480


def boundary_counts(
    prediction: NDArray[np.integer],
    label: NDArray[np.integer],
    *,
    num_classes: int,
    tolerance: float = TOLERANCE,
    void_rule: VoidRule = "ignore_nothing",
) -> NDArray[np.int32]:
    """Counts the boundary pixels of every class and how many of them agree, in both readings.

    Args:
        prediction: (H, W); values outside 0..K-1 belong to no class.
        label: (H, W), likewise: void is whatever is not a class.
        num_classes: K.
        tolerance: the largest distance of a match, as a share of the image diagonal.
        void_rule: `ignore_nothing` masks nothing, as the authors' script: edges between a class and
            void count. `mask_prediction` makes the prediction void where the truth is.

    Returns:
        int32 (K, 5): predicted boundary pixels, true ones, pairs of the maximum one-to-one
        matching, predicted ones near a true one, true ones near a predicted one.

    Raises:
        ValueError: the sizes differ.
    """
    pairs = boundary_pairs(
        prediction, label, num_classes=num_classes, tolerance=tolerance, void_rule=void_rule
    )
    rows = [(pair.predicted, pair.truth, pair.matched(), *pair.near()) for pair in pairs]
    return np.array(rows, np.int32)


@dataclass(frozen=True)
class BoundaryPair:
    """One class's boundaries in prediction and truth, and which of their pixels are near.

    Boundary pixels are numbered in raster order. Those of the truth near a predicted pixel are one
    run of numbers in every image row within reach.

    Attributes:
        predicted: number of predicted boundary pixels.
        truth: number of true boundary pixels.
        first: (rows, n), where each run starts; pixels far above and below the truth are left out.
        last: (rows, n), one past the end of each run.
    """

    predicted: int
    truth: int
    first: NDArray[np.integer]
    last: NDArray[np.integer]

    def near(self) -> tuple[int, int]:
        """Counts predicted pixels near a true one, and true pixels near a predicted one."""
        predicted = (self.last > self.first).any(axis=0).sum()
        # A true pixel is near where more runs have started than ended.
        started = np.bincount(self.first.ravel(), minlength=self.truth + 1)
        ended = np.bincount(self.last.ravel(), minlength=self.truth + 1)
        return int(predicted), int((np.cumsum(started - ended) > 0).sum())

    def matched(self) -> int:
        """Counts the pairs of a maximum one-to-one matching of near pixels.

        The maximum flow through source -> predicted pixel -> near true pixel -> sink, every edge of
        capacity 1. scipy's `maximum_bipartite_matching` does not end in useful time on these
        graphs, and greedy matching (even of coincident pixels first) is not maximal.
        """
        first = self.first.T.ravel()  # by predicted pixel, then by row
        run = self.last.T.ravel() - first
        edges = int(run.sum())
        if edges == 0:
            return 0
        n, m = self.first.shape[1], self.truth
        sink = n + m + 1
        near = np.arange(edges) + np.repeat(first - (np.cumsum(run) - run), run)
        per_pixel = run.reshape(n, -1).sum(axis=1)
        # Compressed rows: source (0), predicted (1..n), true (n+1..n+m), sink.
        targets = (np.arange(1, n + 1), near + n + 1, np.full(m, sink))
        ends = ([0, n], n + np.cumsum(per_pixel), n + edges + np.arange(1, m + 1), [n + edges + m])
        indices, indptr = (np.concatenate(part).astype(np.int32) for part in (targets, ends))
        graph = csr_array((np.ones(len(indices), np.int32), indices, indptr), shape=(sink + 1,) * 2)
        return int(maximum_flow(graph, 0, sink, method="dinic").flow_value)


def boundary_pairs(
    prediction: NDArray[np.integer],
    label: NDArray[np.integer],
    *,
    num_classes: int,
    tolerance: float = TOLERANCE,
    void_rule: VoidRule = "ignore_nothing",
) -> Iterator[BoundaryPair]:
    """Yields the `BoundaryPair` of every class; arguments and errors as `boundary_counts`."""
    assert void_rule in VOID_RULES, void_rule
    if prediction.shape != label.shape:
        raise ValueError(f"prediction has shape {prediction.shape}, truth {label.shape}")
    if void_rule == "mask_prediction":
        prediction = np.where((label >= 0) & (label < num_classes), prediction, label)
    predicted, truth = (_boundary_pixels(pixels, num_classes) for pixels in (prediction, label))
    width, radius = label.shape[1], radius_squared(label.shape, tolerance)
    for one, other in zip(predicted, truth, strict=True):
        first, last = _near_runs(one, other, width, radius)
        yield BoundaryPair(len(one), len(other), first, last)


def radius_squared(size: tuple[int, ...], tolerance: float) -> int:
    """The largest squared distance of near pixels: a share of the diagonal of (height, width)."""
    height, width = size
    # The relative slack keeps distances that equal the tolerance, whatever the rounding.
    return floor(tolerance**2 * (height**2 + width**2) * (1 + 1e-12))


def class_f1(
    counts: NDArray[np.integer], *, matching: Matching, classes: BoundaryClasses
) -> FloatArray:
    """The F1 of every class in every image.

    Args:
        counts: (..., K, 5) from `boundary_counts`.
        matching: the reading, see the head of this file.
        classes: `ground_truth` counts a class where it has a boundary in the truth (the paper's
            text), `union` where it has one in truth or prediction (the authors' script).

    Returns:
        (..., K), 0..1; NaN where the class is not counted. A class that fills the image has no
        boundary there, and a class with a boundary on one side only scores 0.
    """
    columns = np.moveaxis(counts.astype(np.float64), -1, 0)
    predicted, truth, matched, predicted_near, truth_near = columns
    match matching:
        case "one_to_one":
            f1 = ratio(2 * matched, predicted + truth)
        case "tolerance":  # 2pr / (p + r) with p = predicted_near / predicted, r likewise
            f1 = ratio(
                2 * predicted_near * truth_near, predicted_near * truth + truth_near * predicted
            )
        case _:
            assert_never(matching)
    match classes:
        case "ground_truth":
            counted = truth > 0
        case "union":
            counted = predicted + truth > 0
        case _:
            assert_never(classes)
    return np.where(counted, np.nan_to_num(f1), np.nan)


def image_f1(
    counts: NDArray[np.integer], *, matching: Matching, classes: BoundaryClasses
) -> FloatArray:
    """BF of every image: (..., K, 5) to (...); NaN for an image in which no class is counted."""
    return mean_defined(class_f1(counts, matching=matching, classes=classes))


def boundary_f1(
    counts: NDArray[np.integer], *, matching: Matching, classes: BoundaryClasses
) -> float:
    """BF of a set of images, (N, K, 5): the mean over images of the mean over counted classes.

    An image in which no class is counted (one class or void fills it) says nothing about
    boundaries and is left out; NaN if that leaves none.
    """
    return float(mean_defined(image_f1(counts, matching=matching, classes=classes)))


def _boundary_pixels(pixels: NDArray[np.integer], num_classes: int) -> list[NDArray[np.intp]]:
    """The flat positions of every class's boundary pixels, ascending.

    A 2x2 block of more than one value is a boundary of each class in it, so only such blocks, a
    small part of the image, are asked which classes they hold.
    """
    _, width = pixels.shape
    # Repeating the last row and column clips the blocks at the image border.
    padded = np.pad(pixels, ((0, 1), (0, 1)), mode="edge")
    across = padded[:, :-1] != padded[:, 1:]  # (H+1, W)
    down = padded[:-1] != padded[1:]  # (H, W+1)
    position = np.flatnonzero(across[:-1] | across[1:] | down[:, :-1])
    corner = position + position // width
    block = padded.ravel()[corner + np.array([[0], [1], [width + 1], [width + 2]])]  # (4, n)
    return [position[(block == index).any(axis=0)] for index in range(num_classes)]


def _near_runs(
    predicted: NDArray[np.intp], truth: NDArray[np.intp], width: int, radius: int
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Finds the true pixels near each predicted one, by squared radius; see `BoundaryPair`."""
    reach = isqrt(radius)
    rows = np.arange(-reach, reach + 1)[:, None]
    if len(predicted) == 0 or len(truth) == 0:
        none = np.zeros((len(rows), 0), np.intp)
        return none, none
    half_width = np.array([[isqrt(radius - int(row) ** 2)] for row in rows[:, 0]])
    stride = width + reach  # between image rows lies a gap that no run can cross
    predicted = predicted + predicted // width * reach
    truth = truth + truth // width * reach
    margin = reach * stride + reach
    near = slice(*np.searchsorted(predicted, (truth[0] - margin, truth[-1] + margin + 1)))
    lowest, highest = truth[0] - 2 * margin, truth[-1] + 2 * margin + 1
    # rank[q - lowest] is the number of true pixels before position q.
    spacing = np.diff(truth, prepend=lowest - 1, append=highest)
    rank = np.repeat(np.arange(len(truth) + 1, dtype=np.int32), spacing)
    centre = predicted[near] - lowest + rows * stride  # (rows, n)
    return rank[centre - half_width], rank[centre + half_width + 1]
