"""One process works on a run: raced for, elsewhere, orphaned, and where the kernel has no locks."""

import errno
import fcntl
import multiprocessing
import os
import socket
import threading
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from lives import FORKED

from bench import records
from bench.launch import lock
from bench.launch.lock import locked

HERE = socket.gethostname()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {
        "POLL_SECONDS": 0.02,
        "ORPHAN_SECONDS": 0.3,
        "RENEWAL_SECONDS": 0.05,
        "WATCH_SECONDS": 1.5,
        "SETTLE_SECONDS": 0.2,
    }.items():
        monkeypatch.setattr(lock, name, seconds)


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system whose server knows no locks."""

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.fixture
def private_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that keeps locks to each machine: another's are never seen."""
    monkeypatch.setattr(fcntl, "flock", lambda descriptor, operation: None)


def test_a_run_is_held_once_and_again_after_it_was_let_go(tmp_path: Path) -> None:
    with locked(tmp_path / "run"):
        text = f"run is being worked on by another process \\(host {HERE}, pid {os.getpid()}\\)"
        with pytest.raises(ValueError, match=text), locked(tmp_path / "run"):
            pass
    with locked(tmp_path / "run"):
        pass


def test_a_process_that_was_killed_leaves_nothing_that_hinders(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(f"host {HERE}, pid 999999999\n000000000007\n")
    start = time.monotonic()
    with locked(tmp_path):
        assert time.monotonic() - start < lock.WATCH_SECONDS


def test_a_child_that_outlives_its_parent_is_waited_for(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.write(descriptor, f"host {HERE}, pid 999999999\n".encode())
    threading.Timer(0.15, os.close, [descriptor]).start()
    with locked(tmp_path):
        pass


def race(folder: Path, barrier: Barrier, answers: "multiprocessing.SimpleQueue[str]") -> None:
    barrier.wait()
    try:
        with locked(folder):
            answers.put("works")
            barrier.wait()  # until all have tried
    except ValueError as error:
        answers.put(str(error))
        barrier.wait()


def test_of_processes_that_race_exactly_one_works(tmp_path: Path) -> None:
    count = 6
    barrier, answers = FORKED.Barrier(count), FORKED.SimpleQueue()
    racers = [
        FORKED.Process(target=race, args=(tmp_path / "run", barrier, answers)) for _ in range(count)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    told = sorted(answers.get() for _ in racers)
    assert told[-1] == "works"
    assert all(text.startswith("run is being worked on by another") for text in told[:-1])


def test_a_run_set_aside_while_its_lock_was_waited_for_is_not_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, moved = tmp_path / "run", []
    take = lock._take

    def set_aside_meanwhile(*arguments: Any) -> str:
        if not moved:
            moved.append(folder.rename(tmp_path / "run.old1"))
        return take(*arguments)

    monkeypatch.setattr(lock, "_take", set_aside_meanwhile)
    with locked(folder) as descriptor:
        assert os.path.samestat(os.fstat(descriptor), (folder / "lock").stat())


@pytest.mark.parametrize("locks", ["no_locks", "private_locks"])
class TestWithoutLocksOfTheServer:
    """Several machines on one disk whose locks do not reach from one to the other."""

    @pytest.fixture(autouse=True)
    def _locks(self, locks: str, request: pytest.FixtureRequest) -> None:
        request.getfixturevalue(locks)

    def as_host(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(socket, "gethostname", lambda: name)

    def test_a_holder_that_renews_its_lock_is_respected(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.as_host("one", monkeypatch)
        with locked(tmp_path):
            self.as_host("other", monkeypatch)
            with (
                pytest.raises(ValueError, match=r"by another process \(host one"),
                locked(tmp_path),
            ):
                pass

    def test_a_run_whose_heart_beats_is_respected(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its launcher was killed, and it is about to save its checkpoint."""
        (tmp_path / "lock").write_text("host one, pid 7\n000000000007\n")
        records.write_json(tmp_path / "progress.json", {"time": 0})
        beat = threading.Timer(0.2, records.write_json, [tmp_path / "progress.json", {"time": 1}])
        beat.start()
        with pytest.raises(ValueError, match="by another process"), locked(tmp_path):
            pass
        beat.join()

    def test_a_holder_without_a_sign_of_life_is_not_waited_for_long(self, tmp_path: Path) -> None:
        (tmp_path / "lock").write_text("host one, pid 7\n000000000007\n")
        start = time.monotonic()
        with locked(tmp_path):
            assert time.monotonic() - start > lock.WATCH_SECONDS

    def test_a_run_that_has_ended_is_entered_at_once(self, tmp_path: Path) -> None:
        (tmp_path / "lock").write_text("host one, pid 7\n000000000007\n")
        records.write_json(tmp_path / "end.json", {"state": "interrupted"})
        start = time.monotonic()
        with locked(tmp_path):
            assert time.monotonic() - start < lock.WATCH_SECONDS

    def test_of_two_claims_at_the_same_moment_the_last_one_counts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lock, "WATCH_SECONDS", 0.1)
        (tmp_path / "lock").write_text("host one, pid 7\n000000000007\n")
        slept = time.sleep

        def claimed_meanwhile(seconds: float) -> None:
            if seconds == lock.SETTLE_SECONDS:
                (tmp_path / "lock").write_text("host another, pid 8\n000000000000\n")
            slept(seconds)

        monkeypatch.setattr(time, "sleep", claimed_meanwhile)
        with pytest.raises(ValueError, match=r"\(host another, pid 8\)"), locked(tmp_path):
            pass


def test_an_error_that_is_no_missing_lock_is_not_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output error"), locked(tmp_path):
        pass
