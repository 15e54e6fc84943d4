"""`python -m reports choose RUNS`: which networks meet limits of time, memory and accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from reports.compute.context import Context
from reports.compute.groups import Contestant, contestants, groups
from reports.read.costs import Cost, costs_of
from reports.read.runs import Run
from reports.tables.model import figure


@dataclass(frozen=True)
class Limits:
    """What a device allows; None: no limit.

    Attributes:
        milliseconds: of a forward pass at batch 1.
        megabytes: of inference memory, 1e6 bytes.
        miou: percent, at least.
    """

    milliseconds: float | None = None
    megabytes: float | None = None
    miou: float | None = None


@dataclass(frozen=True)
class Candidate:
    """One network on one device, with what is known of it; None where it was not measured."""

    name: str
    miou: float | None
    milliseconds: float | None
    megabytes: float | None

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
    has its own list.
    """
    lines: list[str] = []
    for group in groups(runs):
        config = group[0].config
        protocol = f"protocol {config['protocol']['name']} ({group[0].fingerprint})"
        found = contestants(group)
        measured = [cost for one in found for cost in _costs(one, context.costs)]
        settings = list(dict.fromkeys(cost.setting for cost in measured))
        for setting in settings or [()]:
            device = ", ".join(setting) or "no device measured"
            lines += [f"{config['dataset']['name']}, {protocol}; {device}", ""]
            candidates = [_candidate(one, setting, context, split) for one in found]
            lines += [_listed(candidates, limits), ""]
    return lines[:-1]


def _costs(one: Contestant, costs: Sequence[Cost]) -> list[Cost]:
    return costs_of(costs, one.first.config)


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
    )


def _listed(candidates: Sequence[Candidate], limits: Limits) -> str:
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
    return frame.to_markdown(index=False, disable_numparse=True, tablefmt="simple")
