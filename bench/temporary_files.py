"""Files that get their name when they are whole, and removal of what killed writers left.

Imports no torch.
"""

import contextlib
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from bench.words import DAY

UNFINISHED = re.compile(r"\..+\.\d+\.tmp")  # a file of `renamed`, by the number of its process
KILLED_SECONDS = 3600.0  # a writer that is alive has written something within the last hour
SCRATCH = "segbench-dry-run-"  # the folder of a dry run, among the temporary ones


@contextlib.contextmanager
def renamed(path: Path, *, durable: bool = True, writer: str = "") -> Iterator[BinaryIO]:
    """Opens a file that gets its name when it is whole and on the disk, or leaves nothing behind.

    Args:
        path: the name.
        durable: whether to wait for the disk, which takes some 15 ms; else a power cut may lose
            the file, though no reader ever sees half of it.
        writer: tells writers of one name apart; by default the number of this process, which is
            its own on one machine.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{writer or os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)  # of a killed process that had our number
        with temporary.open("x+b") as file:  # exclusively: a link by this name leads elsewhere
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):  # where nothing can be written, nothing can be removed
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, seconds: float = 0.0) -> None:
    """Removes files that writers did not finish.

    Args:
        folder: where to look, also below it.
        seconds: how old a file must be; 0 where a lock keeps other writers out.
    """
    for path in folder.rglob(".*.tmp"):
        with contextlib.suppress(OSError):  # somebody else's, or somebody else was faster
            state = path.lstat()
            is_unfinished = UNFINISHED.fullmatch(path.name) and stat.S_ISREG(state.st_mode)
            if is_unfinished and time.time() - state.st_mtime >= seconds:
                path.unlink()


def remove_old_scratch() -> None:
    """Removes the folders of this user's dry runs of more than a day ago."""
    for folder in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        with contextlib.suppress(OSError):  # somebody else was faster
            state = folder.lstat()
            is_own = stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid()
            if is_own and time.time() - state.st_mtime > DAY:
                shutil.rmtree(folder)
