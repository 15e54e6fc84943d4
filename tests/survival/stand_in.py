"""Stands in for a run's process, without torch: `python -m stand_in FOLDER` ends as it is told.

The seed of its configuration chooses one of WAYS; all but those that fail evaluate at once, with an
evaluation that a real run made.
"""

import ctypes
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

FINISHED = {"state": "finished", "iteration": 6, "max_iterations": 6, "postprocessed": []}


def says(state: str) -> Callable[[Path], None]:
    """Returns a way to end that records a state."""
    return lambda folder: write(folder, {"state": state, "reason": "as told"})


def write(folder: Path, end: dict[str, object]) -> None:
    """Records an end."""
    (folder / "end.json").write_text(json.dumps(end))


def raises(folder: Path) -> None:
    """Fails before anything could catch it."""
    raise RuntimeError("stand-in")


def hangs(folder: Path) -> None:
    """Gives no sign of life."""
    time.sleep(3600)


# How to fail, and the state and the reason that the parent must give.
WAYS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "raises": (raises, "failed", "ended with exit code 1"),
    "exits well": (lambda _: sys.exit(0), "failed", "ended with exit code 0"),
    "exits ill": (lambda _: sys.exit(3), "failed", "ended with exit code 3"),
    "leaves": (lambda _: os._exit(7), "failed", "ended with exit code 7"),
    "segfaults": (lambda _: print(ctypes.string_at(0)), "killed", "killed by SIGSEGV"),
    "is killed": (lambda _: os.kill(os.getpid(), signal.SIGKILL), "killed", "killed by SIGKILL"),
    "hangs": (hangs, "killed", "without a sign of life"),
    "diverges": (says("diverged"), "diverged", "as told"),
    "needs memory": (says("out_of_memory"), "out_of_memory", "as told"),
    "aborts": (lambda _: os.abort(), "killed", "killed by SIGABRT"),
}


LATE_SIGNAL = 1000  # the seed of a run that its parent is asked to stop when it has finished


def main() -> None:
    """Ends as the seed says: 7, 27, 47, ... are the ways to fail in their order."""
    folder = Path(sys.argv[1])
    seed = json.loads((folder / "config.json").read_text())["config"]["seed"]
    if seed % 20 == 7:
        list(WAYS.values())[seed // 20][0](folder)
        return
    shutil.copytree(os.environ["STAND_IN_EVALUATIONS"], folder / "evaluations", dirs_exist_ok=True)
    write(folder, FINISHED)
    if seed == LATE_SIGNAL:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent passes it on
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(0.5)


if __name__ == "__main__":
    main()
