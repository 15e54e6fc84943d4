"""Tables as text for a terminal and as Markdown; the other formats have files of their own."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

import pandas as pd

from reports.tables.model import (
    Cell,
    Column,
    Row,
    Section,
    Table,
    comparison,
    figure,
    interval,
)

WIDTH = 100
LABEL = 24  # columns of the terminal for a network's name
CELL = (WIDTH - LABEL) // 4  # G, C, mIoU and BF stand in one line


def heading(table: Table) -> str:
    """Names a table as the paper does."""
    return f"Table {table.number}: {table.title}" if table.number else table.title


def label(row: Row, letters: dict[str, str]) -> str:
    """Returns a row's name with the letters of its footnotes, as `Section.footnotes` gives them."""
    marks = ",".join(letters[text] for text in dict.fromkeys(row.marks))
    return f"{row.label} ({marks})" if marks else row.label


def notes(section: Section) -> Iterator[str]:
    """Yields a section's footnotes, then its notes, then the background."""
    for text, letter in section.footnotes().items():
        yield f"({letter}) {text}"
    yield from section.notes
    yield from section.background


def text(table: Table) -> str:
    """Formats a table for a terminal: our figure and its interval, the paper's below.

    Tables of many ungrouped columns (one for each class) are turned: a line for each column.
    """
    lines = [heading(table), "=" * len(heading(table))]
    for section in table.sections:
        lines += ["", *_wrapped(section.title)]
        if section.difference:
            lines += _wrapped(f"Not comparable with the rows above: {section.difference}.")
        turned = len(table.columns) > 8 and not any(column.group for column in table.columns)
        lines += _turned(table, section) if turned else _upright(table, section)
        below = [line for note in notes(section) for line in _wrapped(note)]
        lines += ["", *below] if below else []
    below = [line for note in table.notes for line in _wrapped(note)]
    return "\n".join([*lines, "", *below] if below else lines)


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(line, WIDTH, subsequent_indent="  " if len(line) > WIDTH else "")


def _upright(table: Table, section: Section) -> list[str]:
    lines: list[str] = []
    letters = section.footnotes()
    numbered = enumerate(table.columns)
    for group, members in groupby(numbered, key=lambda pair: pair[1].group):
        columns = list(members)
        for first in range(0, len(columns), 4):
            some = columns[first : first + 4]
            lines += ["", _line(group, [column.name for _, column in some])]
            for row in section.rows:
                lines += _row_lines(label(row, letters), [(row.cells[n], c) for n, c in some])
    return lines + _runs(section)


def _runs(section: Section) -> list[str]:
    """Says which seeds and iterations stand behind each row."""
    titles = list(dict.fromkeys(title for row in section.rows for title in row.details))
    if not titles:
        return []
    lines, letters = ["", _line("", titles)], section.footnotes()
    for row in section.rows:
        if row.details:
            name, *rest = _name(label(row, letters))
            lines.append(_line(name, [row.details.get(title, "") for title in titles]))
            lines += rest
    return lines


def _row_lines(name: str, cells: Sequence[tuple[Cell, Column]]) -> list[str]:
    first, *rest = _name(name)
    lines = [_line(first, [_ours(cell, column) for cell, column in cells]), *rest]
    papers = [comparison(cell, column.digits) for cell, column in cells]
    return [*lines, _line("  paper", papers)] if any(papers) else lines


def _ours(cell: Cell, column: Column) -> str:
    if cell.value is None:
        return textwrap.shorten(cell.text, CELL - 1, placeholder=" ...")
    mark = "*" if cell.bold else ""
    words = ""
    for digits in range(column.digits, -1, -1):  # what has an interval too must be short
        words = f"{figure(cell.value, digits)}{mark} {interval(cell, digits)}".rstrip()
        if cell.low is None or len(words) < CELL:
            break
    return words


def _name(name: str) -> list[str]:
    lines = _wrapped_name(name, LABEL - 2)
    return [lines[0], *(f"  {line}" for line in lines[1:])]


def _wrapped_name(name: str, width: int) -> list[str]:
    """Breaks a name at hyphens, or before a capital where a part is too long for a line."""
    parts = re.split(r"(?<=-)|(?<= )", name)
    pieces = [p for part in parts for p in (_camel(part) if len(part) > width else [part])]
    lines = [""]
    for piece in pieces:
        if lines[-1] and len(lines[-1] + piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return [piece for line in lines for piece in textwrap.wrap(line, width)]


def _camel(word: str) -> list[str]:
    return re.split(r"(?<=[a-z])(?=[A-Z])", word)


def _line(name: str, cells: Sequence[str]) -> str:
    return (f"{name:<{LABEL}}" + "".join(f"{cell:<{CELL - 1}} " for cell in cells)).rstrip()


def _turned(table: Table, section: Section) -> list[str]:
    """Sets columns as lines: four networks to a block."""
    lines: list[str] = []
    letters = section.footnotes()
    for first in range(0, len(section.rows), 4):
        rows = section.rows[first : first + 4]
        names = [_wrapped_name(label(row, letters), CELL - 1) for row in rows]
        lines.append("")
        for number in range(max(map(len, names))):
            lines.append(_line("", [name[number] if number < len(name) else "" for name in names]))
        for number, column in enumerate(table.columns):
            cells = [(row.cells[number], column) for row in rows]
            lines.append(_line(column.name, [_ours(*pair) for pair in cells]))
            papers = [comparison(cell, column.digits) for cell, column in cells]
            if any(papers):
                lines.append(_line("  paper", papers))
    return lines + _runs(section)


def markdown(table: Table) -> str:
    """Formats a table as Markdown, one for each section."""
    parts = [f"## {heading(table)}"]
    for section in table.sections:
        parts.append(f"**{_escaped(section.title)}**")
        if section.difference:
            parts.append(f"Not comparable with the rows above: {_escaped(section.difference)}.")
        titles = list(dict.fromkeys(title for row in section.rows for title in row.details))
        letters = section.footnotes()
        frame = pd.DataFrame(
            [
                [
                    _escaped(label(row, letters)),
                    *(row.details.get(title, "") for title in titles),
                    *(_markdown_cell(*pair) for pair in zip(row.cells, table.columns, strict=True)),
                ]
                for row in section.rows
            ],
            columns=["network", *titles, *(_escaped(column.title) for column in table.columns)],
        )
        parts.append(frame.to_markdown(index=False, disable_numparse=True))
        parts.append("\n".join(f"- {_escaped(note)}" for note in notes(section)))
    parts.append("\n".join(f"- {_escaped(note)}" for note in table.notes))
    return "\n\n".join(parts) + "\n"


def _markdown_cell(cell: Cell, column: Column) -> str:
    ours = figure(cell.value, column.digits) or cell.text
    parts = [f"**{ours}**" if cell.bold else ours, interval(cell, column.digits)]
    paper = comparison(cell, column.digits)
    return " ".join(part for part in [*parts, f"paper {paper}" if paper else ""] if part)


def _escaped(words: str) -> str:
    """Keeps Markdown and the HTML it allows from reading a name as markup."""
    for character in "\\`*_|<>":
        words = words.replace(character, f"\\{character}")
    return words
