"""How far the scores would move with other test images, and with other seeds.

Neighbouring frames of a drive are nearly the same picture, so images are resampled in blocks of
consecutive frames within their sequence (circular block bootstrap: Politis & Romano 1992). The
resamples give a standard error; how many blocks there were decides how well it is known, so the
interval is Student's. What images cannot show is the variation between training runs: that is a
second source, which takes several seeds, and an interval may combine the two.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf, isnan, nan, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from bench.metrics.ratios import FloatArray, mean_defined

# Frames of CamVid's test set are a second apart. Along its two sequences the autocorrelation of
# per-image G, mIoU and BF of a trained network is .5 to .65 at lag 1 and falls to 0 between lags 4
# and 12. Ten frames cover that, and leave the shorter sequence (62 frames) six blocks to draw.
BLOCK_LENGTH = 10

RESAMPLES = 1000  # the standard error is known to 2 %
LEVEL = 0.95


@dataclass(frozen=True)
class Resampling:
    """How to draw resamples.

    Attributes:
        block_length: images a block; 1 for a data set of independent images.
        resamples: number of resamples.
        seed: makes them reproducible.
    """

    block_length: int = BLOCK_LENGTH
    resamples: int = RESAMPLES
    seed: int = 0


@dataclass(frozen=True)
class Interval:
    """A score, or a difference of scores, with its interval; fractions of 1."""

    estimate: float
    low: float
    high: float


class Source(NamedTuple):
    """A source of variation.

    Attributes:
        error: the standard error that it gives the estimate.
        freedom: the degrees of freedom with which that error is known.
    """

    error: float
    freedom: float


def half_width(sources: Sequence[Source], level: float = LEVEL, networks: int = 2) -> float:
    """Returns half the width of an interval over independent sources of variation.

    Each source would have a critical value of its own; they are averaged by the squares of the
    errors, which never promises too much (Cochran & Cox, Experimental Designs, 1950). With more
    than two networks the interval holds for all their pairs at once (Tukey and Kramer).

    Args:
        sources: of the estimate; those whose error is 0 change nothing.
        level: coverage.
        networks: how many are compared, each with each.

    Returns:
        The half-width in the unit of the errors; NaN where an error is unknown.
    """
    variance = sum(source.error**2 for source in sources)
    if isnan(variance):
        return nan
    if variance == 0:
        return 0.0
    critical = sum(
        error**2 * _critical_value(level, networks, freedom) for error, freedom in sources if error
    )
    return float(critical / sqrt(variance))


@lru_cache(maxsize=1024)
def _critical_value(level: float, networks: int, freedom: float) -> float:
    """The quantile of Student's t, or of the studentised range over more than two means."""
    if networks <= 2:
        return float(stdtrit(freedom, (1 + level) / 2))
    from scipy.stats import studentized_range  # noqa: PLC0415 - half a second to import

    return float(studentized_range.ppf(level, networks, freedom)) / sqrt(2)


def sequences(names: Sequence[str], pattern: str | None) -> list[str]:
    r"""The sequence that each image belongs to.

    Args:
        names: file names.
        pattern: a regular expression whose first group is the sequence, `^([^_]+)_` for CamVid;
            None if the images do not come from sequences: then all belong to one, "".

    Raises:
        ValueError: the pattern does not match a name.
    """
    if pattern is None:
        return [""] * len(names)
    matches = [re.search(pattern, name) for name in names]
    for name, match in zip(names, matches, strict=True):
        if match is None:
            raise ValueError(
                f"{name}: the sequence pattern {pattern!r} does not match this name; "
                "give a pattern whose first group is the sequence, or none"
            )
    return [match[1] for match in matches if match]


def resample(
    sequence_of: Sequence[str], resampling: Resampling = Resampling()
) -> NDArray[np.int64]:
    """Draws images in blocks, each sequence as many as it has.

    Images of a sequence must be in the order of time. A block that passes the end of its sequence
    goes on at its start. A sequence shorter than two blocks cannot be resampled by itself; all such
    sequences are put end to end and count as one.

    Returns:
        int64 (resamples, N): how often each of the N images was drawn; rows sum to N.
    """
    rng = np.random.default_rng(resampling.seed)
    drawn = np.zeros((resampling.resamples, len(sequence_of)), np.int64)
    for members in _strata(sequence_of, resampling.block_length):
        n = len(members)
        length = _length(n, resampling)
        starts = rng.integers(n, size=(resampling.resamples, -(-n // length), 1))
        positions = (starts + np.arange(length)) % n
        images = members[positions.reshape(resampling.resamples, -1)[:, :n]]
        cells = np.arange(resampling.resamples)[:, None] * len(sequence_of) + images
        drawn += np.bincount(cells.ravel(), minlength=drawn.size).reshape(drawn.shape)
    return drawn


def image_freedom(sequence_of: Sequence[str], resampling: Resampling = Resampling()) -> int:
    """Counts the blocks of all sequences, less one for the mean of each; see `resample`."""
    blocks = [
        len(members) // _length(len(members), resampling)
        for members in _strata(sequence_of, resampling.block_length)
    ]
    return sum(blocks) - len(blocks)


def image_error(
    samples: FloatArray, sequence_of: Sequence[str], resampling: Resampling = Resampling()
) -> FloatArray:
    """Returns the standard error over images, from the scores of resamples.

    A resample of b blocks varies like a mean whose variance was divided by b, not by b - 1; with
    the few blocks that a short drive has, the difference counts.

    Args:
        samples: (..., resamples).
        sequence_of: of the images that were resampled.
        resampling: how.

    Returns:
        (...); resamples in which a score is undefined are left out. NaN where it is undefined in
        all, or there is but one block.
    """
    freedom = image_freedom(sequence_of, resampling)
    if freedom == 0:
        return np.full(samples.shape[:-1], np.nan)
    strata = len(_strata(sequence_of, resampling.block_length))
    mean = mean_defined(samples)
    deviation = np.sqrt(mean_defined((samples - mean[..., None]) ** 2))
    return np.asarray(deviation * sqrt((freedom + strata) / freedom))


def interval(
    estimate: float,
    sources: Sequence[Source],
    *,
    level: float = LEVEL,
    networks: int = 2,
    limits: tuple[float, float] = (-inf, inf),
) -> Interval:
    """Sets an interval about an estimate, see `half_width`, and cuts it off at the limits."""
    half = half_width(sources, level, networks)
    if isnan(half):
        return Interval(estimate, nan, nan)
    low, high = np.clip([estimate - half, estimate + half], *limits).tolist()
    return Interval(estimate, low, high)


def _strata(sequence_of: Sequence[str], block_length: int) -> list[NDArray[np.intp]]:
    """Positions of the images of every sequence; short sequences together come last."""
    labels = np.array(sequence_of)
    members = [np.flatnonzero(labels == name) for name in dict.fromkeys(sequence_of)]
    long = [images for images in members if len(images) >= 2 * block_length]
    short = [images for images in members if len(images) < 2 * block_length]
    return [*long, np.concatenate(short)] if short else long


def _length(images: int, resampling: Resampling) -> int:
    """Images of a block, so that there are two blocks at least."""
    return min(resampling.block_length, max(1, images // 2))
