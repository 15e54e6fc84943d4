"""The processes of one run on this machine: started together, told together, ended together.

This file imports no torch. torchrun would do as much, but hides the reason of a failure and lets
processes outlive it.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

PARENT = "SEGBENCH_PARENT"  # set for processes whose parent holds the lock of their run
MEETING = "SEGBENCH_MEETING"  # the file by which the processes of one machine find each other
# What they then say to each other stays on this machine; NCCL_SOCKET_IFNAME is gloo's for GPUs.
_LOOPBACK_NAME = "lo0" if sys.platform == "darwin" else "lo"
LOOPBACK = {"GLOO_SOCKET_IFNAME": _LOOPBACK_NAME, "NCCL_SOCKET_IFNAME": _LOOPBACK_NAME}
GRACE_SECONDS = 10.0  # for the others to end by themselves when one has failed

# Threads that wait by spinning collapse when another program wants a core. Seen once each, with one
# of two cores busy: a short run of SegNet-Basic took 24 times as long as on idle cores, and 6 times
# with threads that sleep; on idle cores sleeping cost a fifth. OMP_WAIT_POLICY=ACTIVE spins.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}
# glibc returns freed memory to the kernel by default and pays page faults for the same tensors
# every iteration; keeping it made SegNet-Basic's training 7 % faster on a CPU.
MALLOC = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "268435456",
}


def end_with_parent() -> None:
    """Asks Linux for SIGTERM when the parent dies, however it dies."""
    if sys.platform == "linux" and os.getppid() != 1:
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
    if os.environ.get(PARENT, str(os.getppid())) != str(os.getppid()):
        sys.exit("the process that started this run is gone")  # killed while torch was imported


class Children:
    """One process of `python -m bench.run FOLDER`, or several that share the run.

    Attributes:
        count: of the processes.
        failed: the number and the exit code of the first one seen to fail, or None.

    Raises:
        ValueError: the log is a link, which leads elsewhere, or a FIFO.
    """

    def __init__(self, folder: Path, count: int, module: str, descriptors: list[int]) -> None:
        self.count = count
        self.failed: tuple[int, int] | None = None
        self._deadline: float | None = None
        log_file = folder / "log.txt"
        if os.path.lexists(log_file) and (log_file.is_symlink() or not log_file.is_file()):
            raise ValueError(f"{log_file}: not a regular file; remove it")
        place = tempfile.mkdtemp(prefix="segbench-meeting-")  # on this machine's own disk
        self._forget = weakref.finalize(self, shutil.rmtree, place, ignore_errors=True)
        shared = {PARENT: str(os.getpid()), MEETING: str(Path(place, "store")), **LOOPBACK}
        with log_file.open("a") as log:
            self._processes = [
                subprocess.Popen(
                    [sys.executable, "-m", module, str(folder)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C reaches it once, through us
                    pass_fds=descriptors,
                    env=child_environment() | shared | _place(number, count),
                )
                for number in range(count)
            ]

    def poll(self) -> int | None:
        """Returns the exit code of the run, or None while a process lives.

        A failure gives the others a moment to save what they know, then ends them.
        """
        codes = [process.poll() for process in self._processes]
        for number, code in enumerate(codes):
            if code and self.failed is None:
                self.failed = number, code
                self._deadline = time.monotonic() + GRACE_SECONDS
        if None not in codes:
            self._forget()
            return self.failed[1] if self.failed else 0
        if self._deadline is not None and time.monotonic() > self._deadline:
            self.kill()
        return None

    def stopped(self) -> bool:
        """Says whether a process is suspended (SIGSTOP, SLURM), where the system tells."""
        return any(_state(process.pid) == "T" for process in self._processes)

    def send_signal(self, number: int) -> None:
        """Sends a signal to every process that lives."""
        for process in self._processes:
            process.send_signal(number)

    def kill(self) -> None:
        """Kills every process that lives."""
        for process in self._processes:
            process.kill()


def _state(pid: int) -> str:
    """Returns Linux's letter for what a process does, `T` for stopped; elsewhere nothing."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def child_environment(*, keep_memory: bool = True) -> dict[str, str]:
    """Returns the environment of a process of ours: torch's threads and memory, our import path.

    Args:
        keep_memory: have its C library keep freed memory, as runs do.
    """
    path = os.pathsep.join(p for p in sys.path if p)
    return {**(MALLOC if keep_memory else {}), **WAITING, **os.environ, "PYTHONPATH": path}


def worker_pool(
    processes: int | None, start: Callable[[], object] | None = None
) -> ProcessPoolExecutor:
    """Returns processes that start afresh: a fork of one whose torch has threads may hang.

    Args:
        processes: how many; None: one a core.
        start: is called in each of them first.

    Raises:
        ValueError: the system has no room for what they wait on each other with.
    """
    try:
        return ProcessPoolExecutor(processes, get_context("spawn"), initializer=start)
    except (OSError, ImportError) as error:  # the latter where there are no semaphores at all
        raise ValueError(
            f"worker processes cannot be started ({error}): their semaphores need a /dev/shm with "
            "room; mount a larger one (docker run --shm-size=64m), or use one process"
        ) from error


def _place(number: int, count: int) -> dict[str, str]:
    """Names one of several processes as torchrun does; see bench/run/distributed.py."""
    place = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    return {key: str(value) for key, value in place.items()}
