"""Which figures of a column stand in bold: the best, and what is not separated from it."""

from collections.abc import Sequence
from math import isnan

from reports.compute.estimates import BETTER, Estimates, Pool
from reports.compute.kept import Evaluated
from reports.compute.pooling import ENOUGH_SEEDS
from reports.read.runs import warn
from reports.tables.model import Cell

TOO_FEW_SEEDS = f"fewer than {ENOUGH_SEEDS} seeds"
INCOMPLETE = "records that cannot be compared with the best"


def embolden(
    column: Sequence[tuple[Sequence[Evaluated], Cell]], score: str, pool: Pool, estimates: Estimates
) -> None:
    """Sets the best of a column in bold, with all that is not separated from it.

    The best is not known beforehand, so every pair of the networks is looked at, and the intervals
    hold for all pairs at once. A network with fewer than three seeds is not ranked, nor one that
    cannot be compared with the best; its cell says so. A best without any other is not bold.

    Args:
        column: the evaluations behind each cell, and the cell.
        score: that the column shows.
        pool: the residuals over seeds of these networks.
        estimates: for the differences.
    """
    known = [(cell.value, seeds, cell) for seeds, cell in column if cell.value is not None]
    for _, seeds, cell in known:
        cell.unranked = TOO_FEW_SEEDS if len(seeds) < ENOUGH_SEEDS else ""
    ranked = sorted((one for one in known if not one[2].unranked), key=lambda one: -one[0])
    if len(ranked) < 2:
        return
    _, best, best_cell = ranked[0]
    for _, seeds, cell in ranked[1:]:
        try:
            change = estimates.difference(best, seeds, pool)[score]
        except ValueError as error:  # records are incomplete
            warn(str(error))
            cell.unranked = INCOMPLETE
            continue
        if isnan(change.low):
            cell.unranked = INCOMPLETE
            continue
        cell.bold = change.verdict(len(ranked)) != BETTER
        best_cell.bold = True
