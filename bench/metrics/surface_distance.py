"""Normalised surface distance: the share of both contours that is within a tolerance of the other.

Nikolov et al., Deep learning to achieve clinically applicable segmentation of head and neck anatomy
for radiotherapy, 2018. As in MONAI, the surface of a mask is made of its pixels with one of their
four neighbours outside; beyond the image is outside. The tolerance is BF's, which counts other
contours: those between pixels, without the image's border. As for BF, nothing is masked.
"""

import numpy as np
from numpy.typing import NDArray

from bench.metrics.boundaries import TOLERANCE, pairs_within
from bench.metrics.ratios import FloatArray, ratio


def surface_counts(
    prediction: NDArray[np.integer],
    label: NDArray[np.integer],
    *,
    num_classes: int,
    tolerance: float = TOLERANCE,
) -> NDArray[np.int32]:
    """Counts the surface pixels of every class, and those within the tolerance of the other side.

    Args:
        prediction: (H, W); values outside 0..K-1 belong to no class.
        label: (H, W), likewise.
        num_classes: K.
        tolerance: the largest distance, as a share of the image diagonal.

    Returns:
        int32 (K, 4): predicted surface pixels, true ones, predicted ones near a true one, true ones
        near a predicted one.
    """
    predicted, truth = (_surfaces(pixels, num_classes) for pixels in (prediction, label))
    pairs = pairs_within(predicted, truth, label.shape, tolerance)
    rows = [(pair.predicted, pair.truth, *pair.near()) for pair in pairs]
    return np.array(rows, np.int32)


def class_surface_distance(counts: NDArray[np.integer]) -> FloatArray:
    """NSD of every class in every image: (..., K, 4) to (..., K); NaN if absent from both."""
    predicted, truth, predicted_near, truth_near = np.moveaxis(counts.astype(np.int64), -1, 0)
    return ratio(predicted_near + truth_near, predicted + truth)


def _surfaces(pixels: NDArray[np.integer], num_classes: int) -> list[NDArray[np.intp]]:
    """The flat positions of every class's surface pixels, ascending."""
    surface = np.ones(pixels.shape, bool)
    inside = pixels[1:-1, 1:-1]
    surface[1:-1, 1:-1] = (
        (inside != pixels[:-2, 1:-1])
        | (inside != pixels[2:, 1:-1])
        | (inside != pixels[1:-1, :-2])
        | (inside != pixels[1:-1, 2:])
    )
    position = np.flatnonzero(surface)
    classes = pixels.ravel()[position]
    return [position[classes == index] for index in range(num_classes)]
