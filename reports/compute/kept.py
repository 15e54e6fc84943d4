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
from bench.metrics.scores import HEADLINE, Conventions
from bench.sound_files import digest_of, require
from reports.read.runs import Evaluation, Run, warn

FILE = ".estimates.json"
FORMAT = 5  # a change in what the numbers mean needs a new one
FREEDOM = "freedom"  # beside the scores

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
        self,
        sides: Sequence[Sequence[Evaluated]],
        compute: Callable[[], Numbers],
        names: Sequence[str] = (),
    ) -> Numbers:
        """Returns the numbers of these evaluations, computed where they are not known.

        Args:
            sides: one or two.
            compute: returns an error for each score and, of one side, the figure of each seed.
            names: of the scores, if not those of `score_names`.
        """
        stamps = [[self._stamp(*one) for one in side] for side in sides]
        text = json.dumps([stamps, self._conventions, *names])
        key = hashlib.sha256(text.encode()).hexdigest()[:24]
        if not _fits(self._known.get(key, {}), sides, names or score_names(sides[0][0][0])):
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
        content = {"format": FORMAT, "estimates": {**_read(self._path), **self._known}}
        try:
            records.write_json(self._path, content, durable=False)
        except ValueError as error:  # a reader of somebody else's runs may not write there
            print(f"not kept for the next report: {error}", file=sys.stderr)

    def _stamp(self, run: Run, evaluation: Evaluation) -> list[Any]:
        """Identifies the evidence of an evaluation without opening it.

        Older records do not name the digest of their evidence: there its age and size stand for it.
        """
        name = records.evaluation_name(
            evaluation["split"], evaluation["iteration"], evaluation.get("variant", "")
        )
        key = str(run.folder), name
        if key not in self._stamps:
            path = run.folder / "evaluations" / f"{name}.npz"
            state = path.stat() if path.exists() else None
            stamp: list[Any] = [run.folder.name, name, digest_of(evaluation)]
            stamp += [state.st_mtime_ns, state.st_size] if state else [0, 0]
            dataset = run.config["dataset"]
            self._stamps[key] = [*stamp, dataset["classes"], dataset.get("sequence")]
        return self._stamps[key]


def score_names(run: Run) -> tuple[str, ...]:
    """Returns the names of a run's scores, in the order in which they are computed."""
    return (*(f"accuracy/{name}" for name in run.config["dataset"]["classes"]), *HEADLINE)


def _fits(
    found: dict[str, Any], sides: Sequence[Sequence[Evaluated]], names: Sequence[str]
) -> bool:
    """Whether kept numbers are those of these sides: an error, and of one side each seed's."""
    count = 1 + len(sides[0]) if len(sides) == 1 else 1
    wanted = {**dict.fromkeys(names, count), FREEDOM: 1}
    return [(name, len(numbers)) for name, numbers in found.items()] == [*wanted.items()]


def _read(path: Path | None) -> dict[str, Any]:
    """Reads the file; one of another format, or a damaged one, is computed anew."""
    if path is None or not path.exists():
        return {}
    try:
        content, digest = records.read_with_digest(path)
        if digest is None or content.get("format") != FORMAT:
            return {}
        require(path, content, {"estimates": {"*": {"*": [(None, float)]}}})
    except ValueError as error:
        warn(str(error))
        return {}
    estimates: dict[str, Any] = content["estimates"]
    return estimates
