"""Table 6: time of the forward and backward pass, memory and model size, from cost records."""

from collections.abc import Sequence
from itertools import pairwise

from reports.cost import Cost
from reports.notes import machines
from reports.published import SOURCE, TITLES, printed, rows_of
from reports.table import Cell, Column, Row, Section, Table

COLUMNS = [
    Column("", "Forward (ms)", 2, "Forward pass(ms)", ("forward_ms",)),
    Column("", "Backward (ms)", 2, "Backward pass(ms)", ("backward_ms",)),
    Column("", "Train. mem. (MB)", 0, "GPU training memory (MB)", ("training",)),
    Column("", "Infer. mem. (MB)", 0, "GPU inference memory (MB)", ("inference",)),
    Column("", "Model size (MB)", 1, "Model size (MB)", ("model",)),
]
NOTES = [
    "Times: median of the samples, [ ] their quartiles, batch 1. MB: 1e6 bytes. Model size: "
    "4 bytes for each parameter.",
    f"Published figures (Titan GPU, cuDNN v3), and ours minus them in parentheses: {SOURCE}.",
]


def cost_table(costs: Sequence[Cost]) -> Table:
    """Fills Table 6; a section for each device, image size, number of classes and precision."""
    settings = dict.fromkeys(cost.setting for cost in costs)
    sections = [_section([c for c in costs if c.setting == setting]) for setting in settings]
    for one, other in pairwise(sections):
        other.difference = f"{one.title} / {other.title}"
    if not sections:
        sections = [Section("no measurement yet", [])]
    sections[0].rows += _published_rows(costs)
    return Table("6", TITLES["6"], COLUMNS, sections, NOTES)


def _section(costs: Sequence[Cost]) -> Section:
    order = {name: number for number, name in enumerate(rows_of("6"))}
    ranked = sorted(costs, key=lambda cost: (order.get(cost.name, len(order)), cost.name))
    rows = [_row(cost) for cost in ranked]
    notes = machines([cost.environment for cost in costs])
    return Section(", ".join(costs[0].setting), rows, notes=notes)


def _row(cost: Cost) -> Row:
    cells = [_cell(cost, column.source[0]) for column in COLUMNS]
    for cell, column in zip(cells, COLUMNS, strict=True):
        paper = printed("6", cost.name, column.published)
        cell.published = paper.number if paper else None
    marks = [f"{mode} memory: {reading[1]}" for mode, reading in cost.memory.items() if reading]
    if cost.state != "measured":
        state = cost.state.replace("_", " ")
        marks.append(f"{state}: {cost.reason}" if cost.reason else state)
    return Row(cost.name, cells, marks=marks)


def _cell(cost: Cost, source: str) -> Cell:
    missing = Cell(text="n/a" if cost.state == "measured" else cost.state.replace("_", " "))
    if source.endswith("_ms"):
        quartiles = cost.quartiles(source)
        return Cell(*quartiles, run=cost.path) if quartiles else missing
    if source == "model":
        size = cost.work.get("model_bytes")
        return Cell(size / 1e6, run=cost.path) if size else missing
    megabytes = cost.megabytes(source)
    return missing if megabytes is None else Cell(megabytes, run=cost.path)


def _published_rows(costs: Sequence[Cost]) -> list[Row]:
    there = {cost.name for cost in costs}
    rows = []
    for name in rows_of("6"):
        if name not in there:
            papers = [printed("6", name, column.published) for column in COLUMNS]
            cells = [
                Cell(published=paper.number if paper else None, text="no run") for paper in papers
            ]
            rows.append(Row(name, cells, ours=False))
    return rows
