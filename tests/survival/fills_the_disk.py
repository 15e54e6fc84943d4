"""Stands in for a run's process: fills its disk to the last byte, unless that was done before."""

import contextlib
import os
import sys
from pathlib import Path


def main() -> None:
    """Fills the disk once, and fails."""
    folder = Path(sys.argv[1])
    marker, filler = folder / "was here", folder.parent / "filler"
    if not marker.exists():
        marker.touch()
        with filler.open("wb", buffering=0) as file:
            for size in (4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"x" * size)
    os._exit(1)


if __name__ == "__main__":
    main()
