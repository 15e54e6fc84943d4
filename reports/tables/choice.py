"""Choosing and filling the tables that suit a folder of runs."""

from collections.abc import Sequence
from pathlib import Path

from bench.metrics.scores import PAPER, Conventions
from reports.compute.context import Context
from reports.compute.estimates import Estimates
from reports.compute.groups import CONDITION_OF_COLUMNS, groups
from reports.read.costs import Cost, read_costs
from reports.read.given import Given
from reports.read.published import Printed
from reports.read.runs import Run
from reports.tables.layout import natural_number
from reports.tables.model import Table
from reports.tables.of_costs import cost_table, cost_tables
from reports.tables.of_deployed import deployed_tables
from reports.tables.of_others import FURTHER, further_tables
from reports.tables.of_ranks import rank_tables
from reports.tables.of_scores import score_table

PER_CLASS = {"1": "2", "3": "2", "4": "5"}  # beside which table the classes are worth a look


def fitting_tables(runs: Sequence[Run], context: Context, classes: bool = False) -> list[Table]:
    """Fills the tables that suit runs, of ranks, of what was exported, and of measured costs.

    With those by class comes the one of further scores.
    """
    costs = cost_tables(context.costs, context.rows_without_runs)
    ranks = rank_tables(runs, context.estimates)
    deployed = deployed_tables(runs, context)
    further = further_tables(runs, context) if classes else []
    return [*score_tables(runs, context, classes), *further, *ranks, *deployed, *costs]


def score_tables(runs: Sequence[Run], context: Context, classes: bool = False) -> list[Table]:
    """Fills the tables of scores that suit runs: 1, 3 or 4 by what they are.

    Args:
        runs: any runs.
        context: scores, costs and literature.
        classes: also the tables by class.
    """
    by_number: dict[str, list[Run]] = {}
    for group in groups(runs, (CONDITION_OF_COLUMNS,)):
        by_number.setdefault(natural_number(group), []).extend(group)
    tables = []
    for number in sorted(by_number):
        tables += score_table(number, by_number[number], context)
    if classes:
        for number in sorted({PER_CLASS[n] for n in by_number}):
            tables += score_table(number, runs, context)
    return tables


def numbered_table(number: str, runs: Sequence[Run], context: Context) -> list[Table]:
    """Fills one table of the paper, or that of further scores, whatever the runs are.

    Raises:
        ValueError: no run has an evaluation to take further scores from.
    """
    if number == FURTHER:
        found = further_tables(runs, context)
        if not found:
            raise ValueError(
                f"--table {FURTHER}: none of these runs has been evaluated yet; wait for one, see "
                "python -m reports status"
            )
        return found
    costs = [table for table in cost_tables(context.costs) if table.number == number]
    if number == "6":
        return costs or [cost_table(number, [])]
    return [*score_table(number, runs, context), *costs]


def context_of(
    root: Path,
    conventions: Conventions = PAPER,
    literature: dict[tuple[str, str, str], Printed] | None = None,
    *,
    mixed: bool = False,
    given: Sequence[Given] = (),
) -> Context:
    """Gathers what tables are filled from beside the runs: cache, costs, literature, times."""
    costs: list[Cost] = read_costs(root)
    return Context(Estimates(root, conventions), costs, literature or {}, mixed=mixed, given=given)
