"""What was exported from a group of runs, as rows: seeds together, scored, and set against PyTorch.

A row's difference is paired: the same weights, seed by seed, on the same images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.metrics.uncertainty import Interval
from reports.compute.estimates import Difference, Estimates
from reports.compute.groups import contestants
from reports.compute.kept import Evaluated
from reports.read.deployed import PYTORCH, Deployed, Quartiles
from reports.read.runs import Run

SCORE = "mIoU"


@dataclass(frozen=True)
class DeployedRow:
    """A network in a runtime and precision on a device.

    Attributes:
        network: its label.
        first: what was exported from the lowest seed, whose times and sizes are shown.
        seeds: the evaluations of all seeds.
        miou: with its interval, as fractions of 1; None where it was not scored.
        change: of mIoU to the network in PyTorch; None for that itself.
    """

    network: str
    first: Deployed
    seeds: Sequence[Evaluated]
    miou: Interval | None
    change: Difference | None

    @property
    def label(self) -> str:
        """Network, runtime and precision."""
        return f"{self.network}, {self.first.title}{' (given)' if self.first.given else ''}"

    @property
    def latency(self) -> Quartiles | None:
        """Median and quartiles in milliseconds."""
        return self.first.latency

    @property
    def megabytes(self) -> float | None:
        """Peak memory in 1e6 bytes."""
        return None if self.first.memory is None else self.first.memory.bytes / 1e6


def deployed_rows(
    group: Sequence[Run], found: Mapping[Path, Sequence[Deployed]], estimates: Estimates
) -> dict[tuple[str, ...], list[DeployedRow]]:
    """Gathers the rows of a group of runs by setting: where and how they were timed.

    Args:
        group: runs of one fingerprint.
        found: what was exported from each folder.
        estimates: scores.
    """
    settings: dict[tuple[str, ...], list[DeployedRow]] = {}
    for one in contestants(group):
        kinds: dict[tuple[tuple[str, ...], str], list[tuple[Run, Deployed]]] = {}
        for run in one.runs:
            # A post-processing of the run has the same folder; what was exported is not its own.
            if run.name == run.config["arch"]["name"] and not _is_refined(run):
                for row in found.get(run.folder, ()):
                    kinds.setdefault((row.setting, row.title), []).append((run, row))
        for (setting, _), rows in kinds.items():
            settings.setdefault(setting, []).append(_row(one.label, rows, estimates))
    return settings


def _is_refined(run: Run) -> bool:
    return any(evaluation.get("variant") for evaluation in run.evaluations)


def _row(network: str, rows: Sequence[tuple[Run, Deployed]], estimates: Estimates) -> DeployedRow:
    seeds = [(run, row.evaluation) for run, row in rows if row.evaluation is not None]
    itself = [(run, row.itself) for run, row in rows if row.evaluation and row.itself is not None]
    first = rows[0][1]
    paired = first.runtime != PYTORCH and len(itself) == len(seeds) > 0
    return DeployedRow(
        network=network,
        first=first,
        seeds=seeds,
        miou=estimates.of(seeds)[SCORE] if seeds else None,
        change=estimates.difference(seeds, itself)[SCORE] if paired else None,
    )


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Returns the places of those that no other one beats in both, the fastest first.

    Args:
        points: (milliseconds, mIoU) of each row.
    """
    order = sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1]))
    front: list[int] = []
    for place in order:
        if not front or points[place][1] > points[front[-1]][1]:
            front.append(place)
    return front
