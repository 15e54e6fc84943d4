"""The residual of networks and seeds, pooled over all networks of one set of conditions.

A seed gives every network the same batches in the same order, so a score is taken as the sum of
what the network gives, what the seed gives, and a residual: the two-way layout with one observation
a cell, seeds as blocks. All networks together tell the residual's variance far better than two of
them with three seeds can. That they share it is an assumption; it is tested, and where the test
rejects it each pair of networks has only its own seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from bench.metrics.ratios import FloatArray

ENOUGH_SEEDS = 3  # below, a comparison is of these weights and not of the architectures
FEW_SEEDS = (
    f"Fewer than {ENOUGH_SEEDS} seeds: these weights, no verdict on the networks; needs seeds."
)
REJECTED = 0.05  # an equal residual is given up below this p-value
TABLES = 2000  # random tables that the p-value is read from


@dataclass(frozen=True)
class Residual:
    """What is left of one score when networks and seeds are taken out.

    Attributes:
        variance: of a single run.
        freedom: the degrees of freedom with which it is known.
        p_value: of the hypothesis that all networks share it; NaN for two, which cannot tell.
    """

    variance: float
    freedom: int
    p_value: float = np.nan

    @property
    def is_shared(self) -> bool:
        """Whether the networks may be taken to share it."""
        return not self.p_value < REJECTED


def residual(scores: FloatArray, *, tested: bool = True) -> Residual:
    """Fits networks and seeds to scores and describes what is left.

    Args:
        scores: (networks, seeds), two of each at least.
        tested: whether to test that the networks share it; else its p-value is NaN.
    """
    networks, seeds = scores.shape
    squares = _squares(scores)
    freedom = (networks - 1) * (seeds - 1)
    compared = tested and networks > 2
    p_value = _p_value(squares, seeds) if compared else np.nan
    return Residual(float(squares.sum() / freedom), freedom, p_value)


def common_layout(sides: Sequence[Mapping[int, FloatArray]]) -> FloatArray | None:
    """Sets the scores of networks in one array, on the seeds that all of them have.

    Args:
        sides: of each network, its scores (scores,) by seed.

    Returns:
        (scores, networks, seeds), or None where there are too few networks or common seeds.
    """
    if len(sides) < 2:
        return None
    seeds = sorted(set.intersection(*(set(side) for side in sides)))
    if len(seeds) < ENOUGH_SEEDS:
        return None
    return np.array([[side[seed] for seed in seeds] for side in sides]).transpose(2, 0, 1)


def _squares(scores: FloatArray) -> FloatArray:
    """Returns each network's sum of squared residuals: (..., I, J) -> (..., I)."""
    centred = scores - scores.mean(axis=-1, keepdims=True)
    left: FloatArray = centred - centred.mean(axis=-2, keepdims=True)
    return np.asarray((left**2).sum(axis=-1))


def _p_value(squares: FloatArray, seeds: int) -> float:
    """Returns how often equal networks are as unlike as these.

    The statistic is Bartlett's, the mean's logarithm less the mean of the logarithms. Residuals of
    one layout are not independent, so its distribution is drawn and not looked up.
    """
    if not squares.sum() > 0:
        return float("nan")  # a score that is undefined, or the same with every seed
    drawn = _null_statistics(len(squares), seeds)
    return float((1 + (drawn >= _unlikeness(squares)).sum()) / (1 + len(drawn)))


@lru_cache(maxsize=32)
def _null_statistics(networks: int, seeds: int) -> FloatArray:
    rng = np.random.default_rng([networks, seeds])
    return np.array(
        [_unlikeness(_squares(rng.standard_normal((networks, seeds)))) for _ in range(TABLES)]
    )


def _unlikeness(squares: FloatArray) -> float:
    with np.errstate(divide="ignore"):  # of a network that is the same with every seed
        return float(np.log(squares.mean()) - np.log(squares).mean())
