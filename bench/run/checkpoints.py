"""Saving and loading tensors so that a kill, a full disk or a flipped bit loses no run.

A checkpoint is written to a temporary name, flushed, renamed; the previous one is kept beside it.
torch's zip format carries a CRC per entry, which torch.load does not look at and we do.
"""

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench import records
from bench.run.monitor import Monitor

FRESH, NEWEST, PREVIOUS = "checkpoint-fresh.pt", "checkpoint.pt", "checkpoint-previous.pt"
BEST, LAST = "weights-best.pt", "weights-last.pt"  # the network as evaluated, with its iteration

# What a damaged archive makes zipfile and torch raise; UnicodeDecodeError is about names in it.
DAMAGE = (
    zipfile.BadZipFile,
    pickle.UnpicklingError,
    EOFError,
    OSError,
    RuntimeError,
    UnicodeDecodeError,
)


def save(path: Path, content: dict[str, Any]) -> None:
    """Saves plain containers of tensors, whole or not at all.

    Raises:
        ValueError: the disk is full or cannot be written.
    """
    with records.replacing(path) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # about its own archive, when writing has failed before
            raise error.__context__ or error from None


def load(path: Path) -> dict[str, Any]:
    """Loads what `save` wrote, onto the CPU.

    Raises:
        ValueError: the file is missing, truncated, damaged or no weights of a run.
    """
    try:
        if not path.is_file() and path.exists():  # a FIFO would wait for a writer
            raise ValueError(f"{path}: not a regular file; remove it")
        with zipfile.ZipFile(path) as archive:
            damaged = _damaged_part(archive)
        if damaged is not None:
            raise ValueError(f"{path}: its part {damaged} is damaged; remove the file")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; has the run been evaluated yet?") from None
    except DAMAGE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path}: damaged ({reason}); remove the file") from error
    return _weights(path, content)


def _weights(path: Path, content: Any) -> dict[str, Any]:
    """Holds a file's content to what every file of weights has: an iteration, and tensors by name.

    Raises:
        ValueError: a part is missing or something else.
    """
    weights: dict[str, Any] = content if isinstance(content, dict) else {}
    iteration, network = weights.get("iteration"), weights.get("network")
    if type(iteration) is not int or iteration < 0:
        raise ValueError(f"{path}: its iteration is {iteration}; it is no file of a run, remove it")
    if not isinstance(network, dict) or not all(map(_is_stored, network.values())):
        raise ValueError(f"{path}: has no tensors of a network; it is no file of a run, remove it")
    return weights


def _is_stored(value: Any) -> bool:
    """Says whether a value is a tensor as layers have them, neither sparse nor without values."""
    return (
        isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and not value.is_meta
        and not value.is_quantized
    )


def fill(network: nn.Module, tensors: dict[str, torch.Tensor], where: Path) -> None:
    """Loads tensors into the network they are said to be of.

    Raises:
        ValueError: they do not fit.
    """
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{where}: not the weights of this network ({reason})") from error


def weights_of(folder: Path, iteration: int) -> dict[str, torch.Tensor] | None:
    """Returns the tensors of a run's network as it was evaluated, its best or its last, or None.

    Args:
        folder: the run.
        iteration: of the evaluation.

    Raises:
        ValueError: a file of weights is damaged.
    """
    for path in (folder / BEST, folder / LAST):
        if path.exists() and (weights := load(path))["iteration"] == iteration:
            tensors: dict[str, torch.Tensor] = weights["network"]
            return tensors
    return None


def _damaged_part(archive: zipfile.ZipFile) -> str | None:
    """Names an entry whose bytes or attributes are not those that torch writes."""
    for entry in archive.infolist():
        # torch takes an entry with the attributes of a directory for an empty one, unread memory.
        if entry.compress_type != zipfile.ZIP_STORED or entry.external_attr != 0:
            return entry.filename
    return archive.testzip()


def save_checkpoint(folder: Path, content: dict[str, Any]) -> None:
    """Saves a run's state as checkpoint.pt, keeping the one before as checkpoint-previous.pt.

    Raises:
        ValueError: the disk is full or cannot be written.
    """
    losses = folder / "losses.jsonl"
    with records.writing(folder):
        if losses.exists():  # before a checkpoint, never recomputed: synced first
            with losses.open("rb") as file:
                os.fsync(file.fileno())
        save(folder / FRESH, content)
        _promote(folder)


def _promote(folder: Path) -> None:
    """Makes the fresh checkpoint the newest, and the newest so far the one before."""
    newest = folder / NEWEST
    if newest.exists():
        newest.replace(folder / PREVIOUS)
    (folder / FRESH).replace(newest)


def load_checkpoint(folder: Path, monitor: Monitor) -> dict[str, Any] | None:
    """Loads the newest sound checkpoint of a run, saying aloud when one had to be passed over.

    A damaged one is renamed, so that it cannot take the place of the sound one before it.

    Raises:
        ValueError: there are checkpoints and none is sound.
    """
    present = [folder / n for n in (FRESH, NEWEST, PREVIOUS) if (folder / n).exists()]
    damaged: list[Path] = []
    for path in present:
        try:
            content = load(path)
        except ValueError as error:
            monitor.notice(f"{error}; trying the checkpoint before it")
            damaged.append(path)
        else:
            for other in damaged:
                other.replace(other.with_suffix(".damaged"))
            if path.name == FRESH:  # the kill came between the renames
                _promote(folder)
            return content
    if present:
        raise ValueError(f"{folder}: no checkpoint is sound; start afresh with rerun=true")
    return None


def prune(folder: Path) -> None:
    """Leaves the last checkpoint of a finished run, from which it can be extended."""
    for path in (folder / PREVIOUS, *folder.glob("checkpoint*.damaged")):
        path.unlink(missing_ok=True)
