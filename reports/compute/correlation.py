"""Whether two figures grow with each other: Spearman's rank correlation with its interval."""

from collections.abc import Sequence
from math import atanh, sqrt, tanh

import numpy as np
import pandas as pd

from bench.metrics.uncertainty import Interval


def rank_correlation(points: Sequence[tuple[float, float]]) -> Interval | None:
    """Estimates Spearman's rank correlation with its 95 % interval; NaN are left out.

    By Fisher's z, whose variance for ranks is 1.06 / (n - 3) (Fieller, Hartley and Pearson 1957). A
    perfect order counts as the next to perfect one, since z would be infinite.

    Returns:
        None where three or fewer points, or points without a spread, say nothing.
    """
    known = [point for point in points if not np.isnan(point).any()]
    ranks = pd.DataFrame(known).rank().to_numpy()
    count = len(known)
    if count <= 3 or (ranks.std(axis=0) == 0).any():
        return None
    rho = float(np.corrcoef(ranks.T)[0, 1])
    most = 1 - 12 / (count * (count**2 - 1))  # two neighbours exchanged
    z, half = atanh(max(-most, min(most, rho))), 1.96 * sqrt(1.06 / (count - 3))
    return Interval(rho, tanh(z - half), tanh(z + half))
