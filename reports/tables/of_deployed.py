"""The table "as deployed": networks in other runtimes and precisions, beside PyTorch."""

from collections.abc import Sequence
from math import isnan

from bench.words import ranges
from reports.compute.context import Context
from reports.compute.deployed import DeployedRow, deployed_rows
from reports.compute.groups import groups, told_apart
from reports.read.given import by_run
from reports.read.runs import Run
from reports.tables.model import Cell, Column, Row, Section, Table
from reports.tables.notes import machines

COLUMNS = [
    Column("", "Model (MB)", 2, None, ("deployed", "bytes")),
    Column("", "mIoU", 1, None, ("deployed", "miou")),
    Column("", "mIoU less PyTorch's", 2, None, ("deployed", "change")),
    Column("", "Latency (ms)", 2, None, ("deployed", "latency")),
    Column("", "Peak mem. (MB)", 0, None, ("deployed", "memory")),
]
NOTES = [
    "As deployed: one image through an exported graph, timed in turns with the network in PyTorch. "
    "mIoU: through the runtime, by the evaluation that scored the network, [ ] its 95 % interval; "
    "less PyTorch's: paired, the same weights on the same images. Latency: median, [ ] quartiles.",
    "Model: the file, 1e6 bytes; of PyTorch the saved weights. Peak mem.: resident size of a fresh "
    "process above what it had before it loaded the network.",
    "logits within, labels: the largest difference from PyTorch's logits in fp32, and the part of "
    "the pixels of the same class, on some images of the set. int8: static, by extremes on "
    "training images, a scale for each output channel.",
]
GIVEN_NOTE = "(given): times from a file of the user's, held to the exported file by its SHA-256."


def deployed_tables(runs: Sequence[Run], context: Context) -> list[Table]:
    """Fills the table, if anything was exported from these runs.

    Raises:
        ValueError: a given time is of no exported file.
    """
    found = by_run(runs, context.given)
    sections = []
    for group in groups(runs):
        for setting, rows in deployed_rows(group, found, context.estimates).items():
            sections.append(_section(group, setting, rows, told_apart(group, runs)))
    if not sections:
        return []
    notes = [*NOTES, GIVEN_NOTE] if context.given else NOTES
    return [Table("", "As deployed", COLUMNS, sections, notes, "deployed")]


def _section(
    group: Sequence[Run], setting: tuple[str, ...], rows: Sequence[DeployedRow], on: str
) -> Section:
    config = group[0].config
    dataset, protocol = config["dataset"]["name"], config["protocol"]["name"]
    environments = [row.first.record["environment"] for row in rows if not row.first.given]
    return Section(
        f"{dataset}, protocol {protocol}, {f'{on}, ' if on else ''}"
        f"fingerprint {group[0].fingerprint}; {', '.join(setting)}",
        [_row(row) for row in rows],
        background=machines([environment for environment in environments if environment]),
        dataset=dataset,
        protocol=protocol,
    )


def _row(row: DeployedRow) -> Row:
    first = row.first
    cells = [
        Cell(first.bytes / 1e6, run=first.path.parents[1]),
        _percent(row, change=False),
        _percent(row, change=True),
        Cell(text=_state(first.record)) if row.latency is None else Cell(*row.latency),
        Cell(text="n/a") if row.megabytes is None else Cell(row.megabytes),
    ]
    return Row(row.label, cells, _details(row), _marks(row))


def _percent(row: DeployedRow, *, change: bool) -> Cell:
    found = row.change if change else row.miou
    if found is None or isnan(found.estimate):
        return Cell(text="" if change and row.miou else "n/a")
    folder, *others = (run.folder for run, _ in row.seeds)
    return Cell(100 * found.estimate, 100 * found.low, 100 * found.high, run=folder, others=others)


def _state(record: dict[str, object]) -> str:
    state = str(record.get("state", "not timed"))
    return "not timed" if state == "measured" else state.replace("_", " ")


def _details(row: DeployedRow) -> dict[str, str]:
    record, parity = row.first.record, row.first.record.get("parity")
    found = {"seeds": ranges(run.seed for run, _ in row.seeds)}
    if not row.first.given:
        found["version"] = str(record["runtime_version"]).partition("-")[0]
    if parity:
        found["logits within"] = f"{parity['largest_difference']:.1e}"
        found["labels"] = f"{100 * parity['labels']:.3f} %"
    return {key: words for key, words in found.items() if words}


def _marks(row: DeployedRow) -> list[str]:
    first, marks = row.first, []
    parity, record = first.record.get("parity"), first.record
    if parity and first.precision == "fp32" and not parity["agrees"]:
        marks.append("in fp32 it should agree with PyTorch to rounding, and does not")
    if first.given:
        marks.append(f"given: {first.given}")
    elif record.get("reason"):
        marks.append(str(record["reason"]))
    if record.get("batch_norms"):
        marks.append(f"batch norms not folded, behind no convolution: {record['batch_norms']}")
    return marks
