"""Saving and loading tensors so that a kill, a full disk or a flipped bit loses no run.

A checkpoint is written to a temporary name, flushed, renamed; the previous one is kept beside it.
torch's zip format carries a CRC per entry, which torch.load does not look at and we do.
"""

import os
import zipfile
from pathlib import Path
from typing import Any

import torch

from bench.monitor import Monitor


def save(path: Path, content: dict[str, Any]) -> None:
    """Saves plain containers of tensors, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load(path: Path) -> dict[str, Any]:
    """Loads what `save` wrote, onto the CPU.

    Raises:
        ValueError: the file is missing, truncated or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"{path}: its part {damaged} is damaged; remove the file")
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; has the run been evaluated yet?") from None
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError) as error:
        raise ValueError(f"{path}: damaged ({error}); remove the file") from error
    return content


def save_checkpoint(folder: Path, content: dict[str, Any]) -> None:
    """Saves a run's state as checkpoint.pt, keeping the one before as checkpoint-previous.pt."""
    newest = folder / "checkpoint.pt"
    fresh = folder / "checkpoint-fresh.pt"
    save(fresh, content)
    if newest.exists():
        newest.replace(folder / "checkpoint-previous.pt")
    fresh.replace(newest)


def load_checkpoint(folder: Path, monitor: Monitor) -> dict[str, Any] | None:
    """Loads the newest sound checkpoint of a run, saying aloud when one had to be passed over.

    Raises:
        ValueError: there are checkpoints and none is sound.
    """
    names = ("checkpoint-fresh.pt", "checkpoint.pt", "checkpoint-previous.pt")
    present = [folder / name for name in names if (folder / name).exists()]
    for path in present:
        try:
            return load(path)
        except ValueError as error:
            monitor.notice(f"{error}; trying the checkpoint before it")
    if present:
        raise ValueError(f"{folder}: no checkpoint is sound; start afresh with rerun=true")
    return None


def prune(folder: Path) -> None:
    """Leaves the last checkpoint of a finished run, from which it can be extended."""
    (folder / "checkpoint-previous.pt").unlink(missing_ok=True)
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink()
