"""Removing what killed processes left behind, and nothing else. Imports no torch."""

import contextlib
import os
import re
import shutil
import stat
import tempfile
import time
from pathlib import Path

from bench.words import DAY

WRITING = re.compile(r"\..+\.\d+\.tmp")  # a file that `bench.records.replacing` has not finished
KILLED_SECONDS = 3600.0  # a writer that is alive has written something within the last hour
SCRATCH = "segbench-dry-run-"  # the folder of a dry run, among the temporary ones


def remove_leftovers(folder: Path, seconds: float = 0.0) -> None:
    """Removes files that writers did not finish.

    Args:
        folder: where to look, also below it.
        seconds: how old a file must be; 0 where a lock keeps other writers out.
    """
    for path in folder.rglob(".*.tmp"):
        with contextlib.suppress(OSError):  # somebody else's, or somebody else was faster
            state = path.lstat()
            ours = WRITING.fullmatch(path.name) and stat.S_ISREG(state.st_mode)
            if ours and time.time() - state.st_mtime >= seconds:
                path.unlink()


def remove_old_scratch() -> None:
    """Removes the folders of this user's dry runs of more than a day ago."""
    for folder in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        with contextlib.suppress(OSError):  # somebody else was faster
            state = folder.lstat()
            ours = stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid()
            if ours and time.time() - state.st_mtime > DAY:
                shutil.rmtree(folder)
