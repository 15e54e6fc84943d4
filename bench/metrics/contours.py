"""Other measures of contours than BF: boundary IoU and the normalised surface distance.

Boundary IoU: intersection over union of the pixels within a distance of a mask's contour. Cheng et
al., Boundary IoU: Improving Object-Centric Image Segmentation Evaluation, CVPR 2021. The inner
boundary region of a mask is what an erosion by `distance` steps of a 3x3 square takes away; beyond
the image is no mask. The distance is 2 % of the image diagonal, as theirs.

Normalised surface distance: the share of both contours that is within a tolerance of the other.
Nikolov et al., Deep learning to achieve clinically applicable segmentation of head and neck anatomy
for radiotherapy, 2018. As in MONAI, the surface of a mask is made of its pixels with one of their
four neighbours outside; beyond the image is outside. The tolerance is BF's, which counts other
contours: those between pixels, without the image's border. As for BF, nothing is masked.
"""

from math import hypot, isqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.metrics.boundaries import TOLERANCE, radius_squared
from bench.metrics.ratios import FloatArray, ratio

NEAREST = (9, 25, 45)  # offsets that are tried together: up to here, each on who is left
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
    region: NDArray[np.bool_] = np.zeros(pixels.shape, bool)
    for axis in (0, 1):
        steps = np.diff(pixels, axis=axis) != 0
        marks = np.pad(steps, distance, constant_values=True)
        marks = _any_within(marks, 2 * distance, axis)
        region |= _any_within(marks, 2 * distance + 1, 1 - axis)
    return region


def _any_within(marks: NDArray[np.bool_], size: int, axis: int) -> NDArray[np.bool_]:
    """Says of every run of `size` marks along an axis whether one is set; n become n - size + 1."""
    marks, length = np.moveaxis(marks, axis, 0), 1
    while length < size:  # twice as long a run in every step
        step = min(length, size - length)
        marks = marks[:-step] | marks[step:]
        length += step
    return np.moveaxis(marks, 0, axis)


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
    height, width = label.shape
    radius = radius_squared(label.shape, tolerance)
    reach = isqrt(radius)
    stride = width + reach  # between image rows lies a gap that no offset can cross
    places = ((height + 2 * reach + 1) * stride, stride, reach)
    predicted, truth = (_surface(pixels, num_classes, *places) for pixels in (prediction, label))
    offsets = _offsets(radius, stride)
    far = [
        _count_far(side, other.plane, offsets, num_classes)
        for side, other in ((predicted, truth), (truth, predicted))
    ]
    counts = [np.bincount(side.classes, minlength=num_classes) for side in (predicted, truth)]
    return np.stack([*counts, *(np.subtract(counts, far))], axis=-1).astype(np.int32)


def class_surface_distance(counts: NDArray[np.integer]) -> FloatArray:
    """NSD of every class in every image: (..., K, 4) to (..., K); NaN if absent from both."""
    predicted, truth, predicted_near, truth_near = np.moveaxis(counts.astype(np.int64), -1, 0)
    return ratio(predicted_near + truth_near, predicted + truth)


class _Surface(NamedTuple):
    """The surface pixels of all classes of an image.

    Attributes:
        positions: (n,) of each, in the plane.
        classes: (n,) of each.
        plane: flat, the class of each surface pixel, elsewhere K; with a margin about the image.
    """

    positions: NDArray[np.intp]
    classes: NDArray[np.unsignedinteger]
    plane: NDArray[np.unsignedinteger]


def _surface(
    pixels: NDArray[np.integer], num_classes: int, length: int, stride: int, reach: int
) -> _Surface:
    """Finds surface pixels and sets them into a plane of that length, rows a stride apart."""
    surface = np.ones(pixels.shape, bool)
    inside = pixels[1:-1, 1:-1]
    surface[1:-1, 1:-1] = (
        (inside != pixels[:-2, 1:-1])
        | (inside != pixels[2:, 1:-1])
        | (inside != pixels[1:-1, :-2])
        | (inside != pixels[1:-1, 2:])
    )
    surface &= (pixels >= 0) & (pixels < num_classes)
    place = np.flatnonzero(surface)
    positions = place + place // pixels.shape[1] * reach + reach * (stride + 1)
    plane = np.full(length, num_classes, np.min_scalar_type(num_classes))
    plane[positions] = pixels.ravel()[place]
    return _Surface(positions, plane[positions], plane)


def _offsets(radius: int, stride: int) -> NDArray[np.intp]:
    """The offsets in a plane to all pixels within a squared radius, the nearest first."""
    reach = isqrt(radius)
    down, across = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    distance = down**2 + across**2
    order = np.argsort(distance, kind="stable")[: np.count_nonzero(distance <= radius)]
    return np.asarray((down * stride + across)[order])


def _count_far(
    side: _Surface, other: NDArray[np.unsignedinteger], offsets: NDArray[np.intp], num_classes: int
) -> NDArray[np.intp]:
    """Counts the pixels of every class that have none of theirs at any offset in the other plane.

    Most have one at a small offset, so these are tried first, and the rest on who is left.
    """
    positions, classes, _ = side
    for nearest in np.split(offsets, NEAREST):
        far = ~(other.take(positions + nearest[:, None]) == classes).any(axis=0)
        positions, classes = positions[far], classes[far]
    return np.bincount(classes, minlength=num_classes)
