"""A table cut down to what was run and measured, for the terminal of whoever waits for it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from reports.tables.model import NO_RUN, Section, Table

NOTHING = {"", "n/a", NO_RUN}


def brief(table: Table) -> Table:
    """Keeps the rows of runs, the columns in which one has a figure or a state, and some notes."""
    sections = [section for section in table.sections if any(row.ours for row in section.rows)]
    rows = [row for section in sections for row in section.rows if row.ours]
    kept = [
        number
        for number in range(len(table.columns))
        if any(
            row.cells[number].value is not None or row.cells[number].text not in NOTHING
            for row in rows
        )
    ]
    return replace(
        table,
        columns=[table.columns[number] for number in kept],
        sections=[_cut(section, kept) for section in sections],
        notes=[],
    )


def _cut(section: Section, kept: Sequence[int]) -> Section:
    rows = [
        replace(row, cells=[row.cells[number] for number in kept])
        for row in section.rows
        if row.ours
    ]
    unmeasured = [note for note in section.background if "not measured" in note]
    return replace(section, rows=rows, notes=[*section.notes, *unmeasured], background=[])


def more_words(runs: Path, tables: Sequence[Table]) -> str:
    """Says where the rest is: the paper's whole tables, the classes, the page."""
    numbers = sorted({table.number for table in tables if table.number})
    whole = " or ".join(f"--table {number}" for number in numbers)
    return (
        f"\nWhole tables, and how to read them ({whole}; --table 2 by class;\n"
        "--table further: FWIoU, Dice, mIoU of single images, Boundary IoU, NSD, ECE):\n"
        f"  python -m reports {runs} --table ...\n"
        f"All as one page:\n  python -m reports page {runs}"
    )
