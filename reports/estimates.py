"""Scores of networks with their intervals, and paired differences; kept in a cache.

A network's figure is the mean over its seeds. Its interval comes from resamples of the test images
in blocks (bench/metrics/uncertainty.py), every seed and every network scored on the same resamples;
with three seeds or more the seeds are drawn anew in each resample as well.
"""

import hashlib
import json
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import records
from bench.metrics import regions
from bench.metrics.ratios import FloatArray, ratio
from bench.metrics.scores import HEADLINE, PAPER, Conventions, Evidence, headline
from bench.metrics.uncertainty import Interval, Resampling, resample, sequences
from reports.runs import Evaluation, Run, matrix, warn

CACHE = ".estimates.json"
FORMAT = 1  # of the cache; a change in what the figures mean needs a new number
ENOUGH_SEEDS = 3  # below, a comparison is of these weights and not of the architectures

Evaluated = tuple[Run, Evaluation]


class Estimates:
    """Intervals by what they were computed from; a second report opens no evidence."""

    def __init__(self, folder: Path | None, conventions: Conventions = PAPER) -> None:
        self.conventions = conventions
        self._path = folder / CACHE if folder else None
        self._known = _read_cache(self._path)
        self._changed = False
        self._samples = lru_cache(maxsize=64)(self._resampled)

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

        Raises:
            ValueError: the two were not evaluated on the same images.
        """
        return self._remember(first, second)

    def save(self) -> None:
        """Writes the cache, together with what another report has found meanwhile."""
        if self._path is None or not self._changed:
            return
        content = {"version": FORMAT, "estimates": {**_read_cache(self._path), **self._known}}
        try:
            records.write_bytes(self._path, json.dumps(content).encode())
        except OSError as error:  # a reader of somebody else's runs may not write there
            print(f"{self._path}: not kept for the next report ({error})", file=sys.stderr)

    def _remember(
        self, first: Sequence[Evaluated], second: Sequence[Evaluated]
    ) -> dict[str, Interval]:
        source = [[_stamp(*one) for one in side] for side in (first, second)]
        text = json.dumps([source, asdict(self.conventions)])
        key = hashlib.sha256(text.encode()).hexdigest()[:24]
        if key not in self._known:
            self._known[key] = self._compute(first, second)
            self._changed = True
        return {
            name: Interval(*(np.nan if number is None else number for number in numbers))
            for name, numbers in self._known[key].items()
        }

    def _compute(
        self, first: Sequence[Evaluated], second: Sequence[Evaluated]
    ) -> dict[str, list[float | None]]:
        values = self._mean(first, 0)
        if second:
            _require_same_images(first[0], second[0])
            other = self._mean(second, 1)
            values = {key: values[key] - other[key] for key in values}
        level = Resampling().level
        found = {}
        for key, samples in values.items():
            low, high = np.quantile(samples[1:], [(1 - level) / 2, (1 + level) / 2])
            numbers = (float(samples[0]), float(low), float(high))
            found[key] = [None if np.isnan(number) else number for number in numbers]
        return found

    def _mean(self, seeds: Sequence[Evaluated], side: int) -> dict[str, FloatArray]:
        """Averages over seeds: (1 + resamples,) of each score, the estimate first."""
        parts = [
            self._samples(run.folder, e["split"], e["iteration"], e.get("variant", ""))
            for run, e in seeds
        ]
        loaded = [self._arrays(part, one) for part, one in zip(parts, seeds, strict=True)]
        count = len(loaded)
        shape = len(next(iter(loaded[0].values()))), count
        weights = np.full(shape, 1 / count)
        if count >= ENOUGH_SEEDS:
            rng = np.random.default_rng([Resampling().seed, side])
            drawn = rng.multinomial(count, np.full(count, 1 / count), size=shape[0] - 1)
            weights[1:] = drawn / count
        return {
            key: (np.stack([one[key] for one in loaded], axis=1) * weights).sum(axis=1)
            for key in loaded[0]
        }

    def _arrays(self, part: dict[str, FloatArray] | None, one: Evaluated) -> dict[str, FloatArray]:
        """Falls back on the set's matrix where the evidence is unreadable: no interval, no BF."""
        if part is not None:
            return part
        run, evaluation = one
        confusion = matrix(evaluation)[None]
        point = {
            **_classes(regions.class_accuracy(confusion), run.config["dataset"]["classes"]),
            "G": regions.global_accuracy(confusion),
            "C": regions.mean_class_accuracy(confusion, self.conventions.absent_classes),
            "mIoU": regions.mean_iou(confusion, self.conventions.absent_classes),
            "BF": np.array([np.nan]),
        }
        missing = np.full(Resampling().resamples, np.nan)
        return {key: np.concatenate([value, missing]) for key, value in point.items()}

    def _resampled(
        self, folder: Path, split: str, iteration: int, variant: str
    ) -> dict[str, FloatArray] | None:
        """Scores an evaluation on all images and on every resample; None if it is unreadable."""
        summary = {"split": split, "iteration": iteration, "variant": variant}
        config = records.read_json(folder / "config.json")["config"]["dataset"]
        try:
            arrays = records.read_evidence(folder, summary)
            evidence = Evidence(
                tuple(map(str, arrays["names"])), arrays["confusion"], arrays["boundaries"]
            )
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            name = records.evaluation_name(split, iteration, variant)
            warn(f"{folder / 'evaluations' / name}.npz: {error}")
            return None
        weights = _weights(evidence.names, config.get("sequence"))
        scores = headline(evidence, self.conventions, weights)
        rows = evidence.confusion.astype(np.float64)
        counts = weights.astype(np.float64)
        right = counts @ np.diagonal(rows, axis1=1, axis2=2)
        accuracy = ratio(right, counts @ rows.sum(axis=2))
        return {**_classes(accuracy, config["classes"]), **{k: scores[k] for k in HEADLINE}}


def _classes(accuracy: FloatArray, names: Sequence[str]) -> dict[str, FloatArray]:
    return {f"accuracy/{name}": accuracy[:, index] for index, name in enumerate(names)}


@lru_cache(maxsize=8)
def _weights(names: tuple[str, ...], pattern: str | None) -> NDArray[np.int64]:
    """How often each image occurs: once in the first row, as drawn in the others."""
    drawn = resample(sequences(names, pattern), resampling(pattern))
    return np.vstack([np.ones(len(names), np.int64), drawn])


def resampling(pattern: str | None) -> Resampling:
    """How a data set is resampled: in blocks where its images come from videos."""
    return Resampling() if pattern else Resampling(block_length=1)


def _stamp(run: Run, evaluation: Evaluation) -> list[Any]:
    """Identifies the evidence of an evaluation without opening it."""
    name = records.evaluation_name(
        evaluation["split"], evaluation["iteration"], evaluation.get("variant", "")
    )
    path = run.folder / "evaluations" / f"{name}.npz"
    stamp = path.stat() if path.exists() else None
    return [run.folder.name, name, stamp.st_mtime_ns if stamp else 0, stamp.st_size if stamp else 0]


def _require_same_images(one: Evaluated, other: Evaluated) -> None:
    digests = [
        run.data.get("splits", {}).get(evaluation["split"], {}).get("digest")
        for run, evaluation in (one, other)
    ]
    if digests[0] != digests[1]:
        raise ValueError(
            f"{one[0].folder.name} and {other[0].folder.name} were evaluated on different images; "
            "a paired difference needs the same ones"
        )


def _read_cache(path: Path | None) -> dict[str, Any]:
    """Reads the cache; one of another format, or a damaged one, is computed anew."""
    if path is None or not path.exists():
        return {}
    try:
        content = records.read_json(path)
    except ValueError as error:
        warn(str(error))
        return {}
    estimates = content.get("estimates") if content.get("version") == FORMAT else None
    return estimates if isinstance(estimates, dict) else {}
