"""One process works on a run, whatever file system its folder lies on. This file imports no torch.

The kernel's lock (flock) ends with its last holder, however that one ends, so that nothing stale is
left behind. Some network file systems refuse it, and some keep it to one machine. There, and
wherever the holder of record is another machine, signs of life decide: the holder renews the lock
file every few seconds, and the run itself writes RUN/progress.json.
"""

import contextlib
import errno
import fcntl
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

POLL_SECONDS = 0.2
ORPHAN_SECONDS = 120.0  # how long to wait for a child whose parent was killed
RENEWAL_SECONDS = 5.0
WATCH_SECONDS = 30.0  # a holder on another host is presumed dead after so long
SETTLE_SECONDS = 3.0  # if several claim a run at once, the last writer wins; > a poll
WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Makes a run's folder and holds it for one process and its children.

    Yields:
        A descriptor for children to inherit: they then hold the run too, should we be killed.

    Raises:
        ValueError: another process holds it.
    """
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, is_new = _open(folder / "lock")
        try:
            claim = _take(descriptor, folder, is_new)
            if _is_at(descriptor, folder / "lock"):  # else the run was set aside meanwhile
                with _renewing(descriptor, claim):
                    yield descriptor
                return
        finally:
            os.close(descriptor)


def _open(path: Path) -> tuple[int, bool]:
    """Opens the lock file and says whether it was made by this call, which only one can."""
    with contextlib.suppress(FileExistsError):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666), False


def _take(descriptor: int, folder: Path, is_new: bool) -> str:
    """Takes a lock and returns what its file says now.

    Raises:
        ValueError: another process holds it.
    """
    patience = time.monotonic() + ORPHAN_SECONDS
    while (kernel := _flock(descriptor)) is False:
        # A child whose parent was killed lets go as soon as it has saved its checkpoint.
        if not _is_orphaned(_holder(descriptor)) or time.monotonic() > patience:
            raise _refusal(folder, _holder(descriptor))
        time.sleep(POLL_SECONDS)
    claim = f"host {socket.gethostname()}, pid {os.getpid()}"
    holder = _holder(descriptor)
    doubtful = not is_new and (kernel is None or _host(holder) != socket.gethostname())
    if doubtful and not (folder / "end.json").exists() and _lives(descriptor, folder):
        raise _refusal(folder, _holder(descriptor))
    os.ftruncate(descriptor, 0)
    _write(descriptor, claim, 0)
    if doubtful:
        time.sleep(SETTLE_SECONDS)
        if _holder(descriptor) != claim:
            raise _refusal(folder, _holder(descriptor))
    return claim


def _flock(descriptor: int) -> bool | None:
    """Takes the kernel's lock; False: another process has it, None: there are no locks here."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        return None
    return True


def _refusal(folder: Path, holder: str) -> ValueError:
    return ValueError(
        f"{folder.name} is being worked on by another process ({holder or 'just starting'}); "
        "wait for it or stop it"
    )


def _holder(descriptor: int) -> str:
    """Returns `host H, pid P`, or nothing while that is being written."""
    return os.pread(descriptor, 1000, 0).decode(errors="replace").partition("\n")[0]


def _host(holder: str) -> str:
    return holder.removeprefix("host ").rpartition(", pid ")[0]


def _is_orphaned(holder: str) -> bool:
    """Says whether the process that took a lock on this machine is no more."""
    pid = holder.rpartition(", pid ")[2]
    here = _host(holder) == socket.gethostname() and pid.isdigit()
    return here and not Path(f"/proc/{pid}").exists()


def _lives(descriptor: int, folder: Path) -> bool:
    """Waits for a sign of life of whoever holds a run."""
    before = _signs_of_life(folder)
    end = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < end:
        time.sleep(POLL_SECONDS)
        if _signs_of_life(folder) != before:
            return True
    return False


def _signs_of_life(folder: Path) -> list[bytes]:
    """Reads what changes while a run lives; opening anew asks the server of a network disk."""
    signs = []
    for path in (folder / "lock", folder / "progress.json"):
        with contextlib.suppress(FileNotFoundError):
            signs.append(path.read_bytes())
    return signs


def _is_at(descriptor: int, path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())


def _write(descriptor: int, claim: str, renewals: int) -> None:
    os.pwrite(descriptor, f"{claim}\n{renewals:012d}\n".encode(), 0)
    os.fsync(descriptor)  # on a network disk it reaches the server


@contextlib.contextmanager
def _renewing(descriptor: int, claim: str) -> Iterator[None]:
    """Renews a lock beside whatever the `with` block does."""
    done = threading.Event()

    def renew() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # the main thread's
        renewals = 0
        with contextlib.suppress(OSError):  # a disk that cannot be written ends the run by itself
            while not done.wait(RENEWAL_SECONDS):
                renewals += 1
                _write(descriptor, claim, renewals)

    thread = threading.Thread(target=renew, name="renewing the lock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
