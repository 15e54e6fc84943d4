"""Division and means that say NaN, silently, where there is nothing to divide by or to average."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def ratio(numerator: ArrayLike, denominator: ArrayLike) -> FloatArray:
    """Divides elementwise; NaN where the denominator is 0."""
    numerator, denominator = np.asarray(numerator), np.asarray(denominator)
    quotient = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator != 0)
    return quotient


def mean_defined(values: FloatArray, axis: int = -1) -> FloatArray:
    """Averages what is not NaN along an axis; NaN where nothing is left."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis), defined.sum(axis))
