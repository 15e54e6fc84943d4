"""The table of further scores: what peers report of the same counts, where it was counted."""

from collections.abc import Sequence
from dataclasses import replace
from math import isnan

from bench.words import ranges
from reports.compute.context import Context
from reports.compute.groups import Contestant, contestants, groups, told_apart
from reports.compute.pooling import ENOUGH_SEEDS
from reports.read.runs import Run
from reports.tables.model import Cell, Column, Row, Section, Table

FURTHER = "further"  # --table further
COLUMNS = [
    Column(group, name, 1, None, ("other", score))
    for group, name, score in (
        ("of the set", "FWIoU", "FWIoU"),
        ("of the set", "micro IoU", "micro IoU"),
        ("of the set", "precision", "precision"),
        ("of the set", "Dice", "Dice"),
        ("mean over images", "mIoU", "image mIoU"),
        ("mean over images", "mIoU, worst tenth", "image mIoU, worst tenth"),
        ("mean over images", "Dice", "image Dice"),
        ("contours", "Boundary IoU", "boundary IoU"),
        ("contours", "NSD", "NSD"),
        ("calibration", "ECE", "ECE"),
    )
]
NOTES = [
    "Means over seeds, in percent; higher is better, but for ECE. [ ]: 95 % interval of the figure "
    f"as in the other tables, of these weights alone with fewer than {ENOUGH_SEEDS} seeds. Nothing "
    "is ranked here: whether two networks differ does not follow from two intervals.",
    "FWIoU: IoU weighted by the pixels of a class. micro IoU: intersections over unions, each "
    "summed over the classes. precision, Dice: means over the classes. mean over images: of each "
    "image's mean over the classes in truth or prediction; worst tenth: of the images with the "
    "lowest mIoU. Boundary IoU: within 2 % of the diagonal of a contour (Cheng et al. 2021). NSD: "
    "normalised surface distance at BF's tolerance (Nikolov et al. 2018). ECE: expected "
    "calibration error, 15 bins (Guo et al. 2017).",
]


def further_tables(runs: Sequence[Run], context: Context) -> list[Table]:
    """Fills the table, if there is an evaluation; columns without any figure are left out."""
    sections = []
    for group in groups(runs):
        split = group[0].config["protocol"]["evaluation_splits"][0]
        rows = [row for one in contestants(group) if (row := _row(one, split, context))]
        if rows:
            sections.append(_section(group, split, rows, told_apart(group, runs)))
    if not sections:
        return []
    filled = [
        number
        for number in range(len(COLUMNS))
        if any(row.cells[number].value is not None for s in sections for row in s.rows)
    ]
    missing = [column.title for n, column in enumerate(COLUMNS) if n not in filled]
    notes = [*NOTES]
    if missing:
        notes.append(
            "Left out, because no network here has them with all its seeds (older versions did not "
            f"count all, or evidence is missing): {'; '.join(missing)}."
        )
    for section in sections:
        section.rows = [replace(r, cells=[r.cells[n] for n in filled]) for r in section.rows]
    columns = [COLUMNS[number] for number in filled]
    return [Table("", "Further scores", columns, sections, notes, FURTHER)]


def _section(group: Sequence[Run], split: str, rows: list[Row], on: str) -> Section:
    """Gathers rows; seeds that all of them have stand in the title, since columns are many."""
    config = group[0].config
    dataset, protocol = config["dataset"]["name"], config["protocol"]["name"]
    seeds = {row.details["seeds"] for row in rows}
    if len(seeds) == 1:
        rows = [replace(row, details={}) for row in rows]
    words = [f"{dataset}, protocol {protocol}", on, split]
    words += [f"seeds {one}" for one in seeds if len(seeds) == 1]
    title = ", ".join([*filter(None, words), f"fingerprint {group[0].fingerprint}"])
    return Section(title, rows, dataset=dataset, protocol=protocol, terms=on)


def _row(one: Contestant, split: str, context: Context) -> Row | None:
    seeds = [(run, e) for run in one.runs if (e := run.evaluation(split, None)) is not None]
    if not seeds:
        return None
    found = context.estimates.others(seeds)
    first, *others = (run.folder for run, _ in seeds)
    cells = []
    for column in COLUMNS:
        score = found[column.source[1]]
        percent = (100 * score.estimate, 100 * score.low, 100 * score.high)
        known = not isnan(score.estimate)
        cells.append(Cell(*percent, run=first, others=others) if known else Cell(text="n/a"))
    return Row(one.label, cells, {"seeds": ranges(run.seed for run, _ in seeds)})
