"""What reports have computed from evidence, kept in a file so that the next one opens none."""

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from math import isnan, nan
from pathlib import Path
from typing import Any

from bench import records
from bench.metrics.scores import Conventions
from reports.read.runs import Evaluation, Run, warn

FILE = ".estimates.json"
FORMAT = 4  # a change in what the numbers mean needs a new one

Evaluated = tuple[Run, Evaluation]
Numbers = dict[str, list[float]]


class Kept:
    """Numbers by what they were computed from: evidence, its state on the disk, conventions."""

    def __init__(self, folder: Path | None, conventions: Conventions) -> None:
        self._path = folder / FILE if folder else None
        self._conventions = asdict(conventions)
        self._known = _read(self._path)
        self._stamps: dict[tuple[str, str], list[Any]] = {}
        self._changed = False

    def remember(
        self, sides: Sequence[Sequence[Evaluated]], compute: Callable[[], Numbers]
    ) -> Numbers:
        """Returns the numbers of these evaluations, computed where they are not known."""
        stamps = [[self._stamp(*one) for one in side] for side in sides]
        text = json.dumps([stamps, self._conventions])
        key = hashlib.sha256(text.encode()).hexdigest()[:24]
        if key not in self._known:
            found = compute()
            self._known[key] = {
                name: [None if isnan(number) else number for number in numbers]
                for name, numbers in found.items()
            }
            self._changed = True
        return {
            name: [nan if number is None else number for number in numbers]
            for name, numbers in self._known[key].items()
        }

    def save(self) -> None:
        """Writes the file, together with what another report has found meanwhile."""
        if self._path is None or not self._changed:
            return
        content = {"version": FORMAT, "estimates": {**_read(self._path), **self._known}}
        try:
            records.write_bytes(self._path, json.dumps(content).encode())
        except (OSError, ValueError) as error:  # a reader of somebody else's runs may not write
            print(f"{self._path}: not kept for the next report ({error})", file=sys.stderr)

    def _stamp(self, run: Run, evaluation: Evaluation) -> list[Any]:
        """Identifies the evidence of an evaluation without opening it."""
        name = records.evaluation_name(
            evaluation["split"], evaluation["iteration"], evaluation.get("variant", "")
        )
        key = str(run.folder), name
        if key not in self._stamps:
            stamp: list[Any] = [run.folder.name, name]
            for suffix in (".npz", ".json"):
                path = run.folder / "evaluations" / f"{name}{suffix}"
                state = path.stat() if path.exists() else None
                stamp += [state.st_mtime_ns, state.st_size] if state else [0, 0]
            self._stamps[key] = stamp
        return self._stamps[key]


def _read(path: Path | None) -> dict[str, Any]:
    """Reads the file; one of another format, or a damaged one, is computed anew."""
    if path is None or not path.exists():
        return {}
    try:
        content = records.read_json(path)
    except ValueError as error:
        warn(str(error))
        return {}
    estimates = content.get("estimates") if content.get("version") == FORMAT else None
    sound = isinstance(estimates, dict) and all(isinstance(e, dict) for e in estimates.values())
    return estimates if isinstance(estimates, dict) and sound else {}
