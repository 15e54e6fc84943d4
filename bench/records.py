"""What a run leaves behind: one folder of JSON, JSON lines, npz and PNG, readable without torch.

    RUN/config.json            the resolved configuration and its fingerprint
    RUN/environment.json       machine, versions, commit, hash of the sources that ran
    RUN/network.json           parameters, size, what the weights started from
    RUN/data.json              names, counts and digests of the splits, class weights
    RUN/losses.jsonl           the loss of every iteration
    RUN/evaluations/S-I.json   one evaluation of split S at iteration I: the set's confusion matrix
    RUN/evaluations/S-I.npz    its evidence, per image
    RUN/predictions/S-I/       some label maps of it, for the last and the best evaluation
    RUN/progress.json          where the run is now
    RUN/end.json               how it ended
    RUN/checkpoint.pt, weights-last.pt, weights-best.pt, log.txt; deployed/ of bench.export

Everything is written to a temporary name, flushed and renamed: a file is there whole or not at all.
Every JSON file carries its own SHA-256 (key `sha256`, over its canonical form), an evaluation that
of its npz too, and a line of losses its CRC: damage is an error that names the file. They prove
nothing about who ran what, for whoever writes a record can compute them.
"""

import contextlib
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench import sound_files
from bench.metrics.regions import summed
from bench.temporary_files import renamed
from bench.typed import plain, typed

T = TypeVar("T")
VERSION = 2  # since 2, every JSON file carries its digest


class State(StrEnum):
    """How a run can end; a run that is pending or running has no end."""

    finished = "finished"
    diverged = "diverged"
    out_of_memory = "out_of_memory"
    interrupted = "interrupted"
    killed = "killed"
    failed = "failed"


@dataclass(frozen=True)
class End:
    """How a run ended, as RUN/end.json holds it."""

    state: State
    reason: str | None = None
    iteration: int | None = None  # weight updates made
    max_iterations: int | None = None  # weight updates asked for
    postprocessed: list[str] = field(default_factory=list)  # which the record holds
    seconds: float | None = None  # of the process that finished the run
    estimated_seconds: float | None = None  # of training, which a dry run says instead
    traceback: list[str] = field(default_factory=list)  # its last lines, of an unforeseen error


@dataclass(frozen=True)
class Progress:
    """Where a run is, as RUN/progress.json holds it."""

    time: float  # of this sign of life, in seconds since the epoch
    notices: list[str] = field(default_factory=list)  # everything the run has told so far
    phase: str | None = None  # None: it has only begun
    done: int = 0
    total: int = 0
    loss: float | None = None  # while it trains: of the last iteration
    seconds: float | None = None  # likewise: an iteration takes


DIGEST = "sha256"  # the key under which a JSON file carries its own digest
EVALUATION = {
    "split": str,
    "iteration": int,
    "confusion": [[int]],
    "images?": int,
    "variant?": str,
    "evidence_sha256?": str,
}


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns the refusal of a full or read-only disk into a sentence.

    Raises:
        ValueError: something under the path could not be written.
    """
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"{error.filename or path} cannot be written ({error.strerror}); "
            "when it can, the same command goes on"
        ) from error


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Opens a file that gets its name when it is whole, see `renamed`.

    Raises:
        ValueError: the disk is full or cannot be written.
    """
    with writing(path), renamed(path, durable=durable) as file:
        yield file


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Writes a file whole or not at all, see `replacing`."""
    with replacing(path, durable=durable) as file:
        file.write(content)


def write_json(path: Path, content: dict[str, Any], *, durable: bool = True) -> None:
    """Writes a JSON object with its version and its digest, whole or not at all."""
    plain = json.loads(json.dumps({"version": VERSION, **content}, allow_nan=False))
    text = json.dumps(plain | {DIGEST: sound_files.digest_of(plain)}, indent=1) + "\n"
    write_bytes(path, text.encode(), durable=durable)


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object, without its version and its digest.

    Raises:
        ValueError: the file is missing, is not a JSON object, is not what was written, or is of a
            newer version.
    """
    return read_with_digest(path)[0]


def read_with_digest(path: Path) -> tuple[dict[str, Any], str | None]:
    """Reads a JSON object and its digest, which records of version 1 need not have.

    Raises:
        ValueError: as for `read_json`.
    """
    try:
        text = sound_files.read_bytes(path, sound_files.JSON_BYTES)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; is {path.parent} a run's folder?") from None
    content = sound_files.parse_object(text, str(path))
    digest = content.pop(DIGEST, None)
    version = content.get("version", 1)
    if type(version) is int and version > VERSION:
        raise ValueError(f"{path}: its version {version} is newer than this program; update it")
    if digest is None and version != 1:
        raise ValueError(
            f"{path}: changed since it was written (its digest is missing); restore it"
        )
    if digest is not None and digest != sound_files.digest_of(content):
        raise ValueError(f"{path}: changed since it was written (its SHA-256 differs); restore it")
    content.pop("version", None)
    return content, digest


def evaluation_name(split: str, iteration: int, variant: str = "") -> str:
    """Returns the name that an evaluation's files share; it sorts by iteration.

    `variant` names a post-processing: its rows stand beside those of the network itself.

    Raises:
        ValueError: the split's name would lead elsewhere.
    """
    if Path(split).name != split or not split.isprintable():
        raise ValueError(f"split {split!r} cannot name the files of a run; give it a plain name")
    return f"{split}{'.' if variant else ''}{variant}-{iteration:07d}"


def names_digest(names: list[str]) -> str:
    """Returns a digest of the names of a split's images, in their order."""
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:16]


def write_evaluation(
    folder: Path, summary: dict[str, Any], evidence: dict[str, NDArray[Any]]
) -> None:
    """Writes an evaluation; the JSON file, written last, says that it is complete.

    Args:
        folder: the run.
        summary: with `split` and `iteration`.
        evidence: arrays over the images, among them `names` and `confusion` (N, K+1, K+1).
    """
    name = evaluation_name(summary["split"], summary["iteration"], summary.get("variant", ""))
    with writing(folder):
        (folder / "evaluations").mkdir(exist_ok=True)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **evidence)
    write_bytes(folder / "evaluations" / f"{name}.npz", buffer.getvalue())
    content = {
        **summary,
        **_identity(folder),
        "confusion": summed(evidence["confusion"]).tolist(),
        "evidence_sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
    }
    write_json(folder / "evaluations" / f"{name}.json", content)


def read_evaluations(
    folder: Path, split: str | None = None, variant: str = ""
) -> list[dict[str, Any]]:
    """Returns the complete evaluations of a run (of one split), by split and iteration.

    Without `variant`, those of the network itself; with one, those of that post-processing.

    Raises:
        ValueError: one of them is damaged.
    """
    paths = sorted((folder / "evaluations").glob("*.json"))
    evaluations = [read_evaluation(path) for path in paths]
    return [
        evaluation
        for evaluation in evaluations
        if evaluation.get("variant", "") == variant and split in (None, evaluation["split"])
    ]


def read_evaluation(path: Path) -> dict[str, Any]:
    """Reads the summary of an evaluation.

    Raises:
        ValueError: it is damaged, or is of another split or iteration than its name says.
    """
    content = read_json(path)
    sound_files.require(path, content, EVALUATION)
    if not (matrix := content["confusion"]) or any(len(row) != len(matrix) for row in matrix):
        raise ValueError(f"{path}: its confusion matrix is not square; remove the file")
    try:
        name = evaluation_name(content["split"], content["iteration"], content.get("variant", ""))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if name != path.stem:
        raise ValueError(f"{path}: is the evaluation {name} by its content; restore its own")
    if "identity" in content and content["identity"] != _identity(path.parents[1]).get("identity"):
        raise ValueError(f"{path}: is of another run than config.json beside it; restore its own")
    return content


def _identity(folder: Path) -> dict[str, str]:
    """Returns the identity that a run's config.json tells; nothing of a run of before it did."""
    path = folder / "config.json"
    content = read_json(path) if path.is_file() else {}
    return {key: content[key] for key in ("identity",) if key in content}


def run_folders(root: Path) -> list[Path]:
    """Returns the folders of all runs below a folder, or the folder itself if it is a run.

    Raises:
        ValueError: the folder does not exist.
    """
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; give the folder that holds the runs")
    if (root / "config.json").is_file():
        return [root]
    return sorted(path.parent for path in root.glob("*/config.json"))


def write_end(folder: Path, end: End) -> None:
    """Writes how a run ended."""
    write_json(folder / "end.json", plain(end))


def read_end(folder: Path) -> End | None:
    """Reads how a run ended; None while it has not.

    Raises:
        ValueError: the file is damaged.
    """
    return _read(End, folder / "end.json")


def read_progress(folder: Path) -> Progress | None:
    """Reads where a run is; None before its first sign of life.

    Raises:
        ValueError: the file is damaged.
    """
    return _read(Progress, folder / "progress.json")


def _read(kind: type[T], path: Path) -> T | None:
    if not path.exists():
        return None
    content = read_json(path)
    try:
        return typed(kind, content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; remove the file") from error
