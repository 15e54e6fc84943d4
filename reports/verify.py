"""`python -m reports verify RUNS`: is every record sound, and does what is told twice agree?

What a run tells twice: each JSON file and its digest, an evaluation's matrix and its evidence per
image, the images of the evidence and those of data.json, kept predictions and the pixels counted of
them, the iteration a finished run ended at and its losses, a configuration and its fingerprint
and the name of its folder, the values of a tuned run and the scores of its trials.
"""

import os
import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import records
from bench.config import fingerprint, identity, read_config
from bench.data.images import read_label
from bench.evidence import read_evidence
from bench.records import State, read_end
from bench.sound_files import require
from reports.read.costs import read_cost
from reports.read.deployed import deployed_records, require_unchanged
from reports.read.losses import whole_losses
from reports.read.shapes import CONFIG, DEPLOYED, SHAPES
from reports.read.tuning import trial_folders, trials_of, tuning_of

PROVES = (
    "Sound means: nothing was damaged, lost or exchanged since it was written. It does not prove "
    "who ran what: whoever writes a record can compute its digests. Only a run of your own does "
    "(python -m bench --from RUN)."
)


class Verification:
    """What was found in one folder of records.

    Attributes:
        problems: what is wrong, each with its file.
        files: how many were read.
        without_digest: those of them that carry none, as older records do.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.files = 0
        self.without_digest = 0

    def check(self, read: Callable[[], object]) -> None:
        """Counts a file, and notes why it cannot be read, if so."""
        self.files += 1
        try:
            read()
        except ValueError as error:
            self.problems.append(str(error))

    def json(self, path: Path, shape: dict[str, Any] | None = None) -> dict[str, Any]:
        """Reads a JSON record; an unsound one is empty."""
        content: dict[str, Any] = {}

        def read() -> None:
            found, digest = records.read_with_digest(path)
            self.without_digest += digest is None
            if shape is not None:
                require(path, found, shape)
            content.update(found)

        self.check(read)
        return content


def verify(root: Path) -> tuple[list[str], bool]:
    """Checks all runs and cost records of a folder.

    Returns:
        What to print, and whether all is sound.
    """
    lines, bad, files, without = [], 0, 0, 0
    folders = [*records.run_folders(root), *trial_folders(root)]
    for folder in folders:
        found = verify_run(folder)
        lines += [f"PROBLEM {problem}" for problem in found.problems]
        bad += bool(found.problems)
        files, without = files + found.files, without + found.without_digest
    costs = Verification()
    for path in sorted((root / "cost").glob("*.json")):
        if costs.json(path):
            costs.check(lambda path=path: read_cost(path))  # type: ignore[misc]
    lines += [f"PROBLEM {problem}" for problem in costs.problems]
    files, without = files + costs.files, without + costs.without_digest
    lines.append(
        f"{len(folders)} runs, {files} files read: "
        + (f"{bad} runs and {len(costs.problems)} cost records damaged" if lines else "all sound")
    )
    if without:
        lines.append(
            f"{without} files carry no digest (they are from before records had one): changed "
            "numbers would show only where something is told twice."
        )
    return [*lines, PROVES], not (bad or costs.problems)


def verify_run(folder: Path) -> Verification:
    """Checks everything in the folder of one run."""
    found = Verification()
    content = found.json(folder / "config.json", CONFIG)
    if content:
        found.check(lambda: _check_fingerprint(folder, content))
    for name, shape in SHAPES.items():
        if os.path.lexists(folder / name):
            found.json(folder / name, shape)
    found.check(lambda: _check_losses(folder))
    found.check(lambda: _check_choice(folder, content))
    classes = len(content["config"]["dataset"]["classes"]) if content else None
    for path in sorted((folder / "evaluations").glob("*.json")):
        if found.json(path):
            found.check(lambda path=path: _check_evaluation(path, classes))  # type: ignore[misc]
    for path in deployed_records(folder):
        record = found.json(path, DEPLOYED)
        found.check(lambda path=path, record=record: require_unchanged(path, record))  # type: ignore[misc]
    for path in sorted(folder.glob("*.pt")):
        found.check(lambda path=path: _check_archive(path))  # type: ignore[misc]
    return found


def _check_losses(folder: Path) -> None:
    end = read_end(folder)
    if os.path.lexists(folder / "losses.jsonl") or (end and end.state == State.finished):
        whole_losses(folder, end)


def _check_choice(folder: Path, content: dict[str, Any]) -> None:
    """Holds the values of a tuned run to those that its trials choose, where they lie beside it."""
    tuning = tuning_of(content["config"]) if content else None
    if tuning is not None and tuning.tried and trial_folders(folder.parent):
        trials_of(folder)


def _check_fingerprint(folder: Path, content: dict[str, Any]) -> None:
    computed = fingerprint(read_config(folder))
    if computed != content["fingerprint"]:
        raise ValueError(
            f"{folder / 'config.json'}: its fingerprint is {content['fingerprint']}, and that of "
            f"its configuration {computed}; it was edited, or is of another version"
        )
    own = identity(read_config(folder))
    if content.get("identity", own) != own:
        raise ValueError(f"{folder / 'config.json'}: its identity is not that of its configuration")
    named = re.search(r"-seed\d+-([0-9a-f]{12})$", folder.name)
    if named and named[1] != own:
        raise ValueError(
            f"{folder / 'config.json'}: not of the run that its folder's name says "
            f"({named[1]}); it was edited, or is another run's"
        )


def _check_evaluation(path: Path, classes: int | None) -> None:
    evaluation = records.read_evaluation(path)
    if classes is not None and len(evaluation["confusion"]) != classes + 1:
        raise ValueError(f"{path}: its matrix does not fit {classes} classes")
    evidence = read_evidence(path.parents[1], evaluation)
    told = _told_of(path.parents[1], evaluation["split"]).get("images", len(evidence["names"]))
    if told != len(evidence["names"]):
        raise ValueError(
            f"{path}: is of {len(evidence['names'])} images, and data.json tells of {told}"
        )
    rows = {name: row for row, name in enumerate(evidence["names"].tolist())}
    for picture in _pictures(path.parents[1] / "predictions" / path.stem):
        if picture.stem not in rows:
            raise ValueError(f"{picture}: no image of this evaluation")
        _check_picture(picture, evidence["confusion"][rows[picture.stem]])


def _told_of(folder: Path, split: str) -> dict[str, Any]:
    """Returns what data.json says of a split, nothing where it is unsound, which is said apart."""
    try:
        entry = records.read_json(folder / "data.json")["splits"][split]
    except (ValueError, KeyError, TypeError, OSError):
        return {}
    return entry if isinstance(entry, dict) else {}


def _pictures(folder: Path) -> Sequence[Path]:
    return sorted(folder.glob("*.png"))


def _check_picture(path: Path, confusion: NDArray[Any]) -> None:
    """Holds a kept prediction to the pixels that were counted of it."""
    counts = np.bincount(read_label(path).ravel(), minlength=256)
    counted = np.zeros(256, np.int64)
    counted[: len(confusion)] = confusion.sum(axis=0)
    if (counts != counted).any():
        raise ValueError(f"{path}: not the prediction that was evaluated; its classes differ")


def _check_archive(path: Path) -> None:
    """Compares the parts of a file of weights with their CRCs."""
    if not path.is_file():  # a FIFO would wait for a writer
        raise ValueError(f"{path}: not a regular file; remove it")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path}: damaged ({error})") from error
    if damaged is not None:
        raise ValueError(f"{path}: its part {damaged} is damaged")
