"""What was exported from a group of runs, as rows: seeds together, scored, and set against PyTorch.

A row's difference is paired: the same weights, seed by seed, on the same images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from bench.metrics.uncertainty import Interval
from reports.compute.estimates import BETTER, Difference, Estimates, Pool
from reports.compute.groups import contestants
from reports.compute.kept import Evaluated
from reports.read.deployed import PYTORCH, Deployed, Quartiles
from reports.read.runs import Run, warn

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


def beaten(rows: Sequence[DeployedRow], estimates: Estimates) -> set[int]:
    """Returns the places of rows that another one beats in latency and in mIoU.

    Faster is whose upper quartile is below the other's lower one. More accurate is whose mIoU is
    higher by a difference that holds over all pairs of the rows at once. Of two networks it holds
    only with enough seeds; of two files of the same weights it is these files' own.
    Residuals over seeds are pooled over one runtime and precision: files of one network are alike.
    """
    scored = [number for number, row in enumerate(rows) if row.latency is not None and row.miou]
    kinds: dict[str, list[DeployedRow]] = {}
    for number in scored:
        kinds.setdefault(rows[number].first.title, []).append(rows[number])
    pools = {kind: estimates.pool([row.seeds for row in some]) for kind, some in kinds.items()}
    return {
        slow
        for slow, fast in permutations(scored, 2)
        if _is_faster(rows[fast], rows[slow])
        and _is_better(rows[fast], rows[slow], len(scored), pools, estimates)
    }


def _is_faster(one: DeployedRow, other: DeployedRow) -> bool:
    assert one.latency is not None
    assert other.latency is not None
    (median, _, upper), (others_median, lower, _) = one.latency, other.latency
    return (median if upper is None else upper) < (others_median if lower is None else lower)


def _is_better(
    one: DeployedRow, other: DeployedRow, rows: int, pools: Mapping[str, Pool], estimates: Estimates
) -> bool:
    alike = one.network == other.network
    pool = None if alike else _shared(pools[one.first.title], pools[other.first.title])
    try:
        change = estimates.difference(one.seeds, other.seeds, pool)[SCORE]
    except ValueError as error:  # records are incomplete
        warn(str(error))
        return False
    return change.among(rows).low > 0 if alike else change.verdict(rows) == BETTER


def _shared(*pools: Pool) -> Pool | None:
    """Returns the larger residual of two kinds; None where a kind has none that is shared."""
    found = [pool.get(SCORE) for pool in pools]
    known = [one for one in found if one is not None and one.is_shared]
    if len(known) < len(found):
        return None
    return {SCORE: max(known, key=lambda one: one.variance)}


def highest(points: Sequence[tuple[float, float]]) -> list[int]:
    """Returns the places of those with a higher mIoU than any as fast, the fastest first.

    By point estimates: that one is lower is no verdict, see `beaten`.

    Args:
        points: (milliseconds, mIoU) of each row.
    """
    order = sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1]))
    front: list[int] = []
    for place in order:
        if not front or points[place][1] > points[front[-1]][1]:
            front.append(place)
    return front
