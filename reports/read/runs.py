"""Reading runs: each folder becomes one `Run`; what cannot be read is passed over with a warning.

Only records are read: no torch, no data set, no network.
"""

import contextlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench import records
from bench.data.schema import NOT_IN_FINGERPRINT, DatasetConfig
from bench.protocol import ProtocolConfig
from bench.selection import best_of, scored
from bench.sound_files import require
from bench.typed import leaves, neutral_values
from reports.read.shapes import CONFIG, SHAPES
from reports.read.tuning import tuning_of, with_tuning

# Keys in which two runs may differ and share a fingerprint all the same.
PLACES = {f"dataset.{key}" for key in NOT_IN_FINGERPRINT}
T = TypeVar("T")
STALE_SECONDS = 600.0  # without a sign of life for so long, a run that has not ended is not running
SET_ASIDE = re.compile(r"\.old\d+$")
Evaluation = dict[str, Any]  # split, iteration, images, confusion


@dataclass(frozen=True)
class Run:
    """One run, as far as it has come.

    Attributes:
        folder: where its records lie.
        config: the resolved configuration.
        fingerprint: of `dataset` and `protocol`.
        state: how it ended, or pending, running or silent.
        detail: the reason of an end, or how far a living run is.
        network: parameters, initialisation; empty before the run has built it.
        environment: machine, versions, commit; empty before the run has started.
        data: images and digest of each split; likewise.
        origin: the laboratory it was merged from; empty for one's own.
        evaluations: the complete ones, by split and iteration.
    """

    folder: Path
    config: dict[str, Any]
    fingerprint: str
    state: str
    detail: str
    network: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, Any] = field(default_factory=dict)
    evaluations: Sequence[Evaluation] = ()

    @property
    def name(self) -> str:
        """The network's display name, which conf/arch gives."""
        return str(self.config["arch"]["name"])

    @property
    def seed(self) -> int:
        """The seed."""
        return int(self.config["seed"])

    @cached_property
    def best_iteration(self) -> int | None:
        """The iteration that validation selected, or None where nothing is selected."""
        validation = self.config["protocol"]["validation"]
        if validation["every"] is None:
            return None
        validations = (e for e in self.evaluations if e["split"] == validation["split"])
        return best_of(scored(validations, validation["criterion"]))

    def evaluation(self, split: str, iteration: int | None) -> Evaluation | None:
        """Returns the evaluation of a split at an iteration; None: the last one's, if it is there.

        The last one is the one that validation selected, where the protocol selects. A network that
        trained no further than 60 of 100 iterations has no last evaluation yet.
        """
        if iteration is None:
            iteration = self.best_iteration or self.config["max_iterations"]
        for found in self.evaluations:
            if (found["split"], found["iteration"]) == (split, iteration):
                return found
        return None


def matrix(evaluation: Evaluation) -> NDArray[np.int64]:
    """Returns the confusion matrix (K+1, K+1) of an evaluation's whole set."""
    return np.array(evaluation["confusion"], np.int64)


def warn(text: str) -> None:
    """Tells of a record that is passed over."""
    print(f"passed over {text}", file=sys.stderr)


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Reads the records of runs; one that cannot be read is passed over with a warning.

    Results that `rerun=true` set aside are left out, unless one is asked for by itself.
    """
    found = []
    for folder in folders:
        if len(folders) > 1 and SET_ASIDE.search(folder.name):
            continue
        try:
            found += _with_postprocessings(_read_run(folder))
        except ValueError as error:
            warn(str(error))
    return found


def _read_run(folder: Path) -> Run:
    path = folder / "config.json"
    content = records.read_json(path)
    require(path, content, CONFIG)
    config = content["config"]
    tuning_of(config)  # or is passed over
    state, detail = _state(folder)
    return Run(
        folder=folder,
        config=config,
        fingerprint=content["fingerprint"],
        state=state,
        detail=detail,
        network=read_if_sound(folder / "network.json"),
        environment=read_if_sound(folder / "environment.json"),
        data=read_if_sound(folder / "data.json"),
        origin=read_if_sound(folder / "origin.json"),
        evaluations=_evaluations(folder, len(config["dataset"]["classes"])),
    )


def _with_postprocessings(run: Run) -> list[Run]:
    """Splits off a run's post-processings as runs of their own: rows named NETWORK-denseCRF.

    The validations stay with all of them, to tell the selected iteration. What was exported is left
    to reports/read/deployed.py.
    """
    validation = run.config["protocol"]["validation"].get("split")
    own = [e for e in run.evaluations if not e.get("variant")]
    selecting = [e for e in own if e["split"] == validation]
    runs = [replace(run, evaluations=own)]
    refined = [e for e in run.evaluations if e.get("variant") and not e.get("deployed")]
    for variant in sorted({e["variant"] for e in refined}):
        arch = run.config["arch"] | {"name": f"{run.name}-{variant}"}
        theirs = [e for e in refined if e["variant"] == variant]
        runs.append(
            replace(run, config=run.config | {"arch": arch}, evaluations=selecting + theirs)
        )
    return runs


def reading_from(root: Path, run: Run) -> Run:
    """Returns the run as if it had read its data set from a folder of this machine."""
    dataset = run.config["dataset"] | {"root": str(root)}
    return replace(run, config=run.config | {"dataset": dataset})


def without_postprocessings(runs: Sequence[Run]) -> list[Run]:
    """Returns every run once, under the network's own name."""
    first: dict[Path, Run] = {}
    for run in runs:
        first.setdefault(run.folder, run)
    return list(first.values())


def read_if_sound(path: Path) -> dict[str, Any]:
    """Reads an additional record; one that is missing, damaged or malformed is empty."""
    if not os.path.lexists(path):
        return {}
    try:
        content = records.read_json(path)
        require(path, content, SHAPES[path.name])
    except ValueError as error:
        warn(str(error))
        return {}
    return content


def _evaluations(folder: Path, classes: int) -> list[Evaluation]:
    found = []
    for path in sorted((folder / "evaluations").glob("*.json")):
        try:
            evaluation = records.read_evaluation(path)
            if len(evaluation["confusion"]) != classes + 1:
                raise ValueError(f"{path}: its matrix does not fit {classes} classes; remove it")
        except ValueError as error:
            warn(str(error))
        else:
            found.append(evaluation)
    return found


def _state(folder: Path) -> tuple[str, str]:
    end = sound(records.read_end, folder)
    if end is not None:
        return end.state, end.reason or ""
    progress = sound(records.read_progress, folder)
    if progress is None:
        return "pending", ""
    silent = time.time() - progress.time
    detail = ""
    if progress.phase is not None:
        detail = f"{progress.phase} {progress.done}/{progress.total}"
    if silent > STALE_SECONDS:
        detail = f"no sign of life for {silent / 60:.0f} min, then {detail or 'starting'}"
        with contextlib.suppress(OSError):
            if time.time() - (folder / "progress.json").stat().st_mtime < STALE_SECONDS:
                detail += "; but the file is new: the run's clock is behind, or it was copied"
        return "silent", detail
    return "running", detail


def sound(read: Callable[[Path], T | None], folder: Path) -> T | None:
    """Reads a record; a damaged one is told and passed over."""
    try:
        return read(folder)
    except ValueError as error:
        warn(str(error))
        return None


def differences(one: Run, other: Run) -> list[str]:
    """Says in which keys of `dataset` and `protocol` two runs differ, and whether in the data."""
    mine, yours = conditions(one), conditions(other)
    found = [
        f"{key} {mine.get(key)} / {yours.get(key)}"
        for key in sorted(mine.keys() | yours.keys())
        if mine.get(key) != yours.get(key) and key not in PLACES
    ]
    digests = [run.data.get("splits", {}) for run in (one, other)]
    found += [
        f"the files of split {split}"
        for split in sorted(digests[0].keys() & digests[1].keys())
        if digests[0][split]["digest"] != digests[1][split]["digest"] and not found
    ]
    return found


def weighting(run: Run) -> str:
    """Returns the class weighting that a run was trained with, as text."""
    return str(run.config["protocol"]["class_weights"])


@cache
def _of_older_records() -> dict[str, Any]:
    parts = {"dataset": DatasetConfig, "protocol": ProtocolConfig}
    return {k: v for name, kind in parts.items() for k, v in neutral_values(kind, name).items()}


def conditions(run: Run) -> dict[str, Any]:
    """Returns the leaves of `dataset` and `protocol` by their dotted keys, and `tuning` in words.

    And the last iteration, where the learning rates of a run depend on it.
    A key that came after the record has the value that says the same as its absence.
    """
    config = run.config
    depends_on_end = config["protocol"].get("schedule", "constant") != "constant"
    found = {
        **_of_older_records(),
        **leaves(config["dataset"], "dataset"),
        **leaves(config["protocol"], "protocol"),
        **({"max_iterations": config["max_iterations"]} if depends_on_end else {}),
    }
    return with_tuning(config, found)


def code_of(runs: Iterable[Run], part: str) -> str:
    """Returns the digests of the code that made some runs, of their `network` or of `bench`."""
    found = {str(run.environment.get("code", {}).get(part, "not recorded")) for run in runs}
    return ", ".join(sorted(found))
