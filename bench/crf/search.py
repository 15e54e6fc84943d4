"""Grid search of the dense CRF's parameters on training images, coarse and then refined.

One task is one image under one appearance kernel: its lattice is built once and serves every weight
w1, and the smoothness lattice is built once per size. What a task gives is appended to a file, so
that an interrupted search goes on where it stopped.
"""

import itertools
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bench.crf.lattice import appearance_lattice, smoothness_lattice
from bench.crf.mean_field import mean_field
from bench.data.images import UInt8Array
from bench.data.schema import DatasetConfig
from bench.metrics.regions import confusion_matrix, region_score
from bench.run.monitor import Monitor


class Appearance(NamedTuple):
    """The parameters that are searched."""

    w1: float
    sigma_alpha: float
    sigma_beta: float


@dataclass(frozen=True)
class Fixed:
    """The parameters that are not searched."""

    w2: float
    sigma_gamma: float
    iterations: int
    normalisation: Any


@dataclass(frozen=True)
class Example:
    """An image to search on.

    Attributes:
        probs: float32 (K, H, W), the softmax at the image's size.
        image: uint8 (H, W, 3).
        truth: uint8 (H, W).
    """

    name: str
    probs: NDArray[np.float32]
    image: UInt8Array
    truth: UInt8Array


def refine(example: Example, points: Iterable[Appearance], fixed: Fixed) -> Iterator[UInt8Array]:
    """Yields the label map of an image under each point; all share their sigmas."""
    probs, image = torch.from_numpy(example.probs), torch.from_numpy(np.array(example.image))
    _, height, width = probs.shape
    smoothness = smoothness_lattice(height, width, fixed.sigma_gamma, fixed.normalisation)
    appearance = None
    for point in points:
        if appearance is None:
            appearance = appearance_lattice(
                image, point.sigma_alpha, point.sigma_beta, fixed.normalisation
            )
        filters = [(fixed.w2, smoothness), (point.w1, appearance)]
        refined = mean_field(probs, filters, fixed.iterations)
        yield refined.argmax(dim=0).to(torch.uint8).numpy()


@dataclass(frozen=True)
class Task:
    """One image under points that share their sigmas."""

    example: Example
    points: list[Appearance]
    fixed: Fixed
    num_classes: int
    void: int

    def execute(self) -> list[list[list[int]]]:
        """Returns the confusion matrix of each point."""
        return [
            confusion_matrix(
                label, self.example.truth, num_classes=self.num_classes, void=self.void
            ).tolist()
            for label in refine(self.example, self.points, self.fixed)
        ]


class Search:
    """A grid search whose results so far are in a file."""

    def __init__(self, path: Path, examples: list[Example], fixed: Fixed, dataset: DatasetConfig):
        self.path, self.examples, self.fixed = path, examples, fixed
        self.num_classes, self.void = len(dataset.classes), dataset.void
        self._known: dict[tuple[str, Appearance], NDArray[np.int64]] = {}
        lines = path.read_text().split("\n") if path.exists() else []
        for line in lines:
            if line.endswith("}"):  # a kill may have cut the last one
                self._remember(json.loads(line))

    def run(
        self, ranges: dict[str, Any], pool: ProcessPoolExecutor, monitor: Monitor
    ) -> Appearance:
        """Searches the grid of the ranges, then finer ones around the best point."""
        axes = [sorted(ranges[name]) for name in Appearance._fields]
        steps = [float(np.diff(axis).mean()) if len(axis) > 1 else 0.0 for axis in axes]
        best = self._best_of(grid(axes), pool, monitor)
        for _ in range(ranges["rounds"] - 1):
            steps = [step / 2 for step in steps]
            finer = [
                sorted({v for v in (value - step, value, value + step) if v > 0})
                for value, step in zip(best, steps, strict=True)
            ]
            best = self._best_of(grid(finer), pool, monitor)
        return best

    def table(self) -> list[dict[str, float]]:
        """Returns every point searched with its mIoU and G, the best first."""
        points = {point for _, point in self._known}
        rows = [
            {**point._asdict(), "mIoU": self._score(point, "mIoU"), "G": self._score(point, "G")}
            for point in points
            if all((example.name, point) in self._known for example in self.examples)
        ]
        return sorted(rows, key=lambda row: -row["mIoU"])

    def _best_of(
        self, points: list[Appearance], pool: ProcessPoolExecutor, monitor: Monitor
    ) -> Appearance:
        tasks = list(self._missing(points))
        with self.path.open("a") as file:
            for done, (task, matrices) in enumerate(
                zip(tasks, pool.map(Task.execute, tasks), strict=True)
            ):
                monitor.check_stop()
                monitor.beat("searching CRF parameters", done, len(tasks))
                line = {
                    "image": task.example.name,
                    "points": [point._asdict() for point in task.points],
                    "matrices": matrices,
                }
                file.write(json.dumps(line) + "\n")
                file.flush()
                self._remember(line)
        return max(points, key=lambda point: self._score(point, "mIoU"))

    def _missing(self, points: list[Appearance]) -> Iterator[Task]:
        by_sigmas = sorted(points, key=lambda p: (p.sigma_alpha, p.sigma_beta, p.w1))
        for _, group in itertools.groupby(by_sigmas, lambda p: (p.sigma_alpha, p.sigma_beta)):
            shared = list(group)
            for example in self.examples:
                missing = [p for p in shared if (example.name, p) not in self._known]
                if missing:
                    yield Task(example, missing, self.fixed, self.num_classes, self.void)

    def _remember(self, line: dict[str, Any]) -> None:
        for point, matrix in zip(line["points"], line["matrices"], strict=True):
            self._known[line["image"], Appearance(**point)] = np.array(matrix)

    def _score(self, point: Appearance, name: str) -> float:
        total = sum(self._known[example.name, point] for example in self.examples)
        return region_score(np.asarray(total), name)


def grid(axes: list[list[float]]) -> list[Appearance]:
    """Lists all points of a grid."""
    return [Appearance(*values) for values in itertools.product(*axes)]


def describe(point: Appearance, fixed: Fixed) -> dict[str, Any]:
    """Returns all parameters by name."""
    return {**point._asdict(), **asdict(fixed)}
