"""The published figures: Tables 1 to 6 of Badrinarayanan, Kendall and Cipolla (TPAMI 2017).

published.csv holds every cell as printed (`value`) and as a number where it is one (`number`).
A user's own literature has the same columns and is set below ours.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd

from reports.read.csv_file import number_of, read_rows

SOURCE = (
    "V. Badrinarayanan, A. Kendall, R. Cipolla: SegNet: A Deep Convolutional Encoder-Decoder "
    "Architecture for Image Segmentation. IEEE TPAMI 39 (12), 2017"
)
TITLES = {
    "1": "decoder variants",
    "2": "per-class accuracy beside classical methods, road scenes",
    "3": "deep architectures, road scenes",
    "4": "deep architectures, indoor scenes",
    "5": "per-class accuracy, indoor scenes",
    "6": "time and memory",
}
LITERATURE_COLUMNS = ("table", "row", "column", "value")
SEGNET_IN_TABLE2 = "SegNet (3.5K dataset training - 140K)"
# Table 4's caption gives one more row, of another class weighting and without milestones.
IN_CAPTION = "SegNet (median frequency balancing, caption)"
CAPTION_COLUMNS = {
    **{f">140K/{metric}": f"caption/{metric}" for metric in ("G", "C", "mIoU", "BF")},
    "Max iter": "caption/iter",
}
UNWEIGHTED, MEDIAN = "none", "median_frequency"
BALANCINGS = {MEDIAN: "median", UNWEIGHTED: "natural"}  # Table 1's words

# Classes of the tables by the names the data sets give them.
PAPER_CLASSES = {"SignSymbol": "Sign-Symbol", "Pole": "Column-Pole", "Pavement": "Side-walk"}


@dataclass(frozen=True)
class Printed:
    """A cell of a table: as printed, and as a number where it is one."""

    text: str
    number: float | None


@cache
def published() -> dict[tuple[str, str, str], Printed]:
    """Returns all published cells by (table, row, column)."""
    return _cells(
        pd.read_csv(Path(__file__).with_name("published.csv"), dtype=str, keep_default_na=False)
    )


def read_literature(path: Path) -> dict[tuple[str, str, str], Printed]:
    """Reads a user's figures: a CSV with the columns table, row, column and value.

    Raises:
        ValueError: the file is missing, a column is, or a table or column is not one of ours.
    """
    found: dict[tuple[str, str, str], Printed] = {}
    for number, row in read_rows(path, LITERATURE_COLUMNS, "--literature"):
        table, column, value = row["table"], row["column"], row["value"]
        known = columns_of(table)
        if column not in known:
            raise ValueError(
                f"{path}: Table {table!r} has no column {column!r}; it has "
                f"{', '.join(known) or 'no such number: tables are 1 to 6'}"
            )
        cell = Printed(value, number_of(value))
        if found.setdefault((table, row["row"], column), cell) != cell:
            raise ValueError(
                f"{path}:{number}: a second value of {row['row']!r}, {column}; remove one"
            )
    return found


def _cells(frame: pd.DataFrame) -> dict[tuple[str, str, str], Printed]:
    names = ("table", "row", "column", "value", "number")
    return {
        (table, row, column): Printed(value, float(number) if number else None)
        for table, row, column, value, number in zip(*(frame[n] for n in names), strict=True)
    }


def columns_of(table: str) -> list[str]:
    """Lists the columns of a table, in the paper's order."""
    return list(dict.fromkeys(c for t, _, c in published() if t == table))


def rows_of(table: str) -> list[str]:
    """Lists the rows of a table, in the paper's order."""
    return list(dict.fromkeys(r for t, r, _ in published() if t == table))


@cache
def _ranks() -> dict[str, int]:
    names = dict.fromkeys(name for table in ("1", "3", "6") for name in rows_of(table))
    return {name: rank for rank, name in enumerate(names)}


def rank_of(network: str) -> tuple[int, str]:
    """Sorts networks in one order everywhere: as the paper's tables do, others by name."""
    return _ranks().get(network, len(_ranks())), network


def row_of(table: str, network: str, weighting: str) -> str | None:
    """Names the row that the paper prints for a network trained under a class weighting, if any.

    Table 1 has both weightings in every row, by column. All else was trained without class weights,
    but for Table 4's caption. Table 2's SegNet goes with both: section 4.1 says that it was trained
    with median frequency balancing, and its figures are those of Table 3, trained without.

    Args:
        table: 1 to 5.
        network: its display name.
        weighting: `protocol.class_weights`.
    """
    if (table, network) == ("2", "SegNet"):
        return SEGNET_IN_TABLE2 if weighting in {UNWEIGHTED, MEDIAN} else None
    if (table, network, weighting) == ("4", "SegNet", MEDIAN):
        return IN_CAPTION
    fits = table == "1" or weighting == UNWEIGHTED
    return network if fits and network in rows_of(table) else None


def weighting_of(row: str) -> str:
    """Returns the class weighting under which a row of Tables 3 to 5 was trained."""
    return MEDIAN if row == IN_CAPTION else UNWEIGHTED


def printed(table: str, row: str | None, column: str | None) -> Printed | None:
    """Returns what the paper prints in a row and a column of a table, or None."""
    if row is None or column is None:
        return None
    if row == IN_CAPTION:
        column = CAPTION_COLUMNS.get(column, column)
    return published().get((table, row, column))


def is_indoor(dataset: str) -> bool:
    """Says whether a data set is SUN RGB-D, that of Tables 4 and 5."""
    return "".join(dataset.lower().split()).startswith("sun")


def has_published(table: str, dataset: str) -> bool:
    """Says whether a table's figures are of this data set."""
    if table == "6":
        return True
    return is_indoor(dataset) if table in {"4", "5"} else dataset == "CamVid"
