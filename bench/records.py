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
    RUN/checkpoint.pt, weights-last.pt, weights-best.pt, log.txt

Everything is written to a temporary name, flushed and renamed: a file is there whole or not at all.
"""

import contextlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

VERSION = 1

# How a run can end; `running` and `pending` are told by the absence of an end.
FINISHED = "finished"
DIVERGED = "diverged"
OUT_OF_MEMORY = "out_of_memory"
INTERRUPTED = "interrupted"
KILLED = "killed"
FAILED = "failed"


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
    """Opens a file that gets its name when it is whole and on the disk, or leaves nothing behind.

    Args:
        path: the name.
        durable: whether to wait for the disk, which takes some 15 ms; else a power cut may lose
            the file, though no reader ever sees half of it.

    Raises:
        ValueError: the disk is full or cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with writing(path):
            with temporary.open("wb") as file:
                yield file
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):  # where nothing can be written, nothing can be removed
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Removes what writers that were killed left behind; to be called with the run's lock held."""
    for leftover in folder.rglob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Writes a file whole or not at all, see `replacing`."""
    with replacing(path, durable=durable) as file:
        file.write(content)


def write_json(path: Path, content: Any, *, durable: bool = True) -> None:
    """Writes JSON whole or not at all, see `replacing`."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    write_bytes(path, text.encode(), durable=durable)


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        ValueError: the file is missing or is not a JSON object.
    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; is {path.parent} a run's folder?") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid JSON ({error}); remove the file or the run") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: not a JSON object; remove the file or the run")
    return content


def append_losses(folder: Path, first: int, losses: list[float], seconds: float) -> None:
    """Appends the losses of iterations first, first + 1, ... as one line of losses.jsonl."""
    line = {"first": first, "losses": losses, "seconds": round(seconds, 4)}
    path = folder / "losses.jsonl"
    with writing(path), path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def read_losses(folder: Path) -> Iterator[dict[str, Any]]:
    """Yields the lines of losses.jsonl, leaving out a last one that was cut off by a kill."""
    path = folder / "losses.jsonl"
    if not path.exists():
        return
    for line in path.read_text().split("\n"):
        if line.endswith("}"):
            yield json.loads(line)


def cut_losses(folder: Path, iteration: int) -> None:
    """Drops the losses of iterations after `iteration`, which a resumed run will compute again."""
    kept = []
    for line in read_losses(folder):
        count = min(len(line["losses"]), iteration + 1 - line["first"])
        if count > 0:
            kept.append(json.dumps({**line, "losses": line["losses"][:count]}) + "\n")
    write_bytes(folder / "losses.jsonl", "".join(kept).encode())


def evaluation_name(split: str, iteration: int, variant: str = "") -> str:
    """Returns the name that an evaluation's files share; it sorts by iteration.

    `variant` names a post-processing: its rows stand beside those of the network itself.
    """
    return f"{split}{'.' if variant else ''}{variant}-{iteration:07d}"


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
    matrix = evidence["confusion"].sum(axis=0, dtype=np.int64)
    content = {"version": VERSION, **summary, "confusion": matrix.tolist()}
    write_json(folder / "evaluations" / f"{name}.json", content)


def read_evaluations(
    folder: Path, split: str | None = None, variant: str = ""
) -> list[dict[str, Any]]:
    """Returns the complete evaluations of a run (of one split), by split and iteration.

    Without `variant`, those of the network itself; with one, those of that post-processing.
    """
    found = [read_json(path) for path in sorted((folder / "evaluations").glob("*.json"))]
    chosen = [e for e in found if e.get("variant", "") == variant]
    return [e for e in chosen if split is None or e["split"] == split]


def read_evidence(folder: Path, summary: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """Reads an evaluation's arrays per image."""
    name = evaluation_name(summary["split"], summary["iteration"], summary.get("variant", ""))
    path = folder / "evaluations" / f"{name}.npz"
    with path.open("rb") as file, np.load(file) as arrays:  # numpy leaves a damaged file open
        return dict(arrays)


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


def read_end(folder: Path) -> dict[str, Any] | None:
    """Returns how a run ended, or None while it has not."""
    path = folder / "end.json"
    return read_json(path) if path.exists() else None
