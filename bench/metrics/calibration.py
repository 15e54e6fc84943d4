"""Calibration: does a network that is 80 % confident get 80 % right?

Guo et al., On Calibration of Modern Neural Networks, ICML 2017: pixels are sorted by the highest
softmax probability into 15 bins of equal width, each without its lower and with its upper end. The
expected calibration error (ECE) is the mean over pixels of the distance between the accuracy of
their bin and its mean confidence.
"""

import numpy as np
from numpy.typing import NDArray

from bench.metrics.ratios import FloatArray, ratio

BINS = 15
UNIT = 2**16  # confidences are summed up in whole parts of 1 / UNIT, so that counts stay integers


def calibration_counts(
    confidence: NDArray[np.floating],
    prediction: NDArray[np.integer],
    label: NDArray[np.integer],
    *,
    num_classes: int,
) -> NDArray[np.int64]:
    """Counts labelled pixels by the confidence of their prediction.

    Args:
        confidence: (H, W), the probability of the predicted class, 0..1.
        prediction: (H, W).
        label: (H, W); values outside 0..K-1 are void and do not count.
        num_classes: K.

    Returns:
        int64 (15, 3): pixels, those that are right, and the sum of their confidences in 1 / 2^16.
    """
    labelled = (label >= 0) & (label < num_classes)
    sure = confidence[labelled]
    bins = (np.ceil(sure * BINS) - 1).clip(0, BINS - 1).astype(np.int64)
    right = (prediction == label)[labelled]
    wrong_right = np.bincount(2 * bins + right, minlength=2 * BINS).reshape(BINS, 2)
    summed = np.rint(UNIT * np.bincount(bins, sure, minlength=BINS)).astype(np.int64)
    return np.stack([wrong_right.sum(axis=1), wrong_right[:, 1], summed], axis=-1)


def reliability(counts: NDArray[np.number]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Turns counts (..., 15, 3) into each bin's mean confidence, accuracy and share of the pixels.

    Confidence and accuracy of an empty bin are NaN, shares where no pixel is counted.
    """
    pixels, right, confidence = np.moveaxis(counts, -1, 0)
    share = ratio(pixels, pixels.sum(-1, keepdims=True))
    return ratio(confidence / UNIT, pixels), ratio(right, pixels), share


def expected_calibration_error(counts: NDArray[np.number]) -> FloatArray:
    """ECE of counts (..., 15, 3): (...), 0..1; NaN where nothing is counted."""
    confidence, accuracy, share = reliability(counts)
    return np.asarray((share * np.nan_to_num(np.abs(accuracy - confidence))).sum(-1))
