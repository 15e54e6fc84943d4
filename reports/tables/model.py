"""What a table is, before it is Markdown, LaTeX, CSV or HTML: columns, sections, rows, cells."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path

NO_RUN = "no run"
MOST_DIGITS = 4  # after the decimal point of a percentage


@dataclass(frozen=True)
class Column:
    """One column of figures.

    Attributes:
        group: what it shares with its neighbours, such as `median, test`; may be empty.
        name: G, C, mIoU, BF, a class, or a cost with its unit.
        digits: after the decimal point, as many as the paper prints.
        published: the column's name in published.csv, or None.
        source: what `reports` fills it from, opaque to the renderers.
    """

    group: str
    name: str
    digits: int = 1
    published: str | None = None
    source: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Group and name in one line."""
        return f"{self.group} {self.name}" if self.group else self.name


@dataclass
class Cell:
    """One figure, with what is known about it.

    Attributes:
        value: ours, in the column's unit; None where there is none.
        low: lower end of the interval.
        high: upper end.
        published: the paper's.
        comparable: whether the two are of one kind, so that their difference says something.
        text: what stands in the place of a missing value: a state, or what the paper printed.
        bold: the best of its column, or not separated from it.
        unranked: why nothing is said of its place in the column; empty where it has one.
        run: the folder, or the cost record, that the figure comes from.
        others: those of the other seeds, where it is their mean.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    published: float | None = None
    comparable: bool = True
    text: str = ""
    bold: bool = False
    unranked: str = ""
    run: Path | None = None
    others: Sequence[Path] = ()

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's, where both are and can be compared."""
        if self.value is None or self.published is None or not self.comparable:
            return None
        return self.value - self.published


@dataclass
class Row:
    """One network, or one line of the literature.

    Attributes:
        label: the display name.
        cells: one for each column.
        details: seeds, iterations and the like, by title.
        marks: the footnotes that concern this row only, as texts.
        ours: whether runs of ours stand behind it.
    """

    label: str
    cells: list[Cell]
    details: dict[str, str] = field(default_factory=dict)
    marks: list[str] = field(default_factory=list)
    ours: bool = True


@dataclass
class Section:
    """Rows that may be compared with each other, and what one must know to do so.

    Attributes:
        title: data set, protocol and the like.
        rows: the networks.
        difference: in what its conditions differ from those of the section before.
        notes: without which the figures would be misread.
        background: machines, initialisation, what the data set is.
        dataset: its name.
        protocol: its name.
        terms: whether each network was tuned; empty where no run is.
    """

    title: str
    rows: list[Row]
    difference: str = ""
    notes: list[str] = field(default_factory=list)
    background: list[str] = field(default_factory=list)
    dataset: str = ""
    protocol: str = ""
    terms: str = ""

    def footnotes(self) -> dict[str, str]:
        """Letters of the rows' footnotes: text to letter, in order of appearance."""
        texts = dict.fromkeys(text for row in self.rows for text in row.marks)
        return {text: _letter(number) for number, text in enumerate(texts)}


@dataclass
class Table:
    """A table of the paper, or in the shape of one.

    Attributes:
        number: the paper's.
        title: what it shows.
        columns: of figures.
        sections: its rows.
        notes: what holds for all of it.
        part: tells tables of one number apart: cost, details, a data set.
    """

    number: str
    title: str
    columns: list[Column]
    sections: list[Section]
    notes: list[str] = field(default_factory=list)
    part: str = ""

    @property
    def slug(self) -> str:
        """A name for files and places on a page, such as table1 or table1-cost."""
        words = re.sub(r"[^a-z0-9]+", "-", self.part.lower()).strip("-")
        return f"table{self.number}-{words}".removesuffix("-")


def figure(value: float | None, digits: int) -> str:
    """Formats a figure; what is missing is empty, and zero has no sign."""
    text = "" if value is None or isnan(value) else f"{value:.{digits}f}"
    return text.removeprefix("-") if text and not float(text) else text


def signed(value: float | None, digits: int) -> str:
    """Formats a difference with its sign."""
    if value is None or isnan(value):
        return ""
    text = f"{value:+.{digits}f}"
    return text if float(text) else text.replace("-", "+")


def interval(cell: Cell, digits: int) -> str:
    """Formats the interval of a cell in brackets, or nothing."""
    if cell.low is None or cell.high is None or isnan(cell.low) or isnan(cell.high):
        return ""
    return f"[{figure(cell.low, digits)}, {figure(cell.high, digits)}]"


def signed_interval(low: float, high: float, digits: int = 1) -> str:
    """Formats the interval of a difference; an end that is not 0 does not look like 0."""
    while digits < MOST_DIGITS and any(bound and not round(bound, digits) for bound in (low, high)):
        digits += 1
    return f"[{signed(low, digits)}, {signed(high, digits)}]"


def comparison(cell: Cell, digits: int) -> str:
    """Formats the published figure and, where we have one too, our difference from it."""
    if cell.published is None:
        return ""
    difference = signed(cell.difference, digits)
    published = figure(cell.published, digits)
    return f"{published} ({difference})" if difference else published


def _letter(number: int) -> str:
    """Counts a, b, ... z, aa, ab, ..."""
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters
