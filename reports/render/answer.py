"""The first screen of a page: which network is best, in two sentences and one small table."""

from collections.abc import Sequence
from html import escape
from math import isnan

from reports.render.html import anchor, breakable, group_start
from reports.tables.model import Cell, Row, Section, Table, figure, interval

SCORES = ("mIoU", "BF")
Found = list[tuple[Row, list[Cell]]]  # rows of runs, with the cells of SCORES


def answers(tables: Sequence[Table]) -> str:
    """Formats the answer of every section of runs, as an HTML fragment; empty without scores."""
    parts = [
        _answer(section, found, group)
        for table in tables
        for section in table.sections
        for group, found in [_scores(table, section)]
        if found
    ]
    return "\n".join(['<section id="answer">', *parts, "</section>"]) if parts else ""


def _scores(table: Table, section: Section) -> tuple[str, Found]:
    """Finds the group of columns that is reported: Table 1's first, the others' last."""
    groups = list(dict.fromkeys(column.group for column in table.columns if column.group))
    for group in groups if table.number == "1" else reversed(groups):
        places = {c.name: n for n, c in enumerate(table.columns) if c.group == group}
        if not places.keys() >= set(SCORES):
            continue
        found = [
            (row, [row.cells[places[name]] for name in SCORES])
            for row in section.rows
            if row.ours and row.cells[places[SCORES[0]]].value is not None
        ]
        if found:
            return group, sorted(found, key=lambda one: -(one[1][0].value or 0.0))
    return "", []


def _answer(section: Section, found: Found, group: str) -> str:
    sentences = " ".join(_sentence(found, number) for number in range(len(SCORES)))
    heads = "".join(f'<th scope="col">{name}</th>' for name in SCORES)
    limits = [_limits(found, number) for number in range(len(SCORES))]
    rows = "".join(_line(row, cells, limits) for row, cells in found)
    seeds = dict.fromkeys(row.details.get("seeds", "") for row, _ in found)
    terms = f", {section.terms}" if section.terms else ""
    words = f"{section.dataset}, protocol {section.protocol}{terms}, {group}; "
    words += f"seeds {' / '.join(seeds)}"
    return (
        f"{group_start(section.dataset, section.protocol)}"
        f'<p class="answer">{sentences}</p>'
        f'<table class="answer"><caption>{escape(words)}. In percent; lines: 95 % intervals; '
        "small: the paper's figures for its own protocol.</caption>"
        f'<thead><tr><th scope="col">network</th>{heads}</tr></thead><tbody>{rows}</tbody></table>'
        "</div>"
    )


def _sentence(found: Found, number: int) -> str:
    """Says which network is best in a score, which are not separated from it, and who is unranked.

    The best is that of the networks that are ranked; where fewer than two are, there is no verdict.
    """
    name = SCORES[number]
    known = sorted(
        ((row, cells[number]) for row, cells in found if cells[number].value is not None),
        key=lambda one: -(one[1].value or 0.0),
    )
    ranked = [one for one in known if not one[1].unranked]
    bold = [one for one in ranked if one[1].bold]
    if not known:
        return ""
    row, cell = (bold or known)[0]
    best = f"<strong>{breakable(row.label)}</strong> has {name} {_figures(cell)}"
    if len(known) == 1:
        return f"{best}."
    if not bold:
        return (
            f"{best}, the highest of {len(known)} networks, which is no verdict{_left_out(known)}."
        )
    best += f", the highest of {len(ranked)} networks"
    others = [breakable(row.label) for row, _ in bold[1:]]
    if others:
        return f"{best}; not separated from it: {', '.join(others)}{_left_out(known)}."
    return f"{best} and separated from all of them{_left_out(known)}."


def _left_out(known: Sequence[tuple[Row, Cell]]) -> str:
    """Says which networks are not ranked, and why."""
    reasons: dict[str, list[str]] = {}
    for row, cell in known:
        if cell.unranked:
            reasons.setdefault(cell.unranked, []).append(breakable(row.label))
    words = [f"{', '.join(names)} ({escape(reason)})" for reason, names in reasons.items()]
    return f"; not ranked: {', '.join(words)}" if words else ""


def _figures(cell: Cell) -> str:
    return escape(f"{figure(cell.value, 1)} {interval(cell, 1)}".strip())


def _limits(found: Found, number: int) -> tuple[float, float]:
    """Returns the ends of a score's scale, over all intervals."""
    ends = [
        end
        for _, cells in found
        for end in (cells[number].low, cells[number].high, cells[number].value)
        if end is not None and not isnan(end)
    ]
    return min(ends, default=0.0), max(ends, default=100.0)


def _line(row: Row, cells: Sequence[Cell], limits: Sequence[tuple[float, float]]) -> str:
    columns = "".join(
        f"<td>{_number(cell)}{_whisker(cell, *ends)}</td>"
        for cell, ends in zip(cells, limits, strict=True)
    )
    return f'<tr><th scope="row">{breakable(row.label)}</th>{columns}</tr>'


def _number(cell: Cell) -> str:
    if cell.value is None:
        return escape(cell.text)
    words = figure(cell.value, 1)
    words = f"<strong>{words}</strong>" if cell.bold else words
    if cell.run is not None:
        words = f'<a href="#{anchor(cell.run)}">{words}</a>'
    paper = figure(cell.published, 1)
    return f"{words} <small>{paper}</small>" if paper else words


def _whisker(cell: Cell, lowest: float, highest: float) -> str:
    """Draws an interval as a line and its figure as a dot, on the scale of the column."""
    if cell.value is None or highest <= lowest:
        return ""

    def place(value: float) -> float:
        return 100 * (value - lowest) / (highest - lowest)

    line = ""
    if cell.low is not None and cell.high is not None and not isnan(cell.low):
        left, right = place(cell.low), place(cell.high)
        line = f'<i style="left:{left:.1f}%;width:{right - left:.1f}%"></i>'
    dot = f'<b style="left:{place(cell.value):.1f}%"></b>'
    return f'<span class="whisker" aria-hidden="true">{line}{dot}</span>'
