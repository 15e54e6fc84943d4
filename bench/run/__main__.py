"""The process of a run: what a signal, an error or a parent's death does, and how the run ended.

    python -m bench.run FOLDER

is what `python -m bench` starts, or torchrun on several machines. However bench/run/run.py ends,
FOLDER/end.json and the exit code say how; if the process is killed, its parent records the end.
"""

import ctypes
import faulthandler
import logging
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import torch

from bench import records
from bench.launch.lock import locked
from bench.launch.processes import PARENT
from bench.run import distributed
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
    except ValueError as error:
        end = {"state": records.FAILED, "reason": str(error)}
        log.exception("failed")
    except Exception as error:  # noqa: BLE001 - whatever a user's network raises is recorded
        lines = traceback.format_exception(error)
        end = {"state": records.FAILED, "reason": lines[-1].strip(), "traceback": lines[-8:]}
        if ran_out_of_memory(error):
            reason = str(error).rpartition("DefaultCPUAllocator: ")[2].split(". ")[0]
            end = {"state": records.OUT_OF_MEMORY, "reason": reason}
        log.exception(end["state"])  # unlike print, it does not raise when the disk is full
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


def ran_out_of_memory(error: Exception) -> bool:
    """Says whether an allocation failed; on the CPU, torch has no class of errors for that."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator: can't allocate" in str(error)
    )


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


def end_with_parent() -> None:
    """Asks Linux for SIGTERM when the parent dies, however it dies."""
    if sys.platform == "linux" and os.getppid() != 1:
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
    if os.environ.get(PARENT, str(os.getppid())) != str(os.getppid()):
        sys.exit("the process that started this run is gone")  # killed while torch was imported


if __name__ == "__main__":
    main()
