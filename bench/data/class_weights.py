"""Weights of the classes in the loss (section 3.2: median frequency balancing).

With n_c the pixels of class c and m_c all pixels, void included, of the images that contain c,

    median_frequency   w_c = median(f) / f_c,  f_c = n_c / m_c      (Eigen and Fergus 2015)
    plain_frequency    w_c = median(f) / f_c,  f_c = n_c / sum of n

`none` is what the paper calls natural frequency balancing. A list of K numbers, or the name of a
list in `dataset.published_class_weights`, is taken as it is.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.config import Config
from bench.data.decoding import pixel_counts, require_labelled
from bench.data.files import some
from bench.data.images import resize_label
from bench.data.pairs import pairs_of
from bench.data.schema import DatasetConfig

BALANCED = ("median_frequency", "plain_frequency")


def class_weights(
    choice: Any, pixels: NDArray[np.int64], dataset: DatasetConfig
) -> NDArray[np.float64]:
    """Returns the weights (K,).

    Args:
        choice: `protocol.class_weights`, other than none.
        pixels: of each class in each training label (N, K+1), void last.
        dataset: the data set's configuration.

    Raises:
        ValueError: the choice is unknown, has the wrong length, or a class never occurs.
    """
    num_classes = len(dataset.classes)
    published = dataset.published_class_weights
    if choice in BALANCED:
        return _balancing(choice, pixels, dataset)
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


def check_limited(config: Config) -> None:
    """Refuses balanced weights for which the images that `dataset.limit` leaves are too few.

    To be called once before many runs; labels are read until every class has been seen.

    Raises:
        ValueError: a class has no pixel, or a label cannot be read.
    """
    dataset, protocol = config.dataset, config.protocol
    if dataset.limit is None or dataset.download or protocol.class_weights not in BALANCED:
        return
    pixels: list[NDArray[np.int64]] = []
    for pair in pairs_of(dataset, protocol.train_split):
        truth = pair.label()
        label = resize_label(truth, *(protocol.image_size or truth.shape))
        pixels.append(pixel_counts(label, len(dataset.classes)))
        if np.sum(pixels, axis=0)[:-1].all():
            return
    require_labelled(protocol.train_split, np.stack(pixels))
    _balancing(protocol.class_weights, np.stack(pixels), dataset)


def _balancing(
    choice: str, pixels: NDArray[np.int64], dataset: DatasetConfig
) -> NDArray[np.float64]:
    labelled = pixels[:, :-1]  # (N, K)
    total = labelled.sum(axis=0)
    if not total.all():
        absent = [repr(name) for name, n in zip(dataset.classes, total, strict=True) if n == 0]
        limited = dataset.limit is not None
        remedy = "raise dataset.limit" if limited else "see what `python -m bench.data check` finds"
        raise ValueError(
            f"protocol.class_weights is {choice}, but class {some(absent)} has no pixel in the "
            f"{f'first {dataset.limit} ' if limited else ''}training labels, so its frequency is "
            f"0; {remedy}, set protocol.class_weights=none, or give a list of {len(total)} weights"
        )
    if choice == "plain_frequency":
        frequency = total / total.sum()
    else:
        of_images_with_it = (pixels.sum(axis=1, keepdims=True) * (labelled > 0)).sum(axis=0)
        frequency = total / of_images_with_it
    weights: NDArray[np.float64] = np.median(frequency) / frequency
    return weights
