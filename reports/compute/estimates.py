"""Scores of networks with their intervals, and differences of two networks.

A network's figure is the mean over its seeds. Two sources make its interval: the test images, which
are resampled in blocks (bench/metrics/uncertainty.py), every seed and every network on the same
resamples; and, with three seeds or more, the seeds, by Student's t.

A seed gives every network the same batches in the same order, so that it moves them alike: networks
are compared seed by seed on the seeds they share, and what is left of a seed is estimated from all
networks together (pooling.py). With fewer than three seeds a difference has the images' error only:
it is of these weights, and no verdict on the networks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import sqrt
from pathlib import Path

import numpy as np

from bench.metrics.ratios import FloatArray
from bench.metrics.scores import OTHERS, PAPER, Conventions
from bench.metrics.uncertainty import LEVEL, Interval, Source, interval
from reports.compute.kept import FREEDOM, Evaluated, Kept, Numbers
from reports.compute.pooling import ENOUGH_SEEDS, Residual, common_layout, residual
from reports.compute.resamples import Resamples
from reports.read.runs import Run

BETTER, WORSE, NOT_SEPARATED, NEEDS_SEEDS = "better", "worse", "not separated", "needs seeds"
Pool = Mapping[str, Residual]  # by score
# By score, the error over images and the figure of each seed; the degrees of freedom.
Parts = tuple[dict[str, float], dict[str, FloatArray], float]


@dataclass(frozen=True)
class Difference(Interval):
    """A score of one network less that of another, with the interval of these two alone.

    Attributes:
        sources: what it varies by.
        seeds: of the side that has fewer.
    """

    sources: tuple[Source, ...]
    seeds: int

    def among(self, networks: int) -> Interval:
        """The interval that holds for all pairs of so many networks at once."""
        return interval(self.estimate, self.sources, networks=networks)

    def corrected(self, comparisons: int) -> Interval:
        """The interval that holds for so many comparisons at once (Bonferroni)."""
        return interval(self.estimate, self.sources, level=1 - (1 - LEVEL) / comparisons)

    @property
    def is_of_networks(self) -> bool:
        """Whether there are enough seeds to speak of the networks, and not of these weights."""
        return self.seeds >= ENOUGH_SEEDS

    def verdict(self, networks: int = 2) -> str:
        """Says whether the first is better or worse, or why that cannot be said."""
        if not self.is_of_networks:
            return NEEDS_SEEDS
        found = self.among(networks)
        return BETTER if found.low > 0 else WORSE if found.high < 0 else NOT_SEPARATED


def _difference(estimate: float, sources: tuple[Source, ...], seeds: int) -> Difference:
    found = interval(estimate, sources)
    return Difference(found.estimate, found.low, found.high, sources, seeds)


class Estimates:
    """Intervals and differences; what they take from evidence is kept for the next report."""

    def __init__(self, folder: Path | None, conventions: Conventions = PAPER) -> None:
        self.conventions = conventions
        self._kept = Kept(folder, conventions)
        self._resamples = Resamples(conventions)

    def save(self) -> None:
        """Writes what was computed, for the next report."""
        self._kept.save()

    def of(self, seeds: Sequence[Evaluated]) -> dict[str, Interval]:
        """Estimates G, C, mIoU, BF and `accuracy/CLASS` of a network.

        Args:
            seeds: the evaluations of its runs, all on the same images.
        """
        return _intervals(*self._numbers(seeds))

    def others(self, seeds: Sequence[Evaluated]) -> dict[str, Interval]:
        """Estimates what others report of the same counts: `bench.metrics.scores.other_scores`."""
        ordered = sorted(seeds, key=lambda one: one[0].seed)
        compute = partial(self._resamples.others, ordered)
        return _intervals(*_taken_apart(self._kept.remember([ordered], compute, OTHERS)))

    def points(self, seeds: Sequence[Evaluated]) -> dict[str, dict[int, float]]:
        """Returns the scores on all images: by score, and then by seed."""
        numbers = sorted(run.seed for run, _ in seeds)
        return {
            name: dict(zip(numbers, values.tolist(), strict=True))
            for name, values in self._numbers(seeds)[1].items()
        }

    def pool(self, sides: Sequence[Sequence[Evaluated]]) -> Pool:
        """Estimates the residual of every score from all networks of one set of conditions.

        Empty where there are not two networks with three seeds in common.
        """
        complete = [side for side in sides if len(side) >= ENOUGH_SEEDS]
        layout = common_layout([self._table(side) for side in complete])
        if layout is None:
            return {}
        scores = self.points(complete[0])
        return {name: residual(values) for name, values in zip(scores, layout, strict=True)}

    def difference(
        self, first: Sequence[Evaluated], second: Sequence[Evaluated], pool: Pool | None = None
    ) -> dict[str, Difference]:
        """Estimates `first` minus `second`, both on the same resamples.

        Where the two have seeds in common, only these count; see `with_common_seeds`.

        Args:
            first: the evaluations of one network.
            second: those of another one.
            pool: the residuals of the networks that both belong to, from `pool`.

        Raises:
            ValueError: the two were not evaluated on the same images.
        """
        one, other = with_common_seeds(first, second)
        _require_same_images([*one, *other])
        pair = sorted([one, other], key=lambda side: [run.folder.name for run, _ in side])
        numbers = self._kept.remember(pair, lambda: self._resamples.paired(*pair))
        (freedom,) = numbers[FREEDOM]
        ours, theirs = self._numbers(one)[1], self._numbers(other)[1]
        same = _seeds(one) == _seeds(other)
        found = {}
        for name, values in ours.items():
            shared = (pool or {}).get(name)
            sources = _paired_source(values, theirs[name], shared) if same else [
                *_seed_source(values), *_seed_source(theirs[name])
            ]  # fmt: skip
            found[name] = _difference(
                float(values.mean() - theirs[name].mean()),
                (Source(numbers[name][0], freedom), *sources),
                min(len(one), len(other)),
            )
        return found

    def _numbers(self, seeds: Sequence[Evaluated]) -> Parts:
        """Returns errors over images, figures by seed in ascending order, degrees of freedom."""
        ordered = sorted(seeds, key=lambda one: one[0].seed)
        compute = partial(self._resamples.numbers, ordered)
        return _taken_apart(self._kept.remember([ordered], compute))

    def _table(self, side: Sequence[Evaluated]) -> dict[int, FloatArray]:
        """Returns the scores (scores,) of a side by seed."""
        points = np.array(list(self._numbers(side)[1].values()))
        return dict(zip(_seeds(side), points.T, strict=True))


def _taken_apart(numbers: Numbers) -> Parts:
    scores = {name: values for name, values in numbers.items() if name != FREEDOM}
    return (
        {name: values[0] for name, values in scores.items()},
        {name: np.array(values[1:]) for name, values in scores.items()},
        numbers[FREEDOM][0],
    )


def _intervals(
    errors: dict[str, float], points: dict[str, FloatArray], freedom: float
) -> dict[str, Interval]:
    found = {}
    for name, values in points.items():
        sources = [Source(errors[name], freedom), *_seed_source(values)]
        found[name] = interval(float(values.mean()), sources, limits=(0.0, 1.0))
    return found


def _seed_source(values: FloatArray) -> list[Source]:
    """Returns the variation of a mean over seeds, where there are enough of them."""
    count = len(values)
    if count < ENOUGH_SEEDS:
        return []
    return [Source(float(values.std(ddof=1)) / sqrt(count), count - 1)]


def _paired_source(ours: FloatArray, theirs: FloatArray, shared: Residual | None) -> list[Source]:
    """Returns the variation over seeds of a difference, pooled where the networks are alike."""
    count = len(ours)
    if count < ENOUGH_SEEDS:
        return []
    if shared is None or not shared.is_shared:
        shared = residual(np.stack([ours, theirs]), tested=False)
    return [Source(sqrt(2 * shared.variance / count), shared.freedom)]


def _seeds(side: Sequence[Evaluated]) -> list[int]:
    return sorted(run.seed for run, _ in side)


def with_common_seeds(
    first: Sequence[Evaluated], second: Sequence[Evaluated]
) -> tuple[Sequence[Evaluated], Sequence[Evaluated]]:
    """Leaves out the seeds that only one side has, if there are any that both have.

    In the middle of a sweep one network may have more of them, and seeds move all networks alike.
    Two sides with enough seeds each, and too few in common, stay as they are.
    """
    common = set(_seeds(first)) & set(_seeds(second))
    if not common or len(common) < ENOUGH_SEEDS <= min(len(first), len(second)):
        return first, second
    one, other = ([e for e in side if e[0].seed in common] for side in (first, second))
    return one, other


def _require_same_images(sides: Sequence[Evaluated]) -> None:
    known: dict[str, Run] = {}
    for run, evaluation in sides:
        digest = run.data.get("splits", {}).get(evaluation["split"], {}).get("digest")
        if digest is None:
            raise ValueError(
                f"{run.folder / 'data.json'} does not say on which images of split "
                f"{evaluation['split']} the run was evaluated; restore it to compare the run"
            )
        known.setdefault(digest, run)
    if len(known) > 1:
        one, other, *_ = known.values()
        raise ValueError(
            f"{one.folder.name} and {other.folder.name} were evaluated on different images; "
            "a paired difference needs the same ones"
        )
