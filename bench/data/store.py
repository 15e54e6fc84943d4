"""Decoded splits on disk: decoded once, then mapped by every process and every run.

    CACHE/decoded/KEY.store     KEY: 24 hexadecimal digits, a hash of all that decides the content
    CACHE/decoded/KEY.index     the same without the arrays, of a split that is streamed

A store is one file: the arrays of N records one after the other; then, as JSON, what is known of
the records and where each array lies, with its checksum; then where that begins, and its checksum.
It gets its name when it is whole and has been read back. It is a copy of what can be computed
again: a damaged one is replaced, and a full disk only costs time.
"""

import contextlib
import errno
import itertools
import json
import logging
import math
import mmap
import os
import re
import secrets
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from bench.temporary_files import renamed

log = logging.getLogger("bench")

Array = NDArray[Any]
# Yields the arrays of each record, and at the end fills in what else is known, as JSON can hold it.
Fill = Callable[[dict[str, Any]], Iterator[tuple[Array, ...]]]

FOLDER = "decoded"  # under dataset.cache, in which no other file is ours
OURS = re.compile(r"[0-9a-f]{24}\.(store|index)|\.[0-9a-f]{24}[-.\w]+\.tmp")
UNUSED_DAYS = 30.0  # stores not used for so long are removed when a new one is written
KILLED_DAYS = 1 / 24  # a writer that is alive has written something within the last hour
RESERVE_BYTES = 1e9  # left free on the disk, for the checkpoints of runs
MAPPED_BYTES = 16e6  # that a process keeps mapped at a time; the others wait in the page cache
TRAILER = struct.Struct("<QI")  # where the index begins, and its CRC-32
UNREADABLE = (OSError, ValueError, struct.error)  # what reading a damaged store raises


class Store:
    """N records of arrays, mapped read-only; or, where the disk is small, their checksums alone.

    Attributes:
        known: what the builder knows; and `table`, the offset, CRC-32, dtype and shape of each
            array of each record.
    """

    def __init__(self, file: IO[bytes], path: Path | None) -> None:
        """Maps an open file; one that is not a whole store raises one of UNREADABLE."""
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        start, expected = TRAILER.unpack(content[-TRAILER.size :])
        index = content[start : -TRAILER.size]
        if zlib.crc32(index) != expected:
            raise ValueError("wrong checksum")
        self.known: dict[str, Any] = json.loads(index)
        self._content, self._path = content if start else None, path
        self._touched, self._verified = 0, set[tuple[int, int]]()

    @property
    def holds_arrays(self) -> bool:
        """Says whether the arrays themselves are there."""
        return self._content is not None

    def array(self, record: int, part: int) -> Array | None:
        """Returns a read-only view of an array, verified when it is first used, or None.

        Of a view only what is touched is read. If one is damaged the store holds arrays no more.
        """
        content = self._content  # threads share it, and one of them may find it damaged
        if content is None:
            return None
        offset, _, dtype, *shape = self.known["table"][record][part]
        view = np.frombuffer(content, dtype, math.prod(shape), offset).reshape(shape)
        self._touched += view.nbytes
        if self._touched > MAPPED_BYTES:  # views stay valid: their pages are mapped again
            content.madvise(mmap.MADV_DONTNEED)
            self._touched = 0
        if (record, part) not in self._verified:
            if not self.matches(record, part, view):
                log.warning(f"{self._path}: damaged; the data are decoded again")
                self._content = None
                if self._path is not None:
                    with contextlib.suppress(OSError):  # somebody else's, for reading only
                        self._path.unlink()
                return None
            self._verified.add((record, part))
        return view

    def matches(self, record: int, part: int, array: Array) -> bool:
        """Says whether an array is the one that the record was made of."""
        return bool(_checksum(array) == self.known["table"][record][part][1])


def opened(path: Path) -> Store | None:
    """Opens a store, or returns None where there is none or it is damaged."""
    try:
        with path.open("rb") as file:
            store = Store(file, path)
    except (FileNotFoundError, NotADirectoryError):  # `build` says what is wrong with the folder
        return None
    except UNREADABLE as error:
        log.warning(f"{path}: damaged ({error}); the data are decoded again")
        return None
    with contextlib.suppress(OSError):  # somebody else's, for reading only
        os.utime(path)
    return store


def build(path: Path | None, count: int, fill: Fill, *, arrays: bool) -> Store:
    """Builds a store of `count` records, whole or not at all.

    Args:
        path: its name; None: it has none, and is gone with this process.
        count: of the records.
        fill: decodes them.
        arrays: whether to keep the arrays, or only their checksums.

    Raises:
        OSError: the disk is too small or cannot be written.
    """
    if path is None:
        with tempfile.TemporaryFile() as file:
            return _written(file, None, count, fill, arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    prune(path.parent, UNUSED_DAYS)
    # Machines may share the folder, so that the number of a process would not do.
    with renamed(path, writer=secrets.token_hex(8)) as file:
        return _written(file, path, count, fill, arrays)


def _written(file: IO[bytes], path: Path | None, count: int, fill: Fill, arrays: bool) -> Store:
    """Fills a store's file, and reads it back."""
    known: dict[str, Any] = {}
    table: list[list[tuple[Any, ...]]] = []
    for record in fill(known):
        table.append([])
        for array in record:
            table[-1].append((file.tell(), _checksum(array), array.dtype.str, *array.shape))
            file.write(array.tobytes() if arrays else b"")
        to_come = file.tell() * (count / len(table) - 1)  # if the records to come are like these
        disk = os.fstatvfs(file.fileno())
        if to_come and disk.f_bavail * disk.f_frsize < to_come + RESERVE_BYTES:
            raise OSError(errno.ENOSPC, f"{to_come / 1e9:.1f} GB more would fill the disk")
    index = json.dumps(known | {"table": table}).encode()
    file.write(index + TRAILER.pack(file.tell(), zlib.crc32(index)))
    file.flush()
    store = Store(file, path)
    for place in itertools.product(range(len(table)), range(len(table[0])) if arrays else ()):
        assert store.array(*place) is not None, "what was read is not what was written"
    return store


def _checksum(array: Array) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data)


def stores(folder: Path) -> list[Path]:
    """Lists the stores of a folder, and what killed writers left."""
    return sorted(path for path in folder.glob("*") if OURS.fullmatch(path.name))


def describe(path: Path) -> str:
    """Says what a store holds."""
    with contextlib.suppress(*UNREADABLE), path.open("rb") as file:
        return str(Store(file, path).known["about"])
    return "unfinished or damaged"


def unused_days(path: Path) -> float:
    """Returns how long ago a store was used, or a leftover was written."""
    return (time.time() - path.lstat().st_mtime) / 86400


def prune(folder: Path, days: float) -> list[Path]:
    """Removes stores not used for so long, and what killed writers left; returns which.

    No other file is touched.
    """
    removed = []
    for path in stores(folder):
        with contextlib.suppress(OSError):  # somebody else's, or somebody else was faster
            if unused_days(path) >= (KILLED_DAYS if path.suffix == ".tmp" else days):
                path.unlink()
                removed.append(path)
    return removed
