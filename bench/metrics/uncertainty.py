"""How far the scores would move with other test images, and with other seeds.

Neighbouring frames of a drive are nearly the same picture, so images are resampled in blocks of
consecutive frames within their sequence (circular block bootstrap: Politis & Romano 1992), and the
interval is the percentile interval. What a bootstrap over images cannot show is the variation
between training runs: that takes several seeds.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.metrics.ratios import FloatArray
from bench.metrics.scores import PAPER, Conventions, Evidence, headline

# Frames of CamVid's test set are a second apart. Along its two sequences the autocorrelation of
# per-image G, mIoU and BF of a trained network is .5 to .65 at lag 1 and falls to 0 between lags 4
# and 12. Ten frames cover that, and leave the shorter sequence (62 frames) six blocks to draw.
BLOCK_LENGTH = 10

RESAMPLES = 1000


@dataclass(frozen=True)
class Resampling:
    """How to draw resamples.

    Attributes:
        block_length: images a block; 1 for a data set of independent images.
        resamples: number of resamples.
        level: coverage of the interval.
        seed: makes the interval reproducible.
    """

    block_length: int = BLOCK_LENGTH
    resamples: int = RESAMPLES
    level: float = 0.95
    seed: int = 0


@dataclass(frozen=True)
class Interval:
    """A score, or a difference of scores, with its percentile interval; fractions of 1."""

    estimate: float
    low: float
    high: float


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


def resample(sequence_of: Sequence[str], resampling: Resampling) -> NDArray[np.int64]:
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
        length = min(resampling.block_length, max(1, n // 2))
        starts = rng.integers(n, size=(resampling.resamples, -(-n // length), 1))
        positions = (starts + np.arange(length)) % n
        images = members[positions.reshape(resampling.resamples, -1)[:, :n]]
        cells = np.arange(resampling.resamples)[:, None] * len(sequence_of) + images
        drawn += np.bincount(cells.ravel(), minlength=drawn.size).reshape(drawn.shape)
    return drawn


def bootstrap(
    evidence: Evidence,
    sequence_of: Sequence[str],
    conventions: Conventions = PAPER,
    resampling: Resampling = Resampling(),
) -> dict[str, Interval]:
    """The interval of G, C, mIoU and BF over resamples of the test images.

    A resample may lack a rare class altogether; under `paper_script` it then counts 0 there, under
    the other conventions it leaves the mean.
    """
    samples = headline(evidence, conventions, resample(sequence_of, resampling))
    estimates = headline(evidence, conventions)
    return {name: _interval(estimates[name], samples[name], resampling.level) for name in estimates}


def paired_difference(
    first: Evidence,
    second: Evidence,
    sequence_of: Sequence[str],
    conventions: Conventions = PAPER,
    resampling: Resampling = Resampling(),
) -> dict[str, Interval]:
    """The interval of `first` minus `second`, both scored on the same resamples.

    Far narrower than two separate intervals suggest, since hard images are hard for both.

    Raises:
        ValueError: the two were not evaluated on the same images.
    """
    if first.names != second.names:
        odd = sorted(set(first.names) ^ set(second.names))[:3]
        raise ValueError(
            f"a paired difference needs the same images in the same order; {len(first.names)} and "
            f"{len(second.names)} images, not in both: {', '.join(odd) or 'none'}"
        )
    drawn = resample(sequence_of, resampling)
    a, b = (headline(run, conventions, drawn) for run in (first, second))
    a0, b0 = (headline(run, conventions) for run in (first, second))
    return {name: _interval(a0[name] - b0[name], a[name] - b[name], resampling.level) for name in a}


def mean_and_deviation(values: ArrayLike) -> tuple[float, float]:
    """Mean and sample standard deviation over runs; the deviation of a single run is NaN."""
    values = np.asarray(values, np.float64)
    deviation = values.std(ddof=1) if values.size > 1 else np.nan
    return float(values.mean()), float(deviation)


def _strata(sequence_of: Sequence[str], block_length: int) -> list[NDArray[np.intp]]:
    """Positions of the images of every sequence; short sequences together come last."""
    labels = np.array(sequence_of)
    members = [np.flatnonzero(labels == name) for name in dict.fromkeys(sequence_of)]
    long = [images for images in members if len(images) >= 2 * block_length]
    short = [images for images in members if len(images) < 2 * block_length]
    return [*long, np.concatenate(short)] if short else long


def percentiles(samples: FloatArray, level: float) -> FloatArray:
    """Returns the ends of the central interval of (..., B) samples, (2, ...).

    Samples without a value, drawn without any labelled pixel, are left out; NaN where all are.
    """
    ends = [(1 - level) / 2, (1 + level) / 2]
    undefined = np.isnan(samples)
    if not undefined.any():
        return np.asarray(np.quantile(samples, ends, axis=-1))
    none = undefined.sum(axis=-1) == samples.shape[-1]
    found = np.nanquantile(np.where(none[..., None], 0, samples), ends, axis=-1)
    return np.where(none, np.nan, found)


def _interval(estimate: FloatArray, samples: FloatArray, level: float) -> Interval:
    low, high = percentiles(samples.ravel(), level)
    return Interval(estimate.item(), float(low), float(high))
