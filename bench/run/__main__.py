"""The process of a run: what a signal, an error or a parent's death does, and how the run ended.

    python -m bench.run FOLDER

is what `python -m bench` starts, or torchrun on several machines. However bench/run/run.py ends,
FOLDER/end.json and the exit code say how; if the process is killed, its parent records the end.
"""

import faulthandler
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from bench import records
from bench.launch.lock import locked
from bench.launch.processes import PARENT, end_with_parent
from bench.run import distributed
from bench.run.failure import failure
from bench.run.monitor import InterruptedRunError, Monitor, log
from bench.run.run import run
from bench.run.training import DivergedError

EXIT_CODES = {
    records.FINISHED: 0,
    records.FAILED: 1,
    records.DIVERGED: 3,
    records.OUT_OF_MEMORY: 4,
    records.INTERRUPTED: 75,  # EX_TEMPFAIL: the same command goes on
}


def execute(folder: Path) -> int:
    """Runs, records how it ended, and returns the exit code."""
    monitor = Monitor(folder, reports=distributed.is_first())
    monitor.catch_signals()
    try:
        end = {"state": records.FINISHED, **run(folder, monitor)}
    except InterruptedRunError:
        end = {
            "state": records.INTERRUPTED,
            "reason": "stopped by a signal; the same command goes on",
        }
    except DivergedError as error:
        end = {"state": records.DIVERGED, "reason": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever a user's network raises is recorded
        state, reason = failure(error)
        end = {"state": state, "reason": reason}
        if state == records.FAILED and not isinstance(error, ValueError):
            end["traceback"] = traceback.format_exception(error)[-8:]
        log.exception(state)  # unlike print, it does not raise when the disk is full
    # Whoever fails first knows the reason; the others only see it gone.
    told = distributed.size() > 1 and (folder / "end.json").exists()
    if not told and (distributed.is_first() or end["state"] != records.FINISHED):
        record_end(folder, end)
    return EXIT_CODES[end["state"]]


def record_end(folder: Path, end: dict[str, Any]) -> None:
    """Records how the run ended; where that is impossible, the parent sees it and says so."""
    try:
        records.write_json(folder / "end.json", end)
    except ValueError:
        log.exception("the end could not be recorded")


def main() -> None:
    """Executes the run of the folder on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m bench.run FOLDER")
    faulthandler.enable()  # a segmentation fault leaves its stack in log.txt
    logging.basicConfig(
        level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
    )
    folder = Path(sys.argv[1])
    if not (folder / "config.json").is_file():
        sys.exit(f"{folder} is not the folder of a prepared run; `python -m bench` makes them")
    if PARENT in os.environ:
        end_with_parent()
        sys.exit(execute(folder))
    if not distributed.is_first():
        sys.exit(execute(folder))
    with locked(folder):  # started by torchrun
        (folder / "end.json").unlink(missing_ok=True)
        sys.exit(execute(folder))


if __name__ == "__main__":
    main()
