"""Choosing, filling and formatting the tables of a folder of runs."""

from collections.abc import Sequence
from pathlib import Path

from bench.metrics.scores import PAPER, Conventions
from bench.records import run_folders
from reports.columns import natural_number
from reports.contestants import CONDITION_OF_COLUMNS, groups
from reports.cost import Cost, costs_in, read_costs
from reports.cost_table import cost_table, cost_tables
from reports.estimates import Estimates
from reports.formats import text
from reports.published import Printed
from reports.runs import Run, read_runs
from reports.scores import Context, score_table
from reports.table import Table

PER_CLASS = {"1": "2", "3": "2", "4": "5"}  # beside which table the classes are worth a look


def print_tables(folders: list[Path]) -> None:
    """Prints the tables of just these runs, for a terminal 100 columns wide."""
    runs = read_runs(folders)
    root = folders[0].parent
    estimates = Estimates(root)
    context = Context(estimates, read_costs(root), rows_without_runs=False)
    print("\n\n".join(text(table) for table in score_tables(runs, context)))
    estimates.save()


def print_costs(paths: list[Path]) -> None:
    """Prints the tables of just these cost records, for a terminal 100 columns wide."""
    tables = cost_tables(costs_in(paths), rows_without_runs=False)
    for table in reversed(tables):  # the paper's columns come last, where one looks first
        print(f"\n{text(table)}")


def fitting_tables(runs: Sequence[Run], context: Context, classes: bool = False) -> list[Table]:
    """Fills the tables that suit runs, and those of all measured costs; see `score_tables`."""
    costs = cost_tables(context.costs, context.rows_without_runs)
    return score_tables(runs, context, classes) + costs


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
    """Fills one table of the paper, whatever the runs are."""
    costs = [table for table in cost_tables(context.costs) if table.number == number]
    if number == "6":
        return costs or [cost_table(number, [])]
    return [*score_table(number, runs, context), *costs]


def context_of(
    root: Path,
    conventions: Conventions = PAPER,
    literature: dict[tuple[str, str, str], Printed] | None = None,
) -> Context:
    """Gathers what tables are filled from beside the runs: cache, costs, literature."""
    costs: list[Cost] = read_costs(root)
    return Context(Estimates(root, conventions), costs, literature or {})


def write_page(folders: list[Path]) -> Path:
    """Writes the page of all runs that stand beside the given ones; returns where it is."""
    from reports.page import write_report  # noqa: PLC0415 - matplotlib is slow to import

    root = folders[0].parent
    context = context_of(root)
    page = write_report(read_runs(run_folders(root)), context, root / "report")
    context.estimates.save()
    return page
