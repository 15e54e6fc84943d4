"""Networks on several data sets in one table: mIoU, the ranks it may have, and tiers.

Ranks and tiers follow from the pairs of networks that are separated, over all pairs at once: a
network's rank lies between one more than those better than it and all but those worse. A tier
begins with the best network left, and takes all that are not separated from it. Networks that were
not trained equally long have none.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

from reports.compute.estimates import BETTER, NEEDS_SEEDS, Estimates, Pool
from reports.compute.groups import Contestant, contestants, equally_long, groups, told_apart
from reports.compute.kept import Evaluated
from reports.compute.pooling import ENOUGH_SEEDS
from reports.read.published import rank_of
from reports.read.runs import Run, warn
from reports.tables.bold import embolden
from reports.tables.conditions import UNEQUALLY_LONG
from reports.tables.model import NO_RUN, Cell, Column, Row, Section, Table

SCORE = "mIoU"
MOST = 40  # networks; every pair of them is looked at
NOTES = [
    "Bold (* in plain text): the best of a column and every network that is not separated from it, "
    "at 5 % over all pairs (Tukey).",
    "rank: all ranks that the separated pairs leave a network. tier: networks of one tier are not "
    "separated from its best. Each data set by itself: the differences between data sets are not "
    "averaged.",
]


def rank_tables(runs: Sequence[Run], estimates: Estimates) -> list[Table]:
    """Fills the table, if there are two data sets with two networks in common."""
    by_condition = [contestants(group) for group in groups(runs)]
    found = [some for some in by_condition if sum(len(_reported(one)) > 0 for one in some) > 1]
    datasets = {some[0].first.config["dataset"]["name"] for some in found}
    labels = [{one.label for one in some} for some in found]
    if len(datasets) < 2 or len(set.intersection(*labels)) < 2:
        return []
    names = sorted(set.union(*labels), key=rank_of)
    if len(names) > MOST:
        warn(f"the table of ranks: {len(names)} networks are more than {MOST}")
        return []
    columns, cells = [], []
    for some in found:
        columns += _columns(some[0].first)
        cells.append(_filled(some, names, estimates))
    rows = [Row(name, [cell for condition in cells for cell in condition[name]]) for name in names]
    title = f"{SCORE} and its ranks on several data sets"
    return [Table("", title, columns, [Section("all networks", rows)], NOTES, "ranks")]


def _columns(run: Run) -> list[Column]:
    words = [run.config["dataset"]["name"], run.config["protocol"]["name"], told_apart([run], ())]
    group = ", ".join(word for word in words if word)
    return [Column(group, name, 1, None, ("rank",)) for name in (SCORE, "rank", "tier")]


def _reported(one: Contestant) -> list[Evaluated]:
    split = one.first.config["protocol"]["evaluation_splits"][0]
    return [(run, e) for run in one.runs if (e := run.evaluation(split, None)) is not None]


def _filled(
    some: Sequence[Contestant], names: Sequence[str], estimates: Estimates
) -> dict[str, list[Cell]]:
    """Returns the three cells of every name under one set of conditions."""
    sides = {one.label: seeds for one in some if (seeds := _reported(one))}
    pool = estimates.pool(list(sides.values()))
    cells = {name: [Cell(text=NO_RUN) for _ in range(3)] for name in names}
    for name, seeds in sides.items():
        score = estimates.of(seeds)[SCORE]
        first, *others = (run.folder for run, _ in seeds)
        percent = (100 * score.estimate, 100 * score.low, 100 * score.high)
        cells[name][0] = Cell(*percent, run=first, others=others)
    if not equally_long(run for seeds in sides.values() for run, _ in seeds):
        for name in sides:
            cells[name][1:] = [Cell(text=UNEQUALLY_LONG), Cell(text=UNEQUALLY_LONG)]
        return cells
    embolden([(seeds, cells[name][0]) for name, seeds in sides.items()], SCORE, pool, estimates)
    enough = {name: seeds for name, seeds in sides.items() if len(seeds) >= ENOUGH_SEEDS}
    order = sorted(enough, key=lambda name: -(cells[name][0].value or 0.0))
    better = separated(enough, order, pool, estimates)
    tiers = tiers_of(order, better)
    for name in sides:
        cells[name][1:] = [Cell(text=NEEDS_SEEDS), Cell(text=NEEDS_SEEDS)]
    for name in order:
        low = 1 + sum((other, name) in better for other in order)
        high = len(order) - sum((name, other) in better for other in order)
        words = str(low) if low == high else f"{low} to {high}"
        cells[name][1:] = [Cell(text=words), Cell(text=str(tiers[name]))]
    return cells


def separated(
    sides: Mapping[str, Sequence[Evaluated]], order: Sequence[str], pool: Pool, estimates: Estimates
) -> set[tuple[str, str]]:
    """Returns the pairs (better, worse) that are separated, over all pairs at once."""
    found = set()
    for one, other in combinations(order, 2):
        try:
            change = estimates.difference(sides[one], sides[other], pool)[SCORE]
        except ValueError as error:  # records are incomplete
            warn(str(error))
            continue
        if change.verdict(len(order)) == BETTER:
            found.add((one, other))
    return found


def tiers_of(order: Sequence[str], better: set[tuple[str, str]]) -> dict[str, int]:
    """Numbers tiers: each begins with the best network left; names in the order of their score."""
    tiers: dict[str, int] = {}
    for leader in order:
        if leader not in tiers:
            number = 1 + max(tiers.values(), default=0)
            for name in order:
                if name not in tiers and (leader, name) not in better:
                    tiers[name] = number
    return tiers
