"""Filling tables of scores: Tables 1 to 5 of the paper, from runs.

What was trained under one fingerprint stands together in a section. Table 1 alone sets two class
weightings side by side, by column, as the paper does; all else must then agree.
"""

from collections.abc import Collection, Sequence
from math import isnan

from bench.words import ranges
from reports.compute.context import Context
from reports.compute.estimates import Pool
from reports.compute.groups import (
    CONDITION_OF_COLUMNS,
    PRETRAINING,
    Contestant,
    contestants,
    equally_long,
    groups,
    told_apart,
)
from reports.compute.kept import Evaluated
from reports.read.costs import Cost, cost_of
from reports.read.published import (
    TITLES,
    has_published,
    is_indoor,
    printed,
    row_of,
    rows_of,
    weighting_of,
)
from reports.read.runs import Run, weighting
from reports.tables.bold import embolden
from reports.tables.conditions import UNEQUALLY_LONG, section_differences
from reports.tables.layout import columns_for, published_columns
from reports.tables.model import NO_RUN, Cell, Column, Row, Section, Table
from reports.tables.notes import (
    background_notes,
    published_marks,
    row_marks,
    section_notes,
    state_marks,
    table_notes,
)
from reports.tables.power import seeds_notes
from reports.tables.tuned import edge_marks, tuning_notes, value_details

STATES = {"out_of_memory": "out of memory"}


def score_table(number: str, runs: Sequence[Run], context: Context) -> list[Table]:
    """Fills Table 1, 2, 3, 4 or 5; data sets with other columns make further tables.

    Args:
        number: of the table; 4 and 5 take the runs on SUN RGB-D, the others the rest.
        runs: any runs.
        context: scores, costs and literature.
    """
    fitting = [r for r in runs if is_indoor(r.config["dataset"]["name"]) == (number in {"4", "5"})]
    weightings = {weighting(run) for run in fitting}
    tables: dict[tuple[Column, ...], Table] = {}
    before: Run | None = None
    apart_from = [CONDITION_OF_COLUMNS] * (number == "1") + [PRETRAINING] * context.mixed
    for group in groups(fitting, apart_from):
        columns = columns_for(number, group)
        section = _section(number, group, columns, context)
        section.terms = told_apart(group, fitting)
        section.title += f", {section.terms}" if section.terms else ""
        if context.rows_without_runs:
            section.rows += _rows_without_runs(number, group, columns, context, weightings)
        if before is not None:
            section.difference = "; ".join(section_differences(before, group[0]))
        before = group[0]
        table = tables.setdefault(tuple(columns), Table(number, TITLES[number], columns, []))
        table.sections.append(section)
    if not tables:
        columns = published_columns(number)
        tables[tuple(columns)] = Table(number, TITLES[number], columns, [])
    for table in tables.values():
        if len(tables) > 1:
            table.part = " and ".join(dict.fromkeys(s.dataset for s in table.sections))
            table.title += f", {table.part}"
        if number == "2" or not table.sections or context.literature:
            table.sections += _published_sections(number, table.columns, context)
        table.notes = table_notes(number, table.columns, context.estimates.conventions)
    return list(tables.values())


def _section(
    number: str, group: Sequence[Run], columns: Sequence[Column], context: Context
) -> Section:
    config = group[0].config
    fingerprints = dict.fromkeys(run.fingerprint for run in group)
    title = (
        f"{config['dataset']['name']}, protocol {config['protocol']['name']}, trained "
        f"{trained_on(group[0])}, fingerprint {' and '.join(fingerprints)}"
    )
    ours = contestants(group, rows_of(number))
    rows = [_row(number, one, columns, context) for one in ours]
    power = _embolden(columns, ours, rows, context)
    return Section(
        title,
        rows,
        notes=[*power, *tuning_notes(group), *section_notes(number, group, ours)],
        background=[
            *background_notes(group, ours),
            *_cost_notes(columns, ours, context.costs),
        ],
        dataset=config["dataset"]["name"],
        protocol=config["protocol"]["name"],
    )


def trained_on(run: Run) -> str:
    """Says what a network is given in training: images of a size, or crops of them."""
    protocol = run.config["protocol"]
    size, crop = protocol["image_size"], protocol.get("augmentation", {}).get("crop")
    images = "images of their own size" if size is None else f"{size[0]}x{size[1]}"
    if crop is None:
        return f"at {images}" if size else f"on {images}"
    return f"on crops of {crop[0]}x{crop[1]} from {images}"


def _rows_without_runs(
    number: str,
    group: Sequence[Run],
    columns: Sequence[Column],
    context: Context,
    weightings: Collection[str],
) -> list[Row]:
    """Makes the paper's rows that no run of a section fills; Table 2's stand apart.

    Those of another class weighting are left to the section that has it, if there is one.
    """
    own = weighting(group[0])
    if number == "2" or not has_published(number, group[0].config["dataset"]["name"]):
        return []
    there = {row_of(number, run.name, own) for run in group}
    left = {*weightings} - {own} if number != "1" else set()
    return [
        _published_row(number, name, columns, context, NO_RUN)
        for name in rows_of(number)
        if name not in there and weighting_of(name) not in left
    ]


def _embolden(
    columns: Sequence[Column], ours: Sequence[Contestant], rows: Sequence[Row], context: Context
) -> list[str]:
    """Sets figures in bold, and says what the seeds of the first scores can show."""
    pools: dict[tuple[str, ...], Pool] = {}
    notes: list[str] = []
    for number, column in enumerate(columns):
        if column.source[0] != "score":
            continue
        sides = [evaluated(one, column) for one in ours]
        of_group = column.source[:-1]  # all but the score
        if of_group not in pools:
            pools[of_group] = context.estimates.pool(sides)
            notes = notes or seeds_notes(sides, pools[of_group], context.estimates)
        cells = [row.cells[number] for row in rows]
        if not column.source[3] and not equally_long(run for one in ours for run in one.runs):
            for cell in cells:
                cell.unranked = UNEQUALLY_LONG
            continue
        of_column = list(zip(sides, cells, strict=True))
        embolden(of_column, column.source[-1], pools[of_group], context.estimates)
    return notes


def _cost_notes(
    columns: Sequence[Column], ours: Sequence[Contestant], costs: Sequence[Cost]
) -> list[str]:
    """Says where the times of a table were taken."""
    if not any(column.source[0] == "time" for column in columns):
        return []
    found = [cost_of(costs, one.first) for one in ours]
    settings = dict.fromkeys(", ".join(cost.setting) for cost in found if cost)
    notes = [f"Storage and infer time: {setting}." for setting in settings]
    if None in found:
        protocol = ours[0].first.config["protocol"]["name"]
        command = f"python -m bench +experiment=table1_cost protocol={protocol}"
        notes.append(f"Storage and infer time n/a: not measured; {command} measures them.")
    return notes


def _row(number: str, one: Contestant, columns: Sequence[Column], context: Context) -> Row:
    compared = has_published(number, one.first.config["dataset"]["name"])
    paper_row = row_of(number, one.first.name, weighting(one.first)) if compared else None
    cells = []
    for column in columns:
        cell = _score_cell(one, column, context) if column.source[0] == "score" else (
            _cost_cell(one, column, context.costs)
        )  # fmt: skip
        paper = printed(number, paper_row, column.published)
        cell.published = paper.number if paper else None
        cells.append(cell)
    marks = [*(row_marks(number, one) if compared else []), *edge_marks(one)]
    return Row(one.label, cells, _details(one, columns), marks + state_marks(one))


def _details(one: Contestant, columns: Sequence[Column]) -> dict[str, str]:
    """Says which seeds are behind the figures of a row, and how long they trained."""
    by_group: dict[str, str] = {}
    behind: dict[str, Run] = {}
    for column in columns:
        found = evaluated(one, column) if column.source[0] == "score" else []
        seeds = ranges(run.seed for run, _ in found)
        if seeds:
            by_group.setdefault(column.group, seeds)
        behind |= {str(run.folder): run for run, _ in found}
    differ = len(set(by_group.values())) > 1
    shown = [f"{group}: {seeds}" if differ else seeds for group, seeds in by_group.items()]
    iterations = dict.fromkeys(str(run.config["max_iterations"]) for run in behind.values())
    best = dict.fromkeys(str(run.best_iteration) for run in behind.values() if run.best_iteration)
    words = {"seeds": dict.fromkeys(shown), "iterations": iterations, "best": best}
    separators = {"seeds": "; "}
    joined = {key: separators.get(key, ", ").join(found) for key, found in words.items() if found}
    return joined | value_details(list(behind.values()))


def evaluated(one: Contestant, column: Column) -> list[Evaluated]:
    """Returns the evaluations behind a cell: one for each seed that has it."""
    _, wanted, split, iteration, _ = column.source
    found = []
    for run in one.runs:
        if wanted in {"", weighting(run)}:
            evaluation = run.evaluation(split, int(iteration) if iteration else None)
            if evaluation is not None:
                found.append((run, evaluation))
    return found


def _score_cell(one: Contestant, column: Column, context: Context) -> Cell:
    seeds = evaluated(one, column)
    if seeds:
        found = context.estimates.of(seeds)[column.source[-1]]
        if isnan(found.estimate):
            return Cell(text="n/a")
        percent = (100 * found.estimate, 100 * found.low, 100 * found.high)
        first, *others = (run.folder for run, _ in seeds)
        return Cell(*percent, run=first, others=others)
    concerned = [run for run in one.runs if column.source[1] in {"", weighting(run)}]
    states = dict.fromkeys(STATES.get(run.state, run.state) for run in concerned)
    unfinished = [state for state in states if state != "finished"]
    return Cell(text=", ".join(unfinished) if concerned else NO_RUN)


def _cost_cell(one: Contestant, column: Column, costs: Sequence[Cost]) -> Cell:
    run = one.first
    if column.source[0] == "parameters":
        count = run.network.get("parameters")
        return Cell(count / 1e6, run=run.folder) if count else Cell(text="n/a")
    cost = cost_of(costs, run)
    if cost is None:
        return Cell(text="n/a")
    if column.source[0] == "storage":
        multiplier = cost.storage_in_maps("retained_bytes_first_level")
        return Cell(text="n/a") if multiplier is None else Cell(multiplier, run=run.folder)
    quartiles = cost.quartiles("forward_ms")
    if not quartiles:
        return Cell(text=cost.state)
    return Cell(*quartiles, run=run.folder, comparable=cost.is_like_published)


def _published_sections(number: str, columns: Sequence[Column], context: Context) -> list[Section]:
    """Sets what others have published, under protocols of their own, apart from our runs."""
    sections = []
    if any(column.published for column in columns):
        rows = [_published_row(number, name, columns, context) for name in rows_of(number)]
        title = f"published (Table {number}), under the authors' own protocols"
        sections.append(Section(title, rows))
    names = dict.fromkeys(row for table, row, _ in context.literature if table == number)
    if names:
        rows = [_published_row(number, name, columns, context) for name in names]
        sections.append(Section("literature given by --literature", rows))
    return sections


def _published_row(
    number: str, name: str, columns: Sequence[Column], context: Context, text: str = ""
) -> Row:
    """Makes a row of what is printed; with a text, the figures stand below it, as the paper's."""
    cells = []
    for column in columns:
        paper = context.literature.get((number, name, column.published or ""))
        paper = paper or printed(number, name, column.published)
        if text:
            cells.append(Cell(published=paper.number if paper else None, text=text))
        else:
            cells.append(Cell(text=paper.text if paper else ""))
    return Row(name, cells, marks=published_marks(name), ours=False)
