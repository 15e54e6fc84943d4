"""Weights of the classes in the loss (section 3.2: median frequency balancing).

With n_c the pixels of class c and m_c all pixels, void included, of the images that contain c,

    median_frequency   w_c = median(f) / f_c,  f_c = n_c / m_c      (Eigen and Fergus 2015)
    plain_frequency    w_c = median(f) / f_c,  f_c = n_c / sum of n

`none` is what the paper calls natural frequency balancing. A list of K numbers, or the name of a
list in `dataset.published_class_weights`, is taken as it is.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def class_weights(
    choice: Any, labels: torch.Tensor, dataset: dict[str, Any]
) -> NDArray[np.float64] | None:
    """Returns the weights (K,), or None for an unweighted loss.

    Args:
        choice: `protocol.class_weights`.
        labels: the training labels, uint8 (N, H, W).
        dataset: the data set's configuration.

    Raises:
        ValueError: the choice is unknown, has the wrong length, or a class never occurs.
    """
    num_classes = len(dataset["classes"])
    published = dataset["published_class_weights"]
    if choice == "none":
        return None
    if choice in ("median_frequency", "plain_frequency"):
        return _balancing(choice, labels, dataset)
    values = published.get(choice) if isinstance(choice, str) else choice
    if not isinstance(values, list):
        options = ", ".join(["none", "median_frequency", "plain_frequency", *published])
        raise ValueError(
            f"protocol.class_weights is {choice}; it must be one of {options}, or a list of "
            f"{num_classes} numbers"
        )
    weights = np.array(values, dtype=np.float64)
    if weights.shape != (num_classes,) or not np.isfinite(weights).all() or weights.min() < 0:
        raise ValueError(
            f"protocol.class_weights is {choice}; it must hold {num_classes} numbers of 0 or more"
        )
    return weights


def pixel_counts(labels: torch.Tensor, num_classes: int) -> NDArray[np.int64]:
    """Counts the pixels (N, K) of each class in each label map."""
    rows = [np.bincount(label.ravel(), minlength=256)[:num_classes] for label in labels.numpy()]
    return np.stack(rows).astype(np.int64)


def _balancing(choice: str, labels: torch.Tensor, dataset: dict[str, Any]) -> NDArray[np.float64]:
    counts = pixel_counts(labels, len(dataset["classes"]))  # (N, K)
    pixels = counts.sum(axis=0)
    if not pixels.all():
        absent = dataset["classes"][int(pixels.argmin())]
        raise ValueError(
            f"protocol.class_weights is {choice}, but class {absent!r} has no pixel in the "
            "training labels, so its frequency is 0; give a list of weights instead"
        )
    if choice == "plain_frequency":
        frequency = pixels / pixels.sum()
    else:
        pixels_per_image = labels[0].numel()
        frequency = pixels / (np.count_nonzero(counts, axis=0) * pixels_per_image)
    weights: NDArray[np.float64] = np.median(frequency) / frequency
    return weights
