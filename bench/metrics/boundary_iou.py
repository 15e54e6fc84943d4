"""Boundary IoU: intersection over union of the pixels within a distance of a mask's contour.

Cheng et al., Boundary IoU: Improving Object-Centric Image Segmentation Evaluation, CVPR 2021. The
inner boundary region of a mask is what an erosion by `distance` steps of a 3x3 square takes away;
beyond the image is no mask. The distance is 2 % of the image diagonal, as theirs.
"""

from math import hypot

import numpy as np
from numpy.typing import NDArray

from bench.metrics.ratios import FloatArray, ratio

DISTANCE = 0.02  # of an image's diagonal, as in that article: 12 pixels at 360x480


def boundary_region_counts(
    prediction: NDArray[np.integer], label: NDArray[np.integer], *, num_classes: int
) -> NDArray[np.int32]:
    """Counts the pixels of every class's boundary regions.

    Pixels whose truth is void do not count, as for IoU.

    Args:
        prediction: (H, W); values outside 0..K-1 belong to no class.
        label: (H, W), likewise.
        num_classes: K.

    Returns:
        int32 (K, 3): pixels in both regions, in that of the prediction, in that of the truth.
    """
    distance = max(1, round(DISTANCE * hypot(*label.shape)))
    labelled = (label >= 0) & (label < num_classes)
    predicted = _region(prediction, distance) & labelled
    predicted &= (prediction >= 0) & (prediction < num_classes)
    truth = _region(label, distance) & labelled
    both = predicted & truth & (prediction == label)
    counts = [
        np.bincount(pixels[region], minlength=num_classes)
        for pixels, region in ((label, both), (prediction, predicted), (label, truth))
    ]
    return np.stack(counts, axis=-1).astype(np.int32)


def class_boundary_iou(counts: NDArray[np.number]) -> FloatArray:
    """Boundary IoU of each class: (..., K, 3) to (..., K); NaN if absent from both."""
    both, predicted, truth = np.moveaxis(counts, -1, 0)
    return ratio(both, predicted + truth - both)


def _region(pixels: NDArray[np.integer], distance: int) -> NDArray[np.bool_]:
    """Marks the pixels that an erosion takes away from the mask of their own class: (H, W).

    They are those whose square of `distance` to each side is not of one class, so that one pass
    serves all classes. Beyond the image, neighbours always differ.
    """
    found: NDArray[np.bool_] = np.zeros(pixels.shape, bool)
    for axis in (0, 1):
        steps = np.diff(pixels, axis=axis) != 0
        marks = np.pad(steps, distance, constant_values=True)
        marks = _any_within(marks, 2 * distance, axis)
        found |= _any_within(marks, 2 * distance + 1, 1 - axis)
    return found


def _any_within(marks: NDArray[np.bool_], size: int, axis: int) -> NDArray[np.bool_]:
    """Says of every run of `size` marks along an axis whether one is set; n become n - size + 1."""
    marks, length = np.moveaxis(marks, axis, 0), 1
    while length < size:  # twice as long a run in every step
        step = min(length, size - length)
        marks = marks[:-step] | marks[step:]
        length += step
    return np.moveaxis(marks, 0, axis)
