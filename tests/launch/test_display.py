"""When a silent run is killed, and when it is only asleep."""

import os
import signal
import time
from pathlib import Path

import pytest

from bench.launch import display
from bench.launch.processes import Children


class Asleep:
    """Stands for the time module of a machine that sleeps for an hour after two looks."""

    def __init__(self) -> None:
        self.now, self.looks = 0.0, 0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.looks += 1
        self.now += 3600.0 if self.looks == 2 else seconds


class Silent:
    """Children that say nothing, and end after some looks or when they are killed."""

    def __init__(self, looks: int, *, suspended: bool = False) -> None:
        self.looks, self.suspended, self.killed = looks, suspended, False

    def poll(self) -> int | None:
        self.looks -= 1
        return 0 if self.looks < 0 or self.killed else None

    def stopped(self) -> bool:
        return self.suspended

    def kill(self) -> None:
        self.killed = True


def watched(children: Silent, seconds: float, where: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(display, "time", Asleep())
    return display.watch(where, children, seconds)  # type: ignore[arg-type]


def test_a_sleep_of_the_machine_is_no_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not watched(Silent(50), 60.0, tmp_path, monkeypatch)


def test_silence_while_awake_is_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert watched(Silent(1000), 60.0, tmp_path, monkeypatch)


def test_a_suspended_run_is_not_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not watched(Silent(1000, suspended=True), 60.0, tmp_path, monkeypatch)


def test_a_stopped_process_is_seen_and_then_its_going_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "waits.py").write_text("import time; time.sleep(60)")
    monkeypatch.syspath_prepend(tmp_path)
    children = Children(tmp_path, 1, "waits", [])
    try:
        for number, expected in ((signal.SIGSTOP, True), (signal.SIGCONT, False)):
            children.send_signal(number)
            end = time.monotonic() + 20
            while children.stopped() is not expected:
                assert time.monotonic() < end
                time.sleep(0.01)
    finally:
        children.kill()
        while children.poll() is None:
            time.sleep(0.01)


@pytest.mark.parametrize("is_link", [True, False])
def test_a_log_that_leads_elsewhere_is_refused(tmp_path: Path, is_link: bool) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    log = tmp_path / "log.txt"
    log.symlink_to(victim) if is_link else os.mkfifo(log)
    with pytest.raises(ValueError, match=r"log\.txt: not a regular file; remove it"):
        Children(tmp_path, 1, "no_such_module", [])
    assert victim.read_text() == "precious"
