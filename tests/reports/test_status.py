"""`python -m reports status`: what a running, a silent and an ended run say of themselves."""

import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import records
from reports.read.runs import read_runs
from reports.status import status

pytest_plugins = ["run_fixtures"]

Make = Callable[..., Path]
REASON = "a reason that is rather long, " * 5


def running(make_run: Make, name: str, age: float) -> Path:
    folder = make_run(name, None, state=None)
    progress = {
        "phase": "training", "done": 30, "total": 100, "loss": 1.0, "seconds": 12.0,
        "time": time.time() - age,
    }  # fmt: skip
    records.write_json(folder / "progress.json", progress)
    os.utime(folder / "progress.json", (progress["time"], progress["time"]))
    return folder


@pytest.fixture
def lines(make_run: Make, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[str]]:
    """Makes three runs, and gives their status on a terminal so wide; 0: on no terminal."""
    running(make_run, "SegNet", 5)
    running(make_run, "FCN", 7200)
    failed = make_run("U-Net", None, state="failed")
    records.write_json(failed / "end.json", {"state": "failed", "reason": REASON})

    def shown(columns: int) -> list[str]:
        size = os.terminal_size((columns, 9))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: columns > 0)
        monkeypatch.setattr(shutil, "get_terminal_size", lambda: size)
        return status(read_runs(records.run_folders(failed.parent))).splitlines()

    return shown


def test_a_run_says_how_long_it_takes_and_when_it_was_heard(
    lines: Callable[[int], list[str]],
) -> None:
    header, _, first, second, third, *rest, total = lines(0)
    assert header.split() == ["network", "seed", "state", "evaluated", "left", "heard", "detail"]
    assert re.fullmatch(r"SegNet +0 +running +14 min +[5-9] s ago +training 30/100", first)
    assert second.split()[:6] == ["FCN", "0", "silent", "2.0", "h", "ago"]
    assert third.split()[:3] == ["U-Net", "0", "failed"]
    whole = " ".join(" ".join(rest).split())
    assert "FCN, seed 0: no sign of life for 120 min, then training 30/100" in whole
    assert f"U-Net, seed 0: {REASON.strip()}" in whole
    assert total == "3 runs: 1 silent, 1 running, 1 failed"


@pytest.mark.parametrize("columns", [100, 140])
def test_a_terminal_gets_no_longer_lines_than_it_is_wide(
    lines: Callable[[int], list[str]], columns: int
) -> None:
    shown = lines(columns)
    assert max(map(len, shown)) <= columns
    assert shown[4].endswith("...")


def test_a_clock_that_is_ahead_is_said_and_a_progress_without_numbers_is_no_failure(
    make_run: Make,
) -> None:
    ahead = running(make_run, "SegNet", -7200)
    bare = running(make_run, "FCN", 5)
    records.write_json(bare / "progress.json", {"phase": "training", "time": time.time()})
    shown = status(read_runs([ahead, bare]))
    assert "its clock is 2.0 h ahead" in shown
    assert "2 runs: 2 running" in shown


def test_a_clock_that_is_behind_is_told_from_a_run_that_hangs(make_run: Make) -> None:
    hangs, behind = running(make_run, "SegNet", 7200), running(make_run, "FCN", 7200)
    os.utime(behind / "progress.json")
    first, second = read_runs([hangs, behind])
    assert first.detail == "no sign of life for 120 min, then training 30/100"
    assert second.detail.endswith(
        "but the file is new: the run's clock is behind, or it was copied"
    )
