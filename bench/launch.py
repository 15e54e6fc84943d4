"""Starts a run in a fresh process, shows its progress, and learns how it ended.

A fresh process for every run: an earlier contestant's memory, allocator state or crash cannot touch
the next one. What travels between the two processes is the run's folder, nothing else. This file
imports no torch.
"""

import contextlib
import fcntl
import os
import shlex
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from tqdm import tqdm

from bench import records
from bench.children import Children
from bench.config import fingerprint, run_folder
from bench.display import POLL_SECONDS, watch

CHILD = "bench.run"
ORPHAN_SECONDS = 120.0  # how long to wait for a child whose parent was killed
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def launch(config: dict[str, Any]) -> dict[str, Any]:
    """Runs one resolved configuration to its end.

    Returns:
        How it ended: `state`, `folder`, and a `reason` where there is one.

    Raises:
        ValueError: another process works on the same run.
    """
    if config["dry_run"]:
        with tempfile.TemporaryDirectory(prefix="segbench-") as scratch:
            print(f"would run in {run_folder(config)}")
            return {**_supervise(Path(scratch), config, []), "folder": None}
    folder = run_folder(config)
    folder.mkdir(parents=True, exist_ok=True)
    if config["rerun"]:
        _set_aside(folder)
    with locked(folder) as descriptor:
        end = records.read_end(folder)
        if end and covers(end, config):
            print(f"{folder.name}: finished before, at iteration {end['iteration']}")
            return {**end, "folder": str(folder)}
        (folder / "end.json").unlink(missing_ok=True)
        if not config["start"]:
            return _leave_to_torchrun(folder, config)
        return _supervise(folder, config, [descriptor])


def covers(end: dict[str, Any], config: dict[str, Any]) -> bool:
    """Says whether a finished run has done all that is asked for now."""
    return (
        end["state"] == records.FINISHED
        and end["max_iterations"] >= config["max_iterations"]
        and config["postprocess"]["name"] in ("none", *end.get("postprocessed", []))
    )


def _set_aside(folder: Path) -> None:
    """Keeps an earlier result under another name."""
    with locked(folder):
        number = 1
        while (old := folder.with_name(f"{folder.name}.old{number}")).exists():
            number += 1
        folder.rename(old)
    folder.mkdir()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Holds a run for one process and its child; the kernel frees it when the last one ends.

    Raises:
        ValueError: another process holds it.
    """
    with (folder / "lock").open("a+") as file:
        patience = time.monotonic() + ORPHAN_SECONDS
        while not _lock(file.fileno()):
            file.seek(0)
            holder = file.read()
            # A child whose parent was killed lets go as soon as it has saved its checkpoint.
            if not _is_orphaned(holder) or time.monotonic() > patience:
                raise ValueError(
                    f"{folder.name} is being worked on by another process ({holder}); "
                    "wait for it or stop it"
                )
            time.sleep(POLL_SECONDS)
        file.truncate(0)
        file.write(f"host {socket.gethostname()}, pid {os.getpid()}")
        file.flush()
        yield file.fileno()


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_orphaned(holder: str) -> bool:
    """Says whether the process that took a lock on this machine is no more."""
    host, _, pid = holder.removeprefix("host ").rpartition(", pid ")
    return host == socket.gethostname() and pid.isdigit() and not Path(f"/proc/{pid}").exists()


def _write_config(folder: Path, config: dict[str, Any]) -> None:
    content = {"version": records.VERSION, "fingerprint": fingerprint(config), "config": config}
    records.write_json(folder / "config.json", content)


def _leave_to_torchrun(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Prepares a run that several machines with one file system will share."""
    _write_config(folder, config)
    print("on every node, with a rendezvous of yours:")
    print(f"torchrun --nnodes=N --nproc-per-node=GPUS ... -m {CHILD} {shlex.quote(str(folder))}")
    return {"state": records.FINISHED, "reason": None, "folder": None}


def _supervise(folder: Path, config: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
    """Starts the child, forwards signals to it, shows its progress, reads how it ended."""
    _write_config(folder, config)
    (folder / "progress.json").unlink(missing_ok=True)
    children = Children(folder, config["processes"], CHILD, descriptors)
    with _forwarding(children):
        silent = watch(folder, children, 60 * config["silence_minutes"])
    end = records.read_end(folder)
    # Processes that share a run blame each other when one is killed; the signal is the reason.
    killed = children.failed is not None and children.failed[1] < 0 and config["processes"] > 1
    if end is None or killed:
        end = _died(children, silent, config["silence_minutes"])
        records.write_json(folder / "end.json", end)
    return {**end, "folder": str(folder)}


@contextlib.contextmanager
def _forwarding(children: Children) -> Iterator[None]:
    """Passes stop signals on; the second Ctrl-C kills."""
    count = 0

    def forward(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        children.send_signal(number if count == 1 else signal.SIGKILL)
        if count == 1:
            tqdm.write("stopping after a checkpoint; once more to stop at once", file=sys.stderr)

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _died(children: Children, silent: bool, minutes: float) -> dict[str, Any]:
    """Describes a run that could not say itself how it ended."""
    if silent:
        reason = f"killed after silence_minutes={minutes:g} without a sign of life"
        return {"state": records.KILLED, "reason": f"{reason}; the same command goes on"}
    number, code = children.failed or (0, 0)
    who = f"process {number} " if children.count > 1 else ""
    if code < 0:
        reason = f"{who}killed by {signal.Signals(-code).name}; the same command goes on"
        return {"state": records.KILLED, "reason": reason}
    return {
        "state": records.FAILED,
        "reason": f"{who}ended with exit code {code}; log.txt has the rest",
    }
