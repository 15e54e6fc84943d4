"""`python -m reports choose RUNS`: which networks meet limits of time, memory and accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bench.words import ranges
from reports.compute.context import Context
from reports.compute.deployed import DeployedRow, deployed_rows
from reports.compute.groups import Contestant, contestants, groups, told_apart
from reports.read.costs import Cost, costs_of
from reports.read.given import by_run
from reports.read.runs import Run
from reports.tables.conditions import condition_notes
from reports.tables.model import figure


@dataclass(frozen=True)
class Limits:
    """What a device allows; None: no limit.

    Attributes:
        milliseconds: of a forward pass at batch 1.
        megabytes: of inference memory, 1e6 bytes.
        miou: percent, at least.
        within: points of mIoU that the fastest may lose to the most accurate.
    """

    milliseconds: float | None = None
    megabytes: float | None = None
    miou: float | None = None
    within: float = 1.0


@dataclass(frozen=True)
class Candidate:
    """One network on one device, with what is known of it; None where it was not measured."""

    name: str
    miou: float | None
    milliseconds: float | None
    megabytes: float | None
    seeds: str

    def objections(self, limits: Limits) -> list[str]:
        """Says which limits it misses; what was not measured cannot be promised."""
        found = []
        for value, limit, unit, sign in (
            (self.milliseconds, limits.milliseconds, "ms", 1),
            (self.megabytes, limits.megabytes, "MB", 1),
            (self.miou, limits.miou, "mIoU", -1),
        ):
            if limit is None:
                continue
            if value is None:
                found.append(f"{unit} not measured")
            elif sign * value > sign * limit:
                found.append(f"{value:.1f} {unit}, limit {limit:g}")
        return found


def choices(
    runs: Sequence[Run], context: Context, limits: Limits, split: str = "test"
) -> list[str]:
    """Lists the networks for each device, the most accurate that meets the limits first.

    Runs of different fingerprints have different scores for the same network, so each fingerprint
    has its own list. What was exported has lists of its own, with the times of the graphs.
    """
    lines: list[str] = []
    found_deployed = by_run(runs, context.given)
    for group in groups(runs):
        config = group[0].config
        protocol = f"protocol {config['protocol']['name']} ({group[0].fingerprint})"
        protocol += f", {on}" if (on := told_apart(group, runs)) else ""
        found = contestants(group)
        unequal = condition_notes(group, found)
        measured = [cost for one in found for cost in _costs(one, context.costs)]
        settings = list(dict.fromkeys(cost.setting for cost in measured))
        for setting in settings or [()]:
            device = ", ".join(setting) or "no device measured"
            lines += [f"{config['dataset']['name']}, {protocol}; {device}", ""]
            candidates = [_candidate(one, setting, context, split) for one in found]
            lines += [*_listed(candidates, limits), *unequal, ""]
        deployed = deployed_rows(group, found_deployed, context.estimates)
        for setting, rows in deployed.items():
            lines += [
                f"{config['dataset']['name']}, {protocol}, as deployed; {', '.join(setting)}",
                "",
                *_listed([_as_candidate(row) for row in rows], limits),
                *unequal,
                "",
            ]
    return lines[:-1]


def _costs(one: Contestant, costs: Sequence[Cost]) -> list[Cost]:
    return costs_of(costs, one.first)


def _candidate(
    one: Contestant, setting: tuple[str, ...], context: Context, split: str
) -> Candidate:
    found = [(run, run.evaluation(split, None)) for run in one.runs]
    seeds = [(run, evaluation) for run, evaluation in found if evaluation is not None]
    miou = 100 * context.estimates.of(seeds)["mIoU"].estimate if seeds else None
    cost = next((c for c in _costs(one, context.costs) if c.setting == setting), None)
    quartiles = cost.quartiles("forward_ms") if cost else None
    return Candidate(
        one.label,
        miou,
        quartiles[0] if quartiles else None,
        cost.megabytes("inference") if cost else None,
        ranges(run.seed for run, _ in seeds),
    )


def _as_candidate(row: DeployedRow) -> Candidate:
    miou = None if row.miou is None else 100 * row.miou.estimate
    latency = row.latency[0] if row.latency else None
    seeds = ranges(run.seed for run, _ in row.seeds)
    return Candidate(row.label, miou, latency, row.megabytes, seeds)


def _listed(candidates: Sequence[Candidate], limits: Limits) -> list[str]:
    ranked = sorted(candidates, key=lambda c: (bool(c.objections(limits)), -(c.miou or 0.0)))
    frame = pd.DataFrame(
        [
            {
                "network": candidate.name,
                "mIoU": figure(candidate.miou, 1) or "n/a",
                "ms": figure(candidate.milliseconds, 1) or "n/a",
                "MB": figure(candidate.megabytes, 0) or "n/a",
                "": "; ".join(candidate.objections(limits)) or "fits",
            }
            for candidate in ranked
        ]
    )
    table = frame.to_markdown(index=False, disable_numparse=True, tablefmt="simple")
    return [table, *_fastest(ranked, limits)]


def _fastest(candidates: Sequence[Candidate], limits: Limits) -> list[str]:
    """Names the fastest of those that fit and lose no more points than allowed to the best.

    By point estimates: a limit in points is no test, and the line says so.
    """
    known = [
        (c.milliseconds, c.miou, c.name, c.seeds)
        for c in candidates
        if c.milliseconds is not None and c.miou is not None and not c.objections(limits)
    ]
    if len(known) < 2:
        return []
    _, best, first, seeds_of_best = max(known, key=lambda one: one[1])
    milliseconds, miou, name, seeds = min(one for one in known if one[1] >= best - limits.within)
    points = "point" if limits.within == 1 else "points"
    return [
        "",
        f"Fastest within {limits.within:g} {points} of mIoU of the best ({best:.1f}): {name}, "
        f"{miou:.1f}, {milliseconds:.1f} ms",
        f"(by point estimates, intervals left aside; seeds of it {seeds}, of the best, {first}, "
        f"{seeds_of_best})",
    ]
