"""The process of a run, forked from a server that has imported torch, and killed where wanted.

Real processes and real signals, without three seconds of imports for each of them.
"""

import contextlib
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import torch

from bench import records
from bench.config import Config, write_config
from bench.evidence import read_evidence
from bench.losses import read_losses
from bench.run import checkpoints

FORKED = multiprocessing.get_context("forkserver")
# Everything that a run imports and that takes time.
FORKED.set_forkserver_preload(
    ["bench.run.__main__", "torch._dynamo", "architectures.basic", "bench.data.synthetic"]
)
PATIENCE = 120.0  # seconds; this machine may have other work

Fault = Callable[[Path], None]


def prepare(folder: Path, config: Config) -> Path:
    """Makes a run's folder as the launcher does."""
    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder, config)
    return folder


def start(folder: Path, fault: Fault | None = None) -> ForkServerProcess:
    """Starts `python -m bench.run FOLDER`, after a fault has been prepared in its process."""
    (folder / "end.json").unlink(missing_ok=True)
    process = FORKED.Process(target=_live, args=(folder, fault))
    process.start()
    return process


def live(folder: Path, fault: Fault | None = None) -> int:
    """Lets a run's process live to its end and returns its exit code, -9 for SIGKILL."""
    process = start(folder, fault)
    process.join(PATIENCE)
    assert process.exitcode is not None, "the run hangs"
    return process.exitcode


def _live(folder: Path, fault: Fault | None) -> None:
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    from bench.run.__main__ import execute
    from bench.temporary_files import remove_leftovers

    remove_leftovers(folder)  # as whoever starts a run does, once it holds the lock
    if fault is not None:
        fault(folder)
    sys.exit(execute(folder))


def wait_until(holds: Callable[[], bool], process: ForkServerProcess | None = None) -> None:
    """Waits for a condition; a process that ends before it holds is a failure."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "that takes too long"
        assert process is None or process.is_alive() or holds(), "the run ended before"
        time.sleep(0.005)


class KillAtWrite:
    """Kills the process with SIGKILL just before its n-th change of a file, counted from 1.

    Where that is a renaming, half of the file is cut off first: so it would look had the kill come
    while it was being written. Progress and log are not counted, for time decides on them.
    """

    def __init__(self, at: int | None) -> None:
        self.at = at

    def __call__(self, folder: Path) -> None:
        state = {"count": 0}

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            path = _changed(event, arguments)
            if path is None or not path.startswith(str(folder)) or "progress.json" in path:
                return
            state["count"] += 1
            if state["count"] == self.at:
                if event == "os.rename" and path.endswith(".tmp"):
                    os.truncate(path, Path(path).stat().st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            if path.endswith(".end.json." + f"{os.getpid()}.tmp"):
                print(f"{state['count']} writes", flush=True)

        sys.addaudithook(hook)


def _changed(event: str, arguments: tuple[Any, ...]) -> str | None:
    """Names the file that an audit event of Python will change, if it will."""
    if event == "open":
        path, mode, _ = arguments
        return str(path) if isinstance(mode, str) and set(mode) & set("wax+") else None
    if event in {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}:
        return str(arguments[0])
    return None


def losses(folder: Path) -> list[float]:
    """Returns the losses recorded so far, while the run may be writing them."""
    with contextlib.suppress(FileNotFoundError):
        return [loss for line in read_losses(folder) for loss in line["losses"]]
    return []


def outcome(folder: Path) -> dict[str, Any]:
    """Returns everything that must not depend on interruptions, exactly."""
    tensors = {}
    for path in sorted(folder.glob("*.pt")):
        content = checkpoints.load(path)
        tensors[path.name] = (content["iteration"], _bits(content["network"]))
        if "optimiser" in content:
            tensors["momentum"] = (0, _bits(content["optimiser"]["state"]))
    evaluations = records.read_evaluations(folder)
    return {
        "losses": losses(folder),
        "tensors": tensors,
        "evaluations": evaluations,
        "evidence": [
            {name: array.tolist() for name, array in read_evidence(folder, e).items()}
            for e in evaluations
        ],
        "pictures": {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.glob("predictions/*/*.png"))
        },
        "files": sorted(
            path.name for path in folder.iterdir() if path.name not in {"lock", "log.txt"}
        ),
    }


def _bits(node: Any) -> Any:
    if isinstance(node, torch.Tensor):
        return node.contiguous().numpy().tobytes()
    if isinstance(node, dict):
        return {key: _bits(value) for key, value in node.items()}
    return node


def seeded(name: str) -> random.Random:
    """Returns random numbers that are the same in every session."""
    return random.Random(name)
