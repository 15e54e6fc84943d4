"""Tables as HTML: every figure leads to its run, and carries the number that it is sorted by."""

from html import escape
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from reports.render.text import heading, label, notes
from reports.tables.model import Cell, Column, Row, Section, Table, comparison, figure, interval


def html(table: Table) -> str:
    """Formats a table as an HTML fragment, a `<table>` for each section."""
    parts = [f'<section class="table" id="{table.slug}">']
    parts.append(f"<h2>{escape(heading(table))}</h2>")
    parts += [_section(table, section) for section in table.sections]
    parts.append(f"<details><summary>How to read it</summary>{_notes(table.notes)}</details>")
    parts.append("</section>")
    return "\n".join(parts) + "\n"


def _section(table: Table, section: Section) -> str:
    titles = list(dict.fromkeys(title for row in section.rows for title in row.details))
    heads = [("", "network"), *(("", title) for title in titles)]
    heads += [(escape(column.group), escape(column.name)) for column in table.columns]
    letters = section.footnotes()
    lines = [
        [
            _label(row, letters),
            *(escape(row.details.get(title, "")) for title in titles),
            *(_cell(*pair) for pair in zip(row.cells, table.columns, strict=True)),
        ]
        for row in section.rows
    ]
    grouped = any(group for group, _ in heads)
    columns: pd.Index = (
        pd.MultiIndex.from_tuples(heads) if grouped else pd.Index([name for _, name in heads])
    )
    frame = pd.DataFrame(lines, columns=columns)
    body = frame.to_html(index=False, escape=False, border=0, classes="sortable")
    parts = [f"<h3>{escape(section.title)}</h3>"]
    if section.difference:
        parts.append(
            f'<p class="difference">Not comparable with the rows above: '
            f"{escape(section.difference)}.</p>"
        )
    inner = [*parts, f'<div class="scroll" tabindex="0">{body}</div>', _notes(list(notes(section)))]
    attributes = (
        f'data-dataset="{escape(section.dataset)}" data-protocol="{escape(section.protocol)}"'
    )
    return "\n".join([f'<div class="group" {attributes}>', *inner, "</div>"])


def group_start(dataset: str, protocol: str) -> str:
    """Opens a part of the page that the filters show or hide; empty words: always shown."""
    return (
        f'<div class="group" data-dataset="{escape(dataset)}" data-protocol="{escape(protocol)}">'
    )


def _notes(lines: list[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="notes">{items}</ul>' if items else ""


def _label(row: Row, letters: dict[str, str]) -> str:
    kind = "ours" if row.ours else "published"
    return f'<span class="network {kind}">{escape(label(row, letters))}</span>'


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
