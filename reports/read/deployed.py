"""Reading what was exported from runs, RUN/deployed/*.json."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench import records
from bench.sound_files import require
from reports.read.costs import Memory, reading
from reports.read.runs import Evaluation, Run, warn
from reports.read.shapes import DEPLOYED

FOLDER = "deployed"
ORIGIN = "origin.json"  # of a merged run; what was exported stays with its laboratory
PYTORCH, PROCESS = "PyTorch", "process"
PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "int8")  # in the order of rows
Quartiles = tuple[float, float | None, float | None]  # median, lower, upper


@dataclass(frozen=True)
class Deployed:
    """A run's network in one runtime and precision, or the network itself.

    Attributes:
        path: the record.
        runtime: onnxruntime, openvino, PyTorch, or what a user has given.
        precision: fp32, fp16, int8; of the network itself that of its protocol.
        bytes: of the file.
        evaluation: its scores; of the network itself those at the same iteration.
        itself: the network's own evaluation; None where it has none of that split.
        setting: device, threads and the like; rows of equal ones are comparable.
        latency: milliseconds of one image, or None.
        memory: peak, or None.
        record: everything else.
        given: who has given its times; empty where we measured.
    """

    path: Path
    runtime: str
    precision: str
    bytes: float
    evaluation: Evaluation | None
    itself: Evaluation | None
    setting: tuple[str, ...]
    latency: Quartiles | None = None
    memory: Memory | None = None
    record: dict[str, Any] = field(default_factory=dict)
    given: str = ""

    @property
    def title(self) -> str:
        """Runtime and precision in words."""
        open_size = ", any size" if self.record.get("any_size") else ""
        return f"{self.runtime} {self.precision}{open_size}"

    @property
    def clock(self) -> str | None:
        """Which clock its latency is by, wall or process; None without one."""
        clock: str | None = (self.record.get("time") or {}).get("clock")
        return None if self.given else clock

    def by_clock(self, clock: str) -> "Deployed":
        """Returns the same row with its latency by one of the clocks that it was taken by."""
        clocks = (self.record.get("time") or {}).get("clocks") or {}
        latency = _quartiles(clocks.get(clock, {}).get("forward_ms")) or self.latency
        return replace(self, latency=latency, setting=(*self.setting, f"{clock} time"))


def deployed_of(run: Run) -> list[Deployed]:
    """Reads what was exported from a run, the network itself first; nothing where nothing was.

    A record that is damaged is passed over with a warning.
    """
    found = []
    for path in deployed_records(run.folder):
        try:
            found.append(_read(path, run))
        except ValueError as error:
            warn(str(error))
    return sorted(found, key=_rank)


def require_unchanged(path: Path, record: dict[str, Any]) -> None:
    """Holds an exported file to its record; the network itself, and a merged run, have none.

    Raises:
        ValueError: it is missing, or another one.
    """
    if "file" not in record:
        return
    file = path.parent / record["file"]
    if not file.is_file():
        if (path.parents[1] / ORIGIN).exists():
            return
        raise ValueError(f"{file}: missing; restore it, or export it again")
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if digest != record["file_sha256"]:
        raise ValueError(
            f"{file}: not the file that was exported (its SHA-256 differs); "
            "python -m bench.export RUN --rerun exports it again, to be timed anew"
        )


def _rank(one: Deployed) -> tuple[bool, str, int, str]:
    known = one.precision in PRECISIONS
    place = PRECISIONS.index(one.precision) if known else len(PRECISIONS)
    return one.runtime != PYTORCH, one.runtime, place, one.title


def deployed_records(folder: Path) -> list[Path]:
    """Lists the records of what was exported from a run; progress.json beside them is none."""
    found = sorted((folder / FOLDER).glob("*.json"))
    return [path for path in found if path.name != "progress.json"]


def _read(path: Path, run: Run) -> Deployed:
    content = records.read_json(path)
    require(path, content, DEPLOYED)
    split, iteration = content["split"], content["iteration"]
    itself = run.evaluation(split, iteration)
    variant = content["variant"]
    evaluation = itself
    if variant:
        name = records.evaluation_name(split, iteration, variant)
        evaluation = records.read_evaluation(run.folder / "evaluations" / f"{name}.json")
    return Deployed(
        path=path,
        runtime=content["runtime"],
        precision=content["precision"],
        bytes=float(content["bytes"]),
        evaluation=evaluation,
        itself=itself,
        setting=_setting(content),
        latency=_quartiles((content.get("time") or {}).get("forward_ms")),
        memory=reading(content.get("memory") or {}),
        record=content,
    )


def _setting(content: dict[str, Any]) -> tuple[str, ...]:
    """Says where it was timed; what was not timed has scores and sizes only."""
    environment, size = content.get("environment") or {}, content["image_size"]
    if not environment:
        return ("not timed",)
    device = environment.get("device") or "unknown device"
    place = [device, "CPU", f"threads {environment.get('threads', 'n/a')}"]
    return (*place, f"{size[0]}x{size[1]}", "batch 1")


def _quartiles(samples: Sequence[float] | None) -> Quartiles | None:
    if not samples:
        return None
    lower, middle, upper = np.quantile(samples, [0.25, 0.5, 0.75]).tolist()
    return (middle, lower, upper) if len(samples) > 1 else (middle, None, None)
