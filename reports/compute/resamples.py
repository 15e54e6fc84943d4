"""Scores of evaluations on resamples of their images; the only place that opens evidence."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.evidence import read_evidence
from bench.metrics import regions
from bench.metrics.ratios import FloatArray
from bench.metrics.scores import (
    HEADLINE,
    OTHERS,
    Conventions,
    Evidence,
    other_scores,
    scores_of_pixels,
    weighted_scores,
)
from bench.metrics.uncertainty import (
    Resampling,
    image_error,
    image_freedom,
    resample,
    sequences,
)
from reports.compute.kept import FREEDOM, Evaluated, Numbers, score_names
from reports.read.runs import Evaluation, Run, matrix, warn

# Of one network: scores on all images and on every resample, (scores, 1 + resamples); the images.
OfImages = tuple[FloatArray, tuple[str, ...] | None]
OfOne = Callable[[Run, Evaluation, str | None], OfImages]
SIDES_KEPT = 2048  # networks whose resamples stay in memory, some 60 kB each


class Scored(NamedTuple):
    """The scores of evaluations.

    Attributes:
        names: of the scores.
        points: (scores, seeds), on all images.
        samples: float32 (scores, resamples), the mean over seeds on each resample.
        images: the images' names; None where the evidence is not to be read.
        sequence: the pattern that tells their sequences.
    """

    names: tuple[str, ...]
    points: FloatArray
    samples: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    images: tuple[str, ...] | None
    sequence: str | None


class Resamples:
    """Scores sides: evaluations of one network, which differ in their seed."""

    def __init__(self, conventions: Conventions) -> None:
        self._conventions = conventions
        self._sides: dict[tuple[tuple[str, str, int, str], ...], Scored] = {}

    def numbers(self, side: Sequence[Evaluated]) -> Numbers:
        """Returns, by score, its standard error over images and then the figure of each seed."""
        return _numbers(self._scored(side))

    def others(self, side: Sequence[Evaluated]) -> Numbers:
        """Likewise of `bench.metrics.scores.other_scores`, NaN where they were not counted."""
        return _numbers(self._score(side, OTHERS, _others_of_one))

    def paired(self, first: Sequence[Evaluated], second: Sequence[Evaluated]) -> Numbers:
        """Returns the standard error over images of the difference of two sides, by score.

        Raises:
            ValueError: their evidence is of other images, or of the same in another order.
        """
        one, other = self._scored(first), self._scored(second)
        if one.images and other.images and one.images != other.images:
            raise ValueError(
                f"{first[0][0].folder.name} and {second[0][0].folder.name} have evidence of other "
                "images, or in another order; a paired difference needs the same ones"
            )
        order = [other.names.index(name) for name in one.names]
        errors, freedom = _errors(one.samples - other.samples[order], one)
        rows = [[error] for error in errors.tolist()]
        return {**dict(zip(one.names, rows, strict=True)), FREEDOM: [freedom]}

    def _scored(self, side: Sequence[Evaluated]) -> Scored:
        key = tuple(
            (str(run.folder), e["split"], e["iteration"], e.get("variant", "")) for run, e in side
        )
        if key not in self._sides:
            if len(self._sides) >= SIDES_KEPT:
                self._sides.pop(next(iter(self._sides)))
            self._sides[key] = self._score(side, score_names(side[0][0]), self._of_one)
        return self._sides[key]

    def _score(self, side: Sequence[Evaluated], scores: tuple[str, ...], of_one: OfOne) -> Scored:
        run, _ = side[0]
        pattern = run.config["dataset"].get("sequence")
        found = [of_one(run, evaluation, pattern) for run, evaluation in side]
        images = [names for _, names in found]
        points = np.stack([scores[:, 0] for scores, _ in found], axis=-1)
        samples = np.mean([scores[:, 1:] for scores, _ in found], axis=0)
        if None not in images and len({*images}) > 1:
            warn(
                f"the intervals of {run.name}: its seeds have evidence of other images, "
                "or in another order"
            )
            samples = np.full_like(samples, np.nan)
        known = None if None in images else images[0]
        return Scored(scores, points, samples.astype(np.float32), known, pattern)

    def _of_one(self, run: Run, evaluation: Evaluation, pattern: str | None) -> OfImages:
        """Scores one network.

        Falls back on the set's matrix where the evidence is unreadable: no interval, no BF.
        """
        evidence = evidence_of(run.folder, evaluation)
        if evidence is not None:
            weights = _weights(evidence.names, pattern)
            scores, accuracy = weighted_scores(evidence, self._conventions, weights)
            found = np.vstack([accuracy.T, *(scores[name] for name in HEADLINE)])
            return found, evidence.names
        pixels, rule = regions.class_pixels(matrix(evaluation)), self._conventions.absent_classes
        point = [
            *regions.class_accuracy(pixels),
            regions.global_accuracy(pixels),
            regions.mean_class_accuracy(pixels, rule),
            regions.mean_iou(pixels, rule),
            np.nan,
        ]
        return _without_resamples(point), None


def _others_of_one(run: Run, evaluation: Evaluation, pattern: str | None) -> OfImages:
    """As `Resamples._of_one`; without evidence, what the set's matrix holds."""
    evidence = evidence_of(run.folder, evaluation)
    if evidence is None:
        known = scores_of_pixels(regions.class_pixels(matrix(evaluation)))
        return _without_resamples([float(known.get(name, np.nan)) for name in OTHERS]), None
    scores = other_scores(evidence, _weights(evidence.names, pattern))
    return np.stack([scores[name] for name in OTHERS]), evidence.names


def _without_resamples(point: Sequence[float]) -> FloatArray:
    missing = np.full((len(point), Resampling().resamples), np.nan)
    return np.column_stack([point, missing])


def _numbers(scored: Scored) -> Numbers:
    errors, freedom = _errors(scored.samples, scored)
    rows = np.column_stack([errors, scored.points]).tolist()
    return {**dict(zip(scored.names, rows, strict=True)), FREEDOM: [freedom]}


def evidence_of(folder: Path, evaluation: Evaluation) -> Evidence | None:
    """Opens the evidence of an evaluation; None, with a word, where it cannot be read."""
    try:
        arrays = read_evidence(folder, evaluation)
        if "boundaries" not in arrays:
            split = evaluation["split"]
            raise ValueError(f"{folder}: the evidence of {split} has no boundary counts")
    except ValueError as error:
        warn(str(error))
        return None
    more = (arrays.get(name) for name in ("boundary_regions", "surfaces", "calibration"))
    names = tuple(map(str, arrays["names"]))
    return Evidence(names, arrays["confusion"], arrays["boundaries"], *more)


def _errors(
    samples: np.ndarray[tuple[int, ...], np.dtype[np.float32]], scored: Scored
) -> tuple[FloatArray, float]:
    if scored.images is None:
        return np.full(len(samples), np.nan), np.nan
    sequence_of, how = _sequences(scored.images, scored.sequence), resampling(scored.sequence)
    errors = image_error(samples.astype(np.float64), sequence_of, how)
    return errors, image_freedom(sequence_of, how)


@lru_cache(maxsize=8)
def _sequences(names: tuple[str, ...], pattern: str | None) -> list[str]:
    return sequences(names, pattern)


@lru_cache(maxsize=8)
def _weights(names: tuple[str, ...], pattern: str | None) -> FloatArray:
    """How often each image occurs: once in the first row, as drawn in the others."""
    drawn = resample(_sequences(names, pattern), resampling(pattern))
    return np.vstack([np.ones(len(names)), drawn])


def resampling(pattern: str | None) -> Resampling:
    """How a data set is resampled: in blocks where its images come from videos."""
    return Resampling() if pattern else Resampling(block_length=1)
