"""The loss of every iteration, RUN/losses.jsonl: lines that are appended, each with its CRC.

A kill may cut off the last line, and nothing else. Imports no torch.
"""

import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import sound_files
from bench.records import write_bytes, writing

LINE_BYTES = 2**20  # one with 20 losses has some 500
LINE = {"first": int, "losses": [float], "seconds": float}


def append_losses(folder: Path, first: int, losses: list[float], seconds: float) -> None:
    """Appends the losses of iterations first, first + 1, ... as one line of losses.jsonl."""
    path = folder / "losses.jsonl"
    with writing(path), path.open("a") as file:
        file.write(_sealed({"first": first, "losses": losses, "seconds": round(seconds, 4)}))


def _sealed(line: dict[str, Any]) -> str:
    """Returns a line of losses.jsonl, which ends with the CRC of what stands before."""
    text = json.dumps(line, allow_nan=False)[:-1]
    return f'{text}, "crc32": "{zlib.crc32(text.encode()):08x}"}}\n'


def read_losses(folder: Path, *, whole: bool = True) -> Iterator[dict[str, Any]]:
    """Yields the lines of losses.jsonl, leaving out a last one that was cut off by a kill.

    Args:
        folder: the run.
        whole: whether missing iterations are an error.

    Raises:
        ValueError: a line is damaged, or iterations are missing; naming it.
    """
    path, expected = folder / "losses.jsonl", 1
    for number, text in enumerate(_lines(path), start=1):
        line = _parse_losses(text, f"{path}:{number}")
        if line["first"] < expected or (whole and line["first"] != expected):
            misplaced = f"iteration {line['first']} stands where {expected} belongs"
            raise ValueError(f"{path}:{number}: {misplaced}; losses are missing or doubled")
        expected = line["first"] + len(line["losses"])
        yield line


def _lines(path: Path) -> Iterator[bytes]:
    """Yields the complete lines of a file, which may be missing."""
    if not os.path.lexists(path):
        return
    if not path.is_file():  # a FIFO would wait for a writer
        raise ValueError(f"{path}: not a regular file; remove it")
    with path.open("rb") as file:
        while text := file.readline(LINE_BYTES):
            if text.endswith(b"\n"):
                yield text
            elif len(text) == LINE_BYTES:
                raise ValueError(f"{path}: has a line of more than {LINE_BYTES} bytes; remove it")


def _parse_losses(text: bytes, where: str) -> dict[str, Any]:
    line = sound_files.parse_object(text, where)
    crc, before = line.pop("crc32", None), text.rpartition(b', "crc32"')[0]
    if crc is not None and crc != f"{zlib.crc32(before):08x}":
        raise ValueError(f"{where}: changed since it was written (its CRC differs)")
    losses = line.get("losses")
    fits = isinstance(losses, list) and set(map(type, losses)) <= {float, int}
    sound_files.require(where, line, LINE | {"losses": list if fits else [float]})
    return line


def cut_losses(folder: Path, iteration: int) -> None:
    """Drops the losses of iterations after `iteration`, which a resumed run will compute again.

    Raises:
        ValueError: a line is damaged, or one of those before is missing.
    """
    kept, left = [], 0
    for line in read_losses(folder, whole=False):
        count = min(len(line["losses"]), iteration + 1 - line["first"])
        if count > 0:
            kept.append(_sealed({**line, "losses": line["losses"][:count]}))
            left += count
    if left < iteration:  # they are on the disk before a checkpoint is
        raise ValueError(
            f"{folder / 'losses.jsonl'}: has {left} of the {iteration} losses before the "
            "checkpoint; restore it, or start afresh with rerun=true"
        )
    write_bytes(folder / "losses.jsonl", "".join(kept).encode())
