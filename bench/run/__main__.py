"""The process of a run: what a signal, an error or a parent's death does, and how the run ended.

    python -m bench.run FOLDER

is what `python -m bench` starts, or torchrun on several machines. Started by hand, it holds the
record of FOLDER, which may be somebody else's, to bench/trust.py. However bench/run/run.py ends,
FOLDER/end.json and the exit code say how; if the process is killed, its parent records the end.
"""

import argparse
import faulthandler
import logging
import os
import sys
import traceback
from pathlib import Path

from bench import records
from bench.config import read_config
from bench.launch.lock import locked
from bench.launch.processes import PARENT, end_with_parent
from bench.records import End, State
from bench.run import distributed
from bench.run.contract import BrokenContractError
from bench.run.failure import failure
from bench.run.monitor import InterruptedRunError, Monitor, log
from bench.run.run import run
from bench.run.training import DivergedError
from bench.temporary_files import remove_leftovers
from bench.trust import require_harmless
from bench.typed import plain

EXIT_CODES = {
    State.finished: 0,
    State.failed: 1,
    State.diverged: 3,
    State.out_of_memory: 4,
    State.interrupted: 75,  # EX_TEMPFAIL: the same command goes on
}


def execute(folder: Path) -> int:
    """Runs, records how it ended, and returns the exit code."""
    monitor = Monitor(folder, reports=distributed.is_first())
    monitor.catch_signals()
    try:
        end = run(folder, monitor)
    except InterruptedRunError:
        end = End(State.interrupted, "stopped by a signal; the same command goes on")
    except DivergedError as error:
        end = End(State.diverged, str(error))
    except Exception as error:  # noqa: BLE001 - whatever a user's network raises is recorded
        state, reason = failure(error)
        cause = error.__cause__ if isinstance(error, BrokenContractError) else error
        unforeseen = state == State.failed and not isinstance(cause, ValueError | None)
        lines = traceback.format_exception(cause)[-8:] if unforeseen else []
        end = End(state, reason, traceback=lines)
        log.exception(state)  # unlike print, it does not raise when the disk is full
    # Whoever fails first knows the reason; the others only see it gone.
    told = distributed.size() > 1 and (folder / "end.json").exists()
    if not told and (distributed.is_first() or end.state != State.finished):
        record_end(folder, end)
    return EXIT_CODES[end.state]


def record_end(folder: Path, end: End) -> None:
    """Records how the run ended; where that is impossible, the parent sees it and says so."""
    try:
        records.write_end(folder, end)
    except ValueError:
        log.exception("the end could not be recorded")


def main() -> None:
    """Executes the run of the folder on the command line."""
    options = _parser().parse_args()
    faulthandler.enable()  # a segmentation fault leaves its stack in log.txt
    logging.basicConfig(
        level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
    )
    folder = options.folder
    if not (folder / "config.json").is_file():
        sys.exit(f"{folder} is not the folder of a prepared run; `python -m bench` makes them")
    if PARENT in os.environ:  # which has composed the configuration itself
        end_with_parent()
        sys.exit(execute(folder))
    try:
        if not options.trust:
            require_harmless(plain(read_config(folder)), folder, options.config_dir)
    except ValueError as error:
        sys.exit(f"bench.run: {error}")
    if not distributed.is_first():
        sys.exit(execute(folder))
    with locked(folder):  # started by torchrun
        remove_leftovers(folder)
        (folder / "end.json").unlink(missing_ok=True)
        sys.exit(execute(folder))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="as `start=false` leaves it")
    parser.add_argument("--trust", action="store_true", help="let the record call any code")
    parser.add_argument("--config-dir", type=Path, help="the folder of your own network")
    return parser


if __name__ == "__main__":
    main()
