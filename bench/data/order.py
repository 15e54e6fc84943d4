"""The order and the mirroring of training images, as functions of (seed, iteration).

A run that resumes at iteration i draws the same data order, mirroring and dropout as one that
was never interrupted, because no random generator carries state from one iteration to the next.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bench.seeds import derive_seed


@lru_cache(maxsize=2)  # a batch may span two epochs
def epoch_order(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    """Returns the shuffled order (size,) in which an epoch visits the training images."""
    return np.random.default_rng(derive_seed(seed, "order", epoch)).permutation(size)


def batch_indices(seed: int, iteration: int, batch_size: int, size: int) -> NDArray[np.int64]:
    """Returns the training images (batch_size,) of one iteration, counted from 0.

    Each image occurs once per epoch, and a batch may span two epochs, as in Caffe's data layer.
    """
    positions = np.arange(iteration * batch_size, (iteration + 1) * batch_size)
    epochs, offsets = np.divmod(positions, size)
    return np.array(
        [epoch_order(seed, int(e), size)[o] for e, o in zip(epochs, offsets, strict=True)]
    )


def mirrored(seed: int, iteration: int, batch_size: int) -> NDArray[np.bool_]:
    """Returns which images (batch_size,) of an iteration are mirrored, each with chance 1/2."""
    return np.random.default_rng(derive_seed(seed, "mirror", iteration)).random(batch_size) < 0.5
