"""Evidence in, scores out: the one place that turns stored counts into the table's figures.

Evidence comes from a run's evaluations, or from label maps by the command bench/score.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.metrics import regions
from bench.metrics.boundaries import (
    BOUNDARY_CLASSES,
    MATCHINGS,
    BoundaryClasses,
    Matching,
    boundary_f1,
    class_f1,
    image_f1,
)
from bench.metrics.calibration import expected_calibration_error
from bench.metrics.contours import class_boundary_iou, class_surface_distance
from bench.metrics.ratios import FloatArray, mean_defined, ratio
from bench.metrics.regions import ABSENT_CLASSES, MeanRule, summed

HEADLINE = ("G", "C", "mIoU", "BF")
OTHERS = (
    "FWIoU", "micro IoU", "precision", "Dice", "image mIoU", "image mIoU, worst tenth",
    "image Dice", "boundary IoU", "NSD", "ECE",
)  # fmt: skip


@dataclass(frozen=True)
class Evidence:
    """What is kept of N images; every score is a function of it.

    Attributes:
        names: the images' file names, in the order of the data set.
        confusion: int64 or int32 (N, K+1, K+1), see `bench.metrics.regions`.
        boundaries: int32 (N, K, 5), see `bench.metrics.boundaries.boundary_counts`.
        boundary_regions: int32 (N, K, 3), see `contours`; None: of before they were counted.
        surfaces: int32 (N, K, 4), see `contours`; likewise.
        calibration: int64 (N, 15, 3), see `calibration`; likewise. 0 where predictions were label
            maps without a probability.
    """

    names: tuple[str, ...]
    confusion: NDArray[np.integer]
    boundaries: NDArray[np.integer]
    boundary_regions: NDArray[np.integer] | None = None
    surfaces: NDArray[np.integer] | None = None
    calibration: NDArray[np.integer] | None = None

    def __post_init__(self) -> None:
        n, k, _ = self.boundaries.shape
        assert (len(self.names), k + 1, k + 1) == (n, *self.confusion.shape[1:])

    @property
    def counted_boundaries(self) -> NDArray[np.integer]:
        """The boundaries, none in images without a labelled pixel: these say nothing of a class."""
        return self.of_labelled(self.boundaries)

    def of_labelled(self, counts: NDArray[np.integer]) -> NDArray[np.integer]:
        """Counts (N, K, ...), 0 in images without a labelled pixel."""
        labelled = self.confusion[:, :-1].sum(axis=(1, 2)) > 0
        return np.where(labelled[:, None, None], counts, 0)

    def select(self, images: Sequence[int] | NDArray[np.integer]) -> "Evidence":
        """Keeps the images at the given positions."""
        names = tuple(self.names[image] for image in images)

        def chosen(counts: NDArray[np.integer] | None) -> NDArray[np.integer] | None:
            return None if counts is None else counts[images]

        more = map(chosen, (self.boundary_regions, self.surfaces, self.calibration))
        return Evidence(names, self.confusion[images], self.boundaries[images], *more)


@dataclass(frozen=True)
class Conventions:
    """Which of the readings of C, mIoU and BF a table shows. The defaults are the paper's."""

    absent_classes: MeanRule = "paper_script"
    matching: Matching = "one_to_one"
    boundary_classes: BoundaryClasses = "ground_truth"

    def __str__(self) -> str:
        """Names the conventions, to stand under a table."""
        return (
            f"absent classes: {self.absent_classes}; BF matching: {self.matching}; "
            f"BF classes: {self.boundary_classes}"
        )


PAPER = Conventions()


def weighted_scores(
    evidence: Evidence,
    conventions: Conventions = PAPER,
    weights: NDArray[np.number] | None = None,
) -> tuple[dict[str, FloatArray], FloatArray]:
    """G, C, mIoU and BF of the images, or of many resamples of them at once.

    Args:
        evidence: N images.
        conventions: which readings.
        weights: (B, N), how often each image occurs in each of B resamples; default: once, B = 1.

    Returns:
        Each score as (B,) fractions of 1; NaN where it is undefined. The accuracy of every class
        beside them: (B, K).
    """
    if weights is None:
        weights = np.ones((1, len(evidence.names)))
    # float64 counts exactly up to 2^53 pixels, and multiplies far faster than int64.
    weights = np.asarray(weights, np.float64)
    of_images = np.stack(regions.class_pixels(evidence.confusion), axis=1)  # (N, 3, K)
    pixels = regions.ClassPixels(*np.moveaxis(_sums(weights, of_images), 1, 0))
    per_image = image_f1(
        evidence.counted_boundaries,
        matching=conventions.matching,
        classes=conventions.boundary_classes,
    )
    scores = {
        "G": regions.global_accuracy(pixels),
        "C": regions.mean_class_accuracy(pixels, conventions.absent_classes),
        "mIoU": regions.mean_iou(pixels, conventions.absent_classes),
        "BF": _mean_of_images(weights, per_image),
    }
    return scores, regions.class_accuracy(pixels)


def all_scores(evidence: Evidence) -> dict[str, Any]:
    """Every score of a set of images under every convention, ready for JSON.

    Returns:
        `{"G": x, "C": {absent_classes: x}, "mIoU": {absent_classes: x}, "BF": {matching:
        {boundary_classes: x}}, "other": {name: x}, "per_class": {"accuracy": [K], "IoU": [K],
        "precision": [K], "Dice": [K], "boundary IoU": [K], "NSD": [K], "BF": {matching:
        {boundary_classes: [K]}}}}`, fractions of 1; None where a score is undefined or was not
        counted. A class's BF and NSD are means over the images in which it is counted; of the
        others see `other_scores`.
    """
    confusion = summed(evidence.confusion)
    counts = evidence.counted_boundaries
    scores = {
        "G": regions.global_accuracy(confusion),
        "C": {rule: regions.mean_class_accuracy(confusion, rule) for rule in ABSENT_CLASSES},
        "mIoU": {rule: regions.mean_iou(confusion, rule) for rule in ABSENT_CLASSES},
        "BF": {
            matching: {
                classes: boundary_f1(counts, matching=matching, classes=classes)
                for classes in BOUNDARY_CLASSES
            }
            for matching in MATCHINGS
        },
        "other": other_scores(evidence),
        "per_class": {
            "accuracy": regions.class_accuracy(confusion),
            "IoU": regions.class_iou(confusion),
            "precision": regions.class_precision(confusion),
            "Dice": regions.class_dice(confusion),
            **_contours_of_classes(evidence),
            "BF": {
                matching: {
                    classes: mean_defined(class_f1(counts, matching=matching, classes=classes), 0)
                    for classes in BOUNDARY_CLASSES
                }
                for matching in MATCHINGS
            },
        },
    }
    return {name: _plain(value) for name, value in scores.items()}


def other_scores(
    evidence: Evidence, weights: NDArray[np.number] | None = None
) -> dict[str, FloatArray]:
    """What others report of the same counts, by name; fractions of 1 or NaN.

    FWIoU, micro IoU: of the set. precision, Dice: means over the classes that have one. image mIoU,
    image Dice: means over images of the mean over the classes in truth or prediction of the image;
    worst tenth: the mean over the tenth of the images (one at least) whose mIoU is lowest. boundary
    IoU: the mean over classes. NSD: the mean over images of the mean over classes. ECE: of the
    pixels of the set. These three are NaN where they were not counted.

    Args:
        evidence: N images.
        weights: (B, N), how often each image occurs in each of B resamples; default: once.

    Returns:
        Each score as (B,), or as a number () where no weights are given.
    """
    if weights is None:
        found = other_scores(evidence, np.ones((1, len(evidence.names))))
        return {name: values[0] for name, values in found.items()}
    weights = np.asarray(weights, np.float64)  # as in `weighted_scores`
    of_images = regions.class_pixels(evidence.confusion)
    miou = regions.mean_iou(of_images, "union")
    return {
        **scores_of_pixels(regions.ClassPixels(*(_sums(weights, part) for part in of_images))),
        "image mIoU": _mean_of_images(weights, miou),
        "image mIoU, worst tenth": _worst_tenth(weights, miou),
        "image Dice": _mean_of_images(weights, mean_defined(regions.class_dice(of_images))),
        "boundary IoU": _of_counts(
            weights,
            evidence.boundary_regions,
            lambda counts: mean_defined(class_boundary_iou(counts)),
        ),
        "NSD": _mean_of_images(weights, mean_defined(_surface_distances(evidence))),
        "ECE": _of_counts(weights, evidence.calibration, expected_calibration_error),
    }


def scores_of_pixels(pixels: regions.Confusion) -> dict[str, FloatArray]:
    """Those of `other_scores` that are of the whole set and its confusion matrix."""
    return {
        "FWIoU": regions.frequency_weighted_iou(pixels),
        "micro IoU": regions.micro_iou(pixels),
        "precision": mean_defined(regions.class_precision(pixels)),
        "Dice": mean_defined(regions.class_dice(pixels)),
    }


def _sums(weights: NDArray[np.number], counts: NDArray[np.number]) -> FloatArray:
    """Sums counts (N, ...) over resamples: (B, ...)."""
    flat: FloatArray = np.asarray(weights, np.float64) @ counts.reshape(len(counts), -1).astype(
        np.float64
    )
    return flat.reshape(len(weights), *counts.shape[1:])


def _of_counts(
    weights: NDArray[np.number],
    counts: NDArray[np.integer] | None,
    score: Callable[[FloatArray], FloatArray],
) -> FloatArray:
    return np.full(len(weights), np.nan) if counts is None else score(_sums(weights, counts))


def _mean_of_images(weights: NDArray[np.number], of_images: FloatArray) -> FloatArray:
    """Averages (N,) over the images of each resample that have a value: (B,)."""
    counted = (~np.isnan(of_images)).astype(np.float64)
    return ratio(weights @ np.nan_to_num(of_images), weights @ counted)


def _worst_tenth(weights: NDArray[np.number], of_images: FloatArray) -> FloatArray:
    """Averages the lowest tenth, rounded up, of the values of each resample: (B,)."""
    order = np.argsort(of_images)[: np.count_nonzero(~np.isnan(of_images))]  # NaN comes last
    occurs = weights[:, order]
    wanted = np.ceil(occurs.sum(axis=1) / 10)
    before = np.cumsum(occurs, axis=1) - occurs
    taken = np.clip(wanted[:, None] - before, 0, occurs)
    return ratio(taken @ of_images[order], wanted)


def _contours_of_classes(evidence: Evidence) -> dict[str, FloatArray]:
    """Boundary IoU and NSD of every class of a set, (K,) each; NaN where they were not counted."""
    regions_of = evidence.boundary_regions
    missing = np.full(evidence.boundaries.shape[1], np.nan)
    return {
        "boundary IoU": missing
        if regions_of is None
        else class_boundary_iou(regions_of.sum(axis=0, dtype=np.int64)),
        "NSD": mean_defined(_surface_distances(evidence), 0),
    }


def _surface_distances(evidence: Evidence) -> FloatArray:
    """NSD of every class in every image, (N, K); as for BF, only of images with labelled pixels."""
    if evidence.surfaces is None:
        return np.full(evidence.boundaries.shape[:2], np.nan)
    return class_surface_distance(evidence.of_labelled(evidence.surfaces))


def _plain(value: Any) -> Any:
    """Turns numpy numbers and arrays into floats and lists, NaN (which JSON lacks) into None."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray) and value.ndim:
        return [_plain(item) for item in value]
    return None if isnan(value) else float(value)
