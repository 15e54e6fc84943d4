"""What a run or a sweep prints and writes when it has ended."""

from pathlib import Path

from bench.records import run_folders
from reports.compute.context import Context
from reports.compute.estimates import Estimates
from reports.read.costs import costs_in, read_costs
from reports.read.runs import read_runs
from reports.render.text import text
from reports.tables.brief import brief, more_words
from reports.tables.choice import context_of, score_tables
from reports.tables.of_costs import cost_tables


def print_tables(folders: list[Path]) -> None:
    """Prints the tables of just these runs, for a terminal 100 columns wide."""
    runs = read_runs(folders)
    root = folders[0].parent
    estimates = Estimates(root)
    context = Context(estimates, read_costs(root), rows_without_runs=False)
    tables = score_tables(runs, context)
    print("\n\n".join(text(brief(table)) for table in tables))
    print(more_words(root, tables))
    estimates.save()


def print_costs(paths: list[Path]) -> None:
    """Prints the tables of just these cost records, for a terminal 100 columns wide."""
    tables = cost_tables(costs_in(paths), rows_without_runs=False)
    for table in reversed(tables):  # the paper's columns come last, where one looks first
        print(f"\n{text(table)}")


def write_page(folders: list[Path]) -> Path:
    """Writes the page of all runs that stand beside the given ones; returns where it is."""
    from reports.render.page import write_report  # noqa: PLC0415 - matplotlib is slow to import

    root = folders[0].parent
    context = context_of(root)
    page = write_report(read_runs(run_folders(root)), context, root / "report")
    context.estimates.save()
    return page
