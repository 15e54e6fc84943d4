"""How often intervals hold what they promise: a simulation of scores whose truth is known.

    python tests/benchmarks/coverage.py --repetitions 400

Two drives of 171 and 62 images; a score is the mean over images of what all networks share on an
image, what one network adds, what a seed moves alike with all networks, and a residual of the run.
The deviations are those of the shipped results in G (seed 2.0 points, residual 1.8, over images an
error of 0.5 for a network and of 0.3 for a difference); neighbouring frames are correlated by .5,
.7, or with a long memory. "before" is a percentile interval
over the same resamples, moved by 1,000 draws of Student's t where there are three seeds, each pair
of networks by itself. The last line is JSON.
"""

import argparse
import json
import sys
from collections.abc import Callable
from functools import cache, partial
from math import sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.stats import t as student

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.metrics.uncertainty import (
    Resampling,
    Source,
    half_width,
    image_error,
    image_freedom,
    resample,
)
from reports.compute.pooling import residual

Array = NDArray[np.float64]
Outcome = tuple[float, ...]  # before, after
DRIVES = (171, 62)
SEQUENCES = [str(number) for number, length in enumerate(DRIVES) for _ in range(length)]
SHARED, OWN = 2.8, 1.5  # deviation of an image, in points: of all networks, and of one
SEED, RESIDUAL = 2.0, 1.8  # likewise, of a run
MEMORIES = {"AR .5": ((0.5, 1.0),), "AR .7": ((0.7, 1.0),), "heavy": ((0.6, 0.6), (0.93, 0.4))}


def images(rng: np.random.Generator, shape: tuple[int, ...], memory: str) -> Array:
    """Draws the images' effects (*shape, 233) of variance 1, correlated along each drive."""
    found = []
    for length in DRIVES:
        parts = 0.0
        for rho, share in MEMORIES[memory]:
            noise = rng.standard_normal((*shape, length)) * sqrt(1 - rho**2)
            noise[..., 0] /= sqrt(1 - rho**2)
            parts = parts + sqrt(share) * lfilter([1], [1, -rho], noise)
        found.append(parts)
    return np.concatenate(found, axis=-1)


def runs(
    rng: np.random.Generator,
    networks: int,
    seeds: int,
    memory: str,
    *,
    trained: float = 1.0,
    unlike: float = 1.0,
) -> Array:
    """Draws the scores (networks, seeds, images) of networks that are all equal, about 0.

    What training adds is `trained` times that of the shipped results, and the residual of the last
    network `unlike` times that of the first.
    """
    spread = RESIDUAL * np.geomspace(1 / sqrt(unlike), sqrt(unlike), networks)[:, None]
    residuals = spread * rng.standard_normal((networks, seeds))
    of_runs = trained * (SEED * rng.standard_normal(seeds) + residuals)
    of_images = SHARED * images(rng, (), memory) + OWN * images(rng, (networks, 1), memory)
    return np.asarray(of_runs[..., None] + of_images)


@cache
def weights() -> Array:
    """How often each image occurs in each resample, (resamples, images)."""
    return resample(SEQUENCES, Resampling()).astype(np.float64)


def resampled(scores: Array) -> Array:
    """Scores (..., images) on all resamples: (..., resamples)."""
    return np.asarray(scores @ weights().T / scores.shape[-1])


def before(rng: np.random.Generator, scores: Array) -> tuple[float, float]:
    """The former interval of a mean over seeds, (seeds, images) -> (low, high)."""
    seeds = len(scores)
    samples = resampled(scores.mean(axis=0))
    if seeds >= 3:
        error = scores.mean(axis=-1).std(ddof=1) / sqrt(seeds)
        quantiles = (rng.permutation(samples.size) + 0.5) / samples.size
        samples = samples + error * student.ppf(quantiles, seeds - 1)
    low, high = np.quantile(samples, [0.025, 0.975])
    return float(low), float(high)


def of_images(scores: Array) -> Source:
    """The images' part of a mean over seeds, or of a difference, (images,)."""
    error = float(image_error(resampled(scores), SEQUENCES))
    return Source(error, image_freedom(SEQUENCES))


def after(scores: Array, seeds_source: Source | None, networks: int = 2) -> tuple[float, float]:
    """The interval of (seeds, images) by images and the given source."""
    sources = [of_images(scores.mean(axis=0)), *([seeds_source] if seeds_source else [])]
    half, middle = half_width(sources, networks=networks), float(scores.mean())
    return middle - half, middle + half


def alone(scores: Array) -> Source | None:
    """The seeds' part of one network's mean."""
    seeds = len(scores)
    if seeds < 3:
        return None
    return Source(float(scores.mean(axis=-1).std(ddof=1)) / sqrt(seeds), seeds - 1)


def pooled(scores: Array) -> Source:
    """The seeds' part of a difference of the first two of (networks, seeds, images)."""
    found = residual(scores.mean(axis=-1))
    if not found.is_shared:
        found = residual(scores[:2].mean(axis=-1), tested=False)
    return Source(sqrt(2 * found.variance / scores.shape[1]), found.freedom)


def covers(interval: tuple[float, float]) -> bool:
    """Whether the truth, 0, lies in the interval."""
    return interval[0] <= 0 <= interval[1]


def mean_of_one(rng: np.random.Generator, seeds: int, memory: str, trained: float) -> Outcome:
    """Whether the interval of one network's mean covers the truth."""
    scores = runs(rng, 1, seeds, memory, trained=trained)[0]
    return covers(before(rng, scores)), covers(after(scores, alone(scores)))


def pair(rng: np.random.Generator, seeds: int, unlike: float = 1.0, of: int = 8) -> Outcome:
    """Whether two equal networks of several are called different; after: only from three seeds."""
    scores = runs(rng, of, seeds, "AR .7", unlike=unlike)
    scores = scores[rng.permutation(of)]
    change = scores[0] - scores[1]
    separated = seeds >= 3 and not covers(after(change, pooled(scores)))
    return not covers(before(rng, change)), separated


def width(rng: np.random.Generator, seeds: int) -> Outcome:
    """Half the width of the interval of a difference, in points."""
    scores = runs(rng, 8, seeds, "AR .7")
    change = scores[0] - scores[1]
    return tuple(
        (high - low) / 2 for low, high in (before(rng, change), after(change, pooled(scores)))
    )


def unbolded(rng: np.random.Generator, seeds: int) -> Outcome:
    """Whether some one of eight equal networks is not in bold."""
    scores = runs(rng, 8, seeds, "AR .7")
    scores = scores[np.argsort(-scores.mean(axis=(1, 2)))]
    changes, source = scores[0] - scores[1:], pooled(scores)
    return (
        any(before(rng, change)[0] > 0 for change in changes),
        any(after(change, source, networks=8)[0] > 0 for change in changes),
    )


CASES: dict[str, Callable[[np.random.Generator], Outcome]] = {
    **{
        f"coverage, images only, {memory}": partial(
            mean_of_one, seeds=1, memory=memory, trained=0.0
        )
        for memory in MEMORIES
    },
    **{
        f"coverage, mean of {seeds} seeds": partial(
            mean_of_one, seeds=seeds, memory="AR .7", trained=1.0
        )
        for seeds in (3, 5, 10)
    },
    **{
        f"equal pair separated, {seeds} seeds": partial(pair, seeds=seeds) for seeds in (1, 2, 3, 5)
    },
    "equal pair separated, 3 seeds, two networks": partial(pair, seeds=3, of=2),
    "equal pair separated, 3 seeds, residuals 1 to 4": partial(pair, seeds=3, unlike=4.0),
    "half-width of a difference, 3 seeds": partial(width, seeds=3),
    "one of eight equal wrongly unbolded, 3 seeds": partial(unbolded, seeds=3),
}


def main() -> None:
    """Simulates and prints."""
    parser = argparse.ArgumentParser(description="Coverage and level of the intervals of reports.")
    parser.add_argument("--repetitions", type=int, default=400)
    options = parser.parse_args()
    found = {}
    print(f"{'':<50}{'before':>8}{'after':>8}")
    for name, case in CASES.items():
        rng = np.random.default_rng(0)
        outcomes = np.array([case(rng) for _ in range(options.repetitions)], np.float64)
        found[name] = [round(mean, 3) for mean in outcomes.mean(axis=0).tolist()]
        print(f"{name:<50}{found[name][0]:>8.3f}{found[name][1]:>8.3f}", flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
