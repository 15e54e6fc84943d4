"""Tables as CSV: a line for each cell, one head for all tables, numbers in columns of numbers.

| column | holds |
|---|---|
| table | table1, table1-cost, ...; the name of its file in a report |
| section, dataset, protocol | what the row may be compared within |
| network | the row |
| kind | run, or published |
| group, column | the column of the table, and the heading above it |
| value, low, high | ours, with its interval, in the column's unit |
| published, difference | the paper's, and ours minus it where they can be compared |
| bold | true where the figure stands in bold |
| text | what stands where there is no figure: a state, or what the paper printed |
| details, footnotes | seeds, iterations and the like; what is said below the table |
"""

from collections.abc import Sequence
from math import isnan
from typing import Any

import pandas as pd

from reports.tables.model import Cell, Column, Row, Section, Table

COLUMNS = (
    "table", "section", "dataset", "protocol", "network", "kind", "group", "column",
    "value", "low", "high", "published", "difference", "bold", "text", "details", "footnotes",
)  # fmt: skip


def csv(tables: Sequence[Table]) -> str:
    """Formats tables as CSV, see the head of this file."""
    lines = [
        _line(table, section, row, column, cell)
        for table in tables
        for section in table.sections
        for row in section.rows
        for column, cell in zip(table.columns, row.cells, strict=True)
    ]
    return pd.DataFrame(lines, columns=COLUMNS).to_csv(index=False, lineterminator="\n")


def inert(text: str) -> str:
    """Keeps a spreadsheet from computing what a name or a reason says."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _line(table: Table, section: Section, row: Row, column: Column, cell: Cell) -> dict[str, Any]:
    digits = column.digits + 2  # for those who compute with it
    numbers = {
        name: None if number is None or isnan(number) else round(number, digits)
        for name, number in (
            ("value", cell.value),
            ("low", cell.low),
            ("high", cell.high),
            ("published", cell.published),
            ("difference", cell.difference),
        )
    }
    words = {
        "table": table.slug,
        "section": section.title,
        "dataset": section.dataset,
        "protocol": section.protocol,
        "network": row.label,
        "kind": "run" if row.ours else "published",
        "group": column.group,
        "column": column.name,
        "text": cell.text,
        "details": "; ".join(f"{title} {shown}" for title, shown in row.details.items()),
        "footnotes": "; ".join(row.marks),
    }
    return {**{key: inert(text) for key, text in words.items()}, **numbers, "bold": cell.bold}
