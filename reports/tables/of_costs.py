"""Table 6 and the cost columns of Table 1 from cost records, and what stands behind them.

Measurements of whole training iterations make Table 6, those of inference alone Table 1. Each has
the paper's columns first, beside the published figures, and then a table of details: estimates,
storage, work, and the share of what the device can do.
"""

from collections.abc import Sequence
from itertools import pairwise

from reports.read.cost_settings import INFERENCE
from reports.read.costs import GRAPH, TRAINING, WALL, Cost
from reports.read.published import SOURCE, TITLES, printed, rows_of
from reports.tables.model import NO_RUN, Cell, Column, Row, Section, Table
from reports.tables.notes import machines

PAPERS = {
    "6": [
        Column("", "Forward (ms)", 2, "Forward pass(ms)", ("time", "forward_ms")),
        Column("", "Backward (ms)", 2, "Backward pass(ms)", ("time", "backward_ms")),
        Column("", "Train. mem. (MB)", 0, "GPU training memory (MB)", ("memory", TRAINING)),
        Column("", "Infer. mem. (MB)", 0, "GPU inference memory (MB)", ("memory", INFERENCE)),
        Column("", "Model size (MB)", 1, "Model size (MB)", ("work", "model_bytes")),
    ],
    "1": [
        Column("", "Params (M)", 3, "Params (M)", ("work", "parameters")),
        Column("", "Storage mult.", 1, "Storage multiplier", ("storage", "first level")),
        Column("", "Infer time (ms)", 2, "Infer time (ms)", ("time", "forward_ms")),
        Column("", "Infer. mem. (MB)", 0, None, ("memory", INFERENCE)),
    ],
}
PARTS = {"6": (TITLES["6"], ""), "1": (f"what {TITLES['1']} cost", "cost")}  # title, part
DETAILS = [
    Column("", "Optimiser (ms)", 2, None, ("time", "optimiser_ms")),
    Column("", "Iteration (ms)", 2, None, ("time", "step_ms")),
    Column("", "Forward, graph (ms)", 2, None, ("time", f"{GRAPH}forward_ms")),
    Column("", "Forward, wall (ms)", 2, None, ("time", f"{WALL}forward_ms")),
    Column("", "Backward, wall (ms)", 2, None, ("time", f"{WALL}backward_ms")),
    Column("", "Iteration, wall (ms)", 2, None, ("time", f"{WALL}step_ms")),
    Column("", "Train. mem., est. (MB)", 0, None, ("estimate", TRAINING)),
    Column("", "Infer. mem., est. (MB)", 0, None, ("estimate", INFERENCE)),
    Column("", "Params (M)", 3, None, ("work", "parameters")),
    Column("", "Trainable (M)", 3, None, ("work", "trainable_parameters")),
    Column("", "Model size (MB)", 1, None, ("work", "model_bytes")),
    Column("", "Model file (MB)", 1, None, ("work", "file_bytes")),
    Column("", "Storage mult.", 1, None, ("storage", "first level")),
    Column("", "Storage, all levels", 1, None, ("storage", "all levels")),
    Column("", "Storage, all (MB)", 2, None, ("storage", "bytes")),
    Column("", "GMAC", 1, None, ("work", "multiply_accumulates")),
    Column("", "Of convolution (%)", 0, None, ("share", "convolution_flops")),
    Column("", "Of copying (%)", 0, None, ("share", "copy_bytes_per_second")),
    Column("", "Energy (J/image)", 2, None, ("energy",)),
]
OF_DEVICES = {"time", "memory"}  # what another device, or size of image, changes
SCALES = {"multiply_accumulates": 1e9}  # the others are in millions
NOTES = [
    "Times: medians, [ ] their quartiles. MB: 1e6 bytes. Model size: 4 bytes for each parameter. "
    "n/a: not measured, or this device does not tell.",
    "Published figures (Titan GPU, cuDNN v3, 360x480), and ours minus them in parentheses where "
    f"device and size are the same: {SOURCE}.",
]
STORAGE_NOTE = (
    "Storage: what is kept of the encoder for the decoder, in fp32 maps of half the image's height "
    "and width (180x240 for 360x480, the paper's unit); the multiplier is of the largest level, as "
    "the paper counts. It prints 1 for 2-bit indices, which take 4; n/a: no bottleneck."
)
DETAIL_NOTES = {  # of the columns of one kind
    "estimate": "est.: tensors alone, from shapes.",
    "work": "Model file: the weights as torch saves them. GMAC: multiply-accumulates of the "
    "forward pass for one image.",
    "storage": STORAGE_NOTE,
    "share": "Of convolution, of copying: what the forward pass reaches of the operations that a "
    "7x7 convolution, and the bytes (unfused, fp32) that a copy reaches in a second on this "
    "device.",
    "energy": "Energy: of the whole card during inference, its idle power included.",
}
CLOCKS = {
    "wall": "wall clock",
    "device": "CUDA events",
    "process": "process time of all threads together",
}


def cost_tables(costs: Sequence[Cost], rows_without_runs: bool = True) -> list[Table]:
    """Fills Tables 6 and 1 as far as there are measurements, each followed by its details."""
    tables = []
    for number in PAPERS:
        some = [cost for cost in costs if (INFERENCE in cost.setting) == (number == "1")]
        if some:
            tables += [cost_table(number, some, rows_without_runs), _detail_table(number, some)]
    return tables


def cost_table(number: str, costs: Sequence[Cost], rows_without_runs: bool = True) -> Table:
    """Fills Table 6 or 1; a section for each device, image size, precision and so on."""
    columns = PAPERS[number]
    if not any(cost.memory.get(INFERENCE) for cost in costs):
        columns = [c for c in columns if c.published or c.source != ("memory", INFERENCE)]
    sections = _sections(number, costs, columns)
    for section, some in sections:
        section.notes += _measuring_notes(some)
        section.background += machines([c.environment for c in some])
        for row, cost in zip(section.rows, _ranked(number, some), strict=True):
            row.details, row.marks = _details(cost), _marks(cost)
    found = [section for section, _ in sections] or [Section("no measurement yet", [])]
    if rows_without_runs:
        found[0].rows += _published_rows(number, columns, {cost.name for cost in costs})
    notes = [*NOTES, STORAGE_NOTE] if number == "1" else NOTES
    return Table(number, PARTS[number][0], columns, found, notes, PARTS[number][1])


def _detail_table(number: str, costs: Sequence[Cost]) -> Table:
    shown = {column.source for column in PAPERS[number]}
    columns = [
        column
        for column in DETAILS
        if column.source not in shown and any(_cell(c, column).value is not None for c in costs)
    ]
    if number == "1":  # an iteration is a forward pass
        columns = [column for column in columns if column.source != ("time", "step_ms")]
    sections = [section for section, _ in _sections(number, costs, columns)]
    above = {"storage"} if number == "1" else set()
    kinds = {column.source[0] for column in columns} - above
    notes = [note for kind, note in DETAIL_NOTES.items() if kind in kinds]
    title, part = PARTS[number]
    part = f"{part} details".strip()
    return Table(number, f"{title}, in detail", columns, sections, notes, part)


def _sections(
    number: str, costs: Sequence[Cost], columns: Sequence[Column]
) -> list[tuple[Section, list[Cost]]]:
    """Makes a section, with its measurements, for each setting."""
    found = []
    for setting in dict.fromkeys(cost.setting for cost in costs):
        some = [cost for cost in costs if cost.setting == setting]
        rows = [_row(number, cost, columns) for cost in _ranked(number, some)]
        found.append((Section(", ".join(setting), rows), some))
    for (one, _), (other, _) in pairwise(found):
        other.difference = _difference(one.title.split(", "), other.title.split(", "))
    return found


def _difference(one: Sequence[str], other: Sequence[str]) -> str:
    """Says what only the one, and what only the other setting has."""
    parts = [[part for part in a if part not in b] for a, b in ((one, other), (other, one))]
    return " / ".join(", ".join(part) or "none" for part in parts)


def _ranked(number: str, costs: Sequence[Cost]) -> list[Cost]:
    order = {name: rank for rank, name in enumerate(rows_of(number))}
    return sorted(costs, key=lambda cost: (order.get(cost.name, len(order)), cost.name))


def _row(number: str, cost: Cost, columns: Sequence[Column]) -> Row:
    cells = [_cell(cost, column) for column in columns]
    for cell, column in zip(cells, columns, strict=True):
        paper = printed(number, cost.name, column.published)
        cell.published = paper.number if paper else None
        cell.comparable = column.source[0] not in OF_DEVICES or cost.is_like_published
    return Row(cost.name, cells)


def _cell(cost: Cost, column: Column) -> Cell:
    kind, *name = column.source
    if kind == "time":
        quartiles = cost.quartiles(name[0])
        if quartiles:
            return Cell(*quartiles, run=cost.path)
    value = None if kind == "time" else _value(cost, kind, *name)
    return (
        Cell(text=_missing(cost, *column.source)) if value is None else Cell(value, run=cost.path)
    )


def _missing(cost: Cost, kind: str, name: str = "") -> str:
    """Says what became of a figure that is not there."""
    state: str | None = cost.state
    if cost.work:  # the network could be built
        if kind == "memory":
            state = cost.memory_states.get(name)
        elif kind != "time" or cost.samples:
            state = None
    return "n/a" if state in {None, "measured"} else str(state).replace("_", " ")


def _value(cost: Cost, kind: str, name: str = "") -> float | None:
    if kind == "memory":
        return cost.megabytes(name)
    if kind == "share":
        return cost.share(name)
    if kind == "storage":
        return {
            "first level": cost.storage_in_maps("retained_bytes_first_level"),
            "all levels": cost.storage_in_maps("retained_bytes"),
            "bytes": _scaled(cost.storage.get("retained_bytes"), 1e6),
        }[name]
    if kind == "energy":
        return cost.joules
    given = cost.estimates if kind == "estimate" else cost.work
    return _scaled(given.get(name), SCALES.get(name, 1e6))


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value / scale


def _details(cost: Cost) -> dict[str, str]:
    if not cost.samples:
        return {}
    stopped = {"timeout": "time limit"}.get(cost.timing.get("stopped_because", ""), "steady")
    return {
        "samples": str(len(cost.samples["forward_ms"])),
        "stopped": stopped,
        "timed": "in turns" if cost.company else "alone",
    }


def _marks(cost: Cost) -> list[str]:
    marks = []
    if cost.state != "measured":
        state = cost.state.replace("_", " ")
        marks.append(f"{state}: {cost.reason}" if cost.reason else state)
    dropped = cost.timing.get("dropped_samples")
    if dropped:
        marks.append(f"{dropped} samples dropped: the card was throttled")
    if cost.bound_by_launches:
        graph = cost.quartiles(f"{GRAPH}forward_ms")
        assert graph is not None
        marks.append(
            f"bound by launches: as one CUDA graph the forward pass takes {graph[0]:.2f} ms"
        )
    return marks


def _measuring_notes(costs: Sequence[Cost]) -> list[str]:
    """Says how times and memory of a section were taken."""
    first, notes = costs[0], []
    if INFERENCE not in first.setting:
        notes.append(
            "Training iterations with batch norm in evaluation mode, which a batch of 1 needs; the "
            "backward pass begins with the loss."
        )
    clocks = dict.fromkeys(CLOCKS[c.timing["clock"]] for c in costs if c.timing.get("clock"))
    if clocks:
        switches = [f"{key} {str(value).lower()}" for key, value in first.switches.items()]
        notes.append(f"Clock: {', '.join(clocks)}. {', '.join(switches)}.")
    if any(cost.timing.get("stopped_because") == "timeout" for cost in costs):
        known = f"to {100 * first.how['tolerance']:g} %" if "tolerance" in first.how else "well"
        notes.append(f"time limit: reached before each median was known {known}.")
    shares = [cost.timing.get("cores_taken") for cost in costs if cost.clock == "process"]
    taken = [100 * share for share in shares if share is not None]
    if taken:
        notes.append(
            f"Other programs had the cores for {_span(taken)} % of the time in which they were "
            "needed: times are process time, which leaves this waiting out and adds up threads."
        )
    return [*notes, *_memory_notes(costs)]


def _memory_notes(costs: Sequence[Cost]) -> list[str]:
    """Says by which source memory was read, at which batch and above which baseline."""
    notes = []
    for mode in (TRAINING, INFERENCE):
        found = [(cost.name, reading) for cost in costs if (reading := cost.memory.get(mode))]
        ways = dict.fromkeys((reading.source, reading.batch) for _, reading in found)
        for source, batch in ways:
            same = [(name, r) for name, r in found if (r.source, r.batch) == (source, batch)]
            baselines = [r.baseline / 1e6 for _, r in same if r.baseline is not None]
            text = f"{mode.capitalize()} memory, batch {batch}, a fresh process: {source}"
            if baselines:
                text += f", less {_span(baselines)} MB that were there before the network"
            names = ", ".join(name for name, _ in same)
            notes.append(f"{text} ({names})." if len(ways) > 1 else f"{text}.")
    return notes


def _span(values: Sequence[float]) -> str:
    low, high = (f"{bound:.0f}" for bound in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _published_rows(number: str, columns: Sequence[Column], there: set[str]) -> list[Row]:
    rows = []
    for name in rows_of(number):
        if name not in there:
            papers = [printed(number, name, column.published) for column in columns]
            cells = [
                Cell(published=paper.number if paper else None, text=NO_RUN) for paper in papers
            ]
            rows.append(Row(name, cells, ours=False))
    return rows
