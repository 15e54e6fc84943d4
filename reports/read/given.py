"""Times that a user gives for exported files, of devices that we cannot reach.

A CSV has the columns model_sha256 (of the exported file), device, runtime and latency_ms, and may
have precision, lower_ms, upper_ms (quartiles) and memory_mb.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reports.read.costs import Memory
from reports.read.csv_file import number_of, read_rows
from reports.read.deployed import (
    FOLDER,
    PROCESS,
    Deployed,
    Quartiles,
    deployed_of,
    require_unchanged,
)
from reports.read.runs import Run, without_postprocessings

NEEDED = ("model_sha256", "device", "runtime", "latency_ms")
NUMBERS = ("latency_ms", "lower_ms", "upper_ms", "memory_mb")


@dataclass(frozen=True)
class Given:
    """A line of a user's CSV: what a file took on a device that we cannot reach."""

    source: str  # the CSV's name and line
    model_sha256: str
    device: str
    runtime: str
    precision: str
    latency: Quartiles
    megabytes: float | None


def read_given(path: Path) -> list[Given]:
    """Reads times that a user has measured elsewhere.

    Raises:
        ValueError: the file is missing, no CSV, lacks a column, or a number is none.
    """
    return [
        _given(f"{path.name}, line {number}", line)
        for number, line in read_rows(path, NEEDED, "--given")
    ]


def _given(source: str, line: dict[str, str]) -> Given:
    for column in ("model_sha256", "device", "runtime"):
        if not line[column].strip():
            raise ValueError(f"{source}: {column} is empty; fill it in or remove the line")
    numbers = {column: _number(source, column, line.get(column, "")) for column in NUMBERS}
    latency = numbers["latency_ms"]
    if latency is None:
        raise ValueError(f"{source}: latency_ms is empty; fill it in or remove the line")
    ends = (numbers["lower_ms"] or latency, numbers["upper_ms"] or latency)
    if not ends[0] <= latency <= ends[1]:
        raise ValueError(
            f"{source}: latency_ms {latency:g} is not between its quartiles lower_ms "
            f"{ends[0]:g} and upper_ms {ends[1]:g}"
        )
    return Given(
        source=source,
        model_sha256=line["model_sha256"].strip().lower(),
        device=line["device"].strip(),
        runtime=line["runtime"].strip(),
        precision=line.get("precision", "").strip(),
        latency=(latency, numbers["lower_ms"], numbers["upper_ms"]),
        megabytes=numbers["memory_mb"],
    )


def _number(source: str, column: str, text: str) -> float | None:
    if not text.strip():
        return None
    number = number_of(text)
    if number is None or number <= 0:
        raise ValueError(f"{source}: {column} is {text!r}; it must be a number above 0")
    return number


def with_given(found: dict[Path, list[Deployed]], given: Sequence[Given]) -> None:
    """Adds rows of given times to those of the files that they are of.

    Args:
        found: what was exported, by run; it is added to.
        given: of any of these runs.

    Raises:
        ValueError: a digest is of no exported file, or the file has changed since.
    """
    for one in given:
        matches = [
            (run, row)
            for run, rows in found.items()
            for row in rows
            if not row.given and row.record.get("file_sha256") == one.model_sha256
        ]
        if not matches:
            raise ValueError(
                f"{one.source}: model_sha256 {one.model_sha256[:12]}... is of no file exported "
                "from these runs; after a new export the new file has to be timed (they are "
                f"{_named(found)})"
            )
        run, row = matches[0]
        require_unchanged(row.path, row.record)
        found[run].append(_as_given(row, one))


def _named(found: dict[Path, list[Deployed]]) -> str:
    files = {
        f"{run.name}/{FOLDER}/{row.record['file']} {row.record['file_sha256'][:12]}"
        for run, rows in found.items()
        for row in rows
        if "file" in row.record
    }
    return ", ".join(sorted(files)) or "none"


def _as_given(row: Deployed, one: Given) -> Deployed:
    memory = None if one.megabytes is None else Memory(1e6 * one.megabytes, one.source, None, 1)
    return replace(
        row,
        runtime=one.runtime,
        precision=one.precision or row.precision,
        setting=(one.device, "times given"),
        latency=one.latency,
        memory=memory,
        given=f"{one.source}; scored as {row.runtime} {row.precision}",
    )


def by_run(runs: Sequence[Run], given: Sequence[Given]) -> dict[Path, list[Deployed]]:
    """Reads what was exported from runs, with given times among it.

    All of a setting are by process time where one of them is, so that they can be compared.

    Raises:
        ValueError: a given time is of none of it.
    """
    rows = [(run.folder, row) for run in without_postprocessings(runs) for row in deployed_of(run)]
    slow = {row.setting for _, row in rows if row.clock == PROCESS}
    found: dict[Path, list[Deployed]] = {}
    for folder, row in rows:
        clock = PROCESS if row.setting in slow else row.clock
        found.setdefault(folder, []).append(row.by_clock(clock) if clock else row)
    with_given(found, given)
    return found
