"""Scores of networks with their intervals, and paired differences; kept in a cache.

A network's figure is the mean over its seeds. Its interval comes from resamples of the test images
in blocks (bench/metrics/uncertainty.py), every seed and every network scored on the same resamples.
With three seeds or more each resample also moves by what other seeds would have changed: Student's
t times the standard error of the mean over seeds. To draw so few seeds anew instead would promise
too much: with three of them it gives little more than the range from the lowest to the highest,
which misses the mean of all seeds one time in four.

A seed gives every network the same batches in the same order, so that it moves them alike: networks
are compared seed by seed on the seeds they share.
"""

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from math import isnan, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from bench import records
from bench.evidence import read_evidence
from bench.metrics import regions
from bench.metrics.ratios import FloatArray
from bench.metrics.scores import HEADLINE, PAPER, Conventions, Evidence, weighted_scores
from bench.metrics.uncertainty import Interval, Resampling, percentiles, resample, sequences
from bench.sound_files import digest_of, require
from reports.read.runs import Evaluation, Run, matrix, warn

CACHE = ".estimates.json"
FORMAT = 5  # of the cache; a change in what the figures mean needs a new number
ENOUGH_SEEDS = 3  # below, a comparison is of these weights and not of the architectures

SAMPLES_KEPT = 256  # evaluations whose resamples stay in memory, some 0.1 MB each

Evaluated = tuple[Run, Evaluation]


class Estimates:
    """Intervals by what they were computed from; a second report opens no evidence."""

    def __init__(self, folder: Path | None, conventions: Conventions = PAPER) -> None:
        self.conventions = conventions
        self._path = folder / CACHE if folder else None
        self._known = _read_cache(self._path)
        self._changed = False
        self._samples = lru_cache(maxsize=SAMPLES_KEPT)(self._resampled)

    def of(self, seeds: Sequence[Evaluated]) -> dict[str, Interval]:
        """Estimates G, C, mIoU, BF and `accuracy/CLASS` of a network.

        Args:
            seeds: the evaluations of its runs, all on the same images.
        """
        return self._remember(seeds, [])

    def difference(
        self, first: Sequence[Evaluated], second: Sequence[Evaluated]
    ) -> dict[str, Interval]:
        """Estimates `first` minus `second`, both on the same resamples.

        Where the two have seeds in common, only these count; see `with_common_seeds`.

        Raises:
            ValueError: the two were not evaluated on the same images.
        """
        one, other = with_common_seeds(first, second)
        _require_same_images([*one, *other])
        if _stamps(one) <= _stamps(other):
            return self._remember(one, other)
        # What is drawn for the seeds must not depend on which side is named first.
        return {
            name: Interval(0.0 - change.estimate, 0.0 - change.high, 0.0 - change.low)
            for name, change in self._remember(other, one).items()
        }

    def save(self) -> None:
        """Writes the cache, together with what another report has found meanwhile."""
        if self._path is None or not self._changed:
            return
        content = {"format": FORMAT, "estimates": {**_read_cache(self._path), **self._known}}
        try:
            records.write_json(self._path, content, durable=False)
        except ValueError as error:  # a reader of somebody else's runs may not write there
            print(f"not kept for the next report: {error}", file=sys.stderr)

    def _remember(
        self, first: Sequence[Evaluated], second: Sequence[Evaluated]
    ) -> dict[str, Interval]:
        text = json.dumps([_stamps(first), _stamps(second), asdict(self.conventions)])
        key = hashlib.sha256(text.encode()).hexdigest()[:24]
        if self._known.get(key, {}).keys() != set(_names(first)):
            self._known[key] = self._compute(first, second)
            self._changed = True
        return {
            name: Interval(*(np.nan if number is None else number for number in numbers))
            for name, numbers in self._known[key].items()
        }

    def _compute(
        self, first: Sequence[Evaluated], second: Sequence[Evaluated]
    ) -> dict[str, list[float | None]]:
        names, ours = _names(first), self._samples_of(first)
        if not second:
            values = _over_seeds(ours, side=0).clip(0, 1)
        else:
            known = _names(second)
            theirs = self._samples_of(second)[[known.index(name) for name in names]]
            if _seeds(first) == _seeds(second):
                values = _over_seeds(ours - theirs, side=0)
            else:
                values = _over_seeds(ours, side=0) - _over_seeds(theirs, side=1)
        level = Resampling().level
        low, high = percentiles(values[:, 1:], level)
        numbers = np.stack([values[:, 0], low, high], axis=1).tolist()
        return {
            name: [None if isnan(number) else number for number in three]
            for name, three in zip(names, numbers, strict=True)
        }

    def _samples_of(self, seeds: Sequence[Evaluated]) -> FloatArray:
        """Scores every seed, in their order: (scores, 1 + resamples, seeds), the estimate first."""
        ordered = sorted(seeds, key=lambda one: one[0].seed)
        return np.stack([self._of_one(*one) for one in ordered], axis=-1)

    def _of_one(self, run: Run, evaluation: Evaluation) -> FloatArray:
        """Scores one network on all images and on every resample: (scores, 1 + resamples).

        Falls back on the set's matrix where the evidence is unreadable: no interval, no BF.
        """
        variant = evaluation.get("variant", "")
        where = run.folder, evaluation["split"], evaluation["iteration"], variant
        samples = self._samples(*where, run.config["dataset"].get("sequence"))
        if samples is not None:
            return samples
        pixels, rule = regions.class_pixels(matrix(evaluation)), self.conventions.absent_classes
        point = [
            *regions.class_accuracy(pixels),
            regions.global_accuracy(pixels),
            regions.mean_class_accuracy(pixels, rule),
            regions.mean_iou(pixels, rule),
            np.nan,
        ]
        missing = np.full((len(point), Resampling().resamples), np.nan)
        return np.column_stack([point, missing])

    def _resampled(
        self, folder: Path, split: str, iteration: int, variant: str, sequence: str | None
    ) -> FloatArray | None:
        """Opens the evidence of an evaluation and scores it, see `_of_one`; None: unreadable."""
        summary = {"split": split, "iteration": iteration, "variant": variant}
        try:
            arrays = read_evidence(folder, summary)
            if "boundaries" not in arrays:
                raise ValueError(f"{folder}: the evidence of {split} has no boundary counts")
            evidence = Evidence(
                tuple(map(str, arrays["names"])), arrays["confusion"], arrays["boundaries"]
            )
        except ValueError as error:
            warn(str(error))
            return None
        weights = _weights(evidence.names, sequence)
        scores, accuracy = weighted_scores(evidence, self.conventions, weights)
        return np.vstack([accuracy.T, *(scores[name] for name in HEADLINE)])


def _names(seeds: Sequence[Evaluated]) -> list[str]:
    """Names the scores of an evaluation, in the order in which they are computed."""
    run, _ = seeds[0]
    return [*(f"accuracy/{name}" for name in run.config["dataset"]["classes"]), *HEADLINE]


def _seeds(side: Sequence[Evaluated]) -> list[int]:
    return sorted(run.seed for run, _ in side)


def _over_seeds(samples: FloatArray, side: int) -> FloatArray:
    """Averages (scores, 1 + resamples, seeds); resamples of enough seeds vary as seeds do."""
    mean: FloatArray = np.asarray(samples.mean(axis=-1))
    count = samples.shape[-1]
    if count >= ENOUGH_SEEDS:
        error = samples[:, :1].std(axis=-1, ddof=1) / sqrt(count)
        mean[:, 1:] += error * _student(count - 1, mean.shape[1] - 1, side)
    return mean


@lru_cache(maxsize=32)
def _student(freedom: int, resamples: int, side: int) -> FloatArray:
    """Draws from Student's t, one in each of `resamples` equally likely ranges, in random order."""
    order = np.random.default_rng([Resampling().seed, side]).permutation(resamples)
    return np.asarray(stdtrit(freedom, (order + 0.5) / resamples))


@lru_cache(maxsize=8)
def _weights(names: tuple[str, ...], pattern: str | None) -> FloatArray:
    """How often each image occurs: once in the first row, as drawn in the others."""
    drawn = resample(sequences(names, pattern), resampling(pattern))
    return np.vstack([np.ones(len(names)), drawn])


def resampling(pattern: str | None) -> Resampling:
    """How a data set is resampled: in blocks where its images come from videos."""
    return Resampling() if pattern else Resampling(block_length=1)


def _stamps(side: Sequence[Evaluated]) -> list[list[Any]]:
    """Identifies the evidence of evaluations without opening it.

    Older records do not name the digest of their evidence: there its age and size stand for it.
    """
    stamps = []
    for run, evaluation in side:
        variant = evaluation.get("variant", "")
        name = records.evaluation_name(evaluation["split"], evaluation["iteration"], variant)
        path = run.folder / "evaluations" / f"{name}.npz"
        state = path.stat() if path.exists() else None
        stamp: list[Any] = [run.folder.name, name, digest_of(evaluation)]
        stamp += [state.st_mtime_ns, state.st_size] if state else [0, 0]
        dataset = run.config["dataset"]
        stamps.append([*stamp, dataset["classes"], dataset.get("sequence")])
    return stamps


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


def _read_cache(path: Path | None) -> dict[str, Any]:
    """Reads the cache; one of another format, or a damaged one, is computed anew."""
    if path is None or not path.exists():
        return {}
    try:
        content, digest = records.read_with_digest(path)
        if digest is None or content.get("format") != FORMAT:
            return {}
        require(path, content, {"estimates": {"*": {"*": [(None, float)]}}})
    except ValueError as error:
        warn(str(error))
        return {}
    estimates: dict[str, Any] = content["estimates"]
    return estimates
