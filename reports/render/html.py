"""Tables as HTML: every number leads to its runs, and carries the number that it is sorted by."""

import re
from collections.abc import Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from reports.render.text import heading, label, notes
from reports.tables.model import (
    NO_RUN,
    Cell,
    Column,
    Row,
    Section,
    Table,
    comparison,
    figure,
    interval,
)

LONG_WORD, CAPITAL = 9, r"(?<=[a-z])(?=[A-Z])"


def html(table: Table) -> str:
    """Formats a table as an HTML fragment, a `<table>` for each section.

    The first note, which one needs to read the table, is open; the others are folded.
    """
    first, *others = table.notes or [""]
    parts = [f'<section class="table" id="{table.slug}">']
    parts.append(f"<h2>{escape(heading(table))}</h2>")
    parts += [_section(table, section) for section in table.sections]
    parts.append(f'<p class="reading">{escape(first)}</p>' if first else "")
    if others:
        parts.append(f"<details><summary>How to read it</summary>{_notes(others)}</details>")
    parts.append("</section>")
    return "\n".join(part for part in parts if part) + "\n"


def _section(table: Table, section: Section) -> str:
    shown = _shown(table, section)
    parts = [f"<h3>{escape(section.title)}</h3>"]
    if section.difference:
        parts.append(
            f'<p class="difference">Not comparable with the rows above: '
            f"{escape(section.difference)}.</p>"
        )
    caption = f"{heading(table)}. {section.title}"
    titles = list(dict.fromkeys(title for row in section.rows for title in row.details))
    letters = section.footnotes()
    rows = "".join(_row(row, letters, table.columns, shown, titles) for row in section.rows)
    parts += [
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table class="sortable"><caption class="unseen">{escape(caption)}</caption>'
        f"<thead>{_heads([table.columns[number] for number in shown], titles)}</thead>"
        f"<tbody>{rows}</tbody></table></div>",
        _notes(list(notes(section))),
    ]
    attributes = (
        f'data-dataset="{escape(section.dataset)}" data-protocol="{escape(section.protocol)}"'
    )
    return "\n".join([f'<div class="group" {attributes}>', *parts, "</div>"])


def _shown(table: Table, section: Section) -> list[int]:
    """Leaves out the groups of columns for which there is no run; tables/ has them all."""
    ours = [row for row in section.rows if row.ours]
    shown: list[int] = []
    numbered = enumerate(table.columns)
    for _, members in groupby(numbered, key=lambda pair: pair[1].group or pair[1].title):
        group = [number for number, _ in members]
        cells = [row.cells[number] for row in ours for number in group]
        if not ours or any(cell.value is not None or cell.text != NO_RUN for cell in cells):
            shown += group
    return shown


def _heads(columns: Sequence[Column], titles: Sequence[str]) -> str:
    names = ["network", *(column.name for column in columns), *titles]
    lower = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    if not any(column.group for column in columns):
        return f"<tr>{lower}</tr>"
    upper = "<td></td>"
    for group, members in groupby(columns, key=lambda column: column.group):
        span = len(list(members))
        upper += (
            f'<th scope="colgroup" colspan="{span}">{escape(group)}</th>'
            if group
            else f'<td colspan="{span}"></td>'
        )
    upper += f'<td colspan="{len(titles)}"></td>' if titles else ""
    return f"<tr>{upper}</tr><tr>{lower}</tr>"


def _row(
    row: Row,
    letters: dict[str, str],
    columns: Sequence[Column],
    shown: Sequence[int],
    titles: Sequence[str],
) -> str:
    kind = "ours" if row.ours else "published"
    head = f'<span class="network {kind}">{breakable(label(row, letters))}</span>'
    cells = "".join(f"<td>{_cell(row.cells[number], columns[number])}</td>" for number in shown)
    details = "".join(f"<td>{escape(row.details.get(title, ''))}</td>" for title in titles)
    return f'<tr><th scope="row">{head}</th>{cells}{details}</tr>'


def breakable(name: str) -> str:
    """Escapes a name and lets its lines break after hyphens, and long words before capitals."""
    words = re.split(r"(?<=-)|(?<= )", name)
    parts = [re.split(CAPITAL, word) if len(word) > LONG_WORD else [word] for word in words]
    return "<wbr>".join(escape(part) for word in parts for part in word)


def group_start(dataset: str, protocol: str) -> str:
    """Opens a part of the page that the filters show or hide; empty words: always shown."""
    return (
        f'<div class="group" data-dataset="{escape(dataset)}" data-protocol="{escape(protocol)}">'
    )


def _notes(lines: list[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="notes">{items}</ul>' if items else ""


def _cell(cell: Cell, column: Column) -> str:
    paper = comparison(cell, column.digits)
    below = [interval(cell, column.digits), f"paper {paper}" if paper else ""]
    small = "".join(f"<small>{escape(words)}</small>" for words in below if words)
    if cell.value is None:
        key = "" if cell.published is None else f' data-value="{cell.published!r}"'
        return f"<span{key}>{escape(cell.text)}</span>{small}"
    words = escape(figure(cell.value, column.digits))
    if cell.bold:
        words = f"<strong>{words}</strong>"
    if cell.run is not None:
        also = " ".join(map(anchor, cell.others))
        more = f' data-also="{also}" title="{len(cell.others) + 1} runs"' if also else ""
        words = f'<a href="#{anchor(cell.run)}"{more}>{words}</a>'
    return f'<span data-value="{cell.value!r}">{words}</span>{small}'


def anchor(run: Path) -> str:
    """Names the place of a run, or of a cost record, on the page; a word without spaces."""
    return f"cost-{quote(run.stem)}" if run.suffix == ".json" else f"run-{quote(run.name)}"
