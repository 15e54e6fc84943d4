"""Timing: a known sleep, warm-up, turns and the uncertainty of a median."""

import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import torch

from bench.cost.check import KnownWork
from bench.cost.timing import take_sample, take_turn, waited_ms, warm_up
from bench.cost.turns import cores_taken, main_clock, uncertainty

CPU = torch.device("cpu")


def test_a_sleep_takes_its_time_and_computes_nothing() -> None:
    sample = take_sample(KnownWork(lambda: time.sleep(0.02), CPU))
    assert sample["wall"]["step_ms"] >= 20
    assert sample["process"]["step_ms"] < 10
    assert sample["wall"]["forward_ms"] == sample["wall"]["step_ms"]


class TwoPhases(KnownWork):
    """The function once as a forward pass, and once as a backward pass."""

    def phases(self) -> tuple[str, ...]:
        return ("forward", "backward")

    def run(self, mark: Callable[[], None] = lambda: None) -> None:
        mark()
        self.function()
        mark()
        self.function()
        mark()


def test_phases_add_up_to_the_step() -> None:
    wall = take_sample(TwoPhases(lambda: time.sleep(0.005), CPU))["wall"]
    assert wall["forward_ms"] + wall["backward_ms"] == pytest.approx(wall["step_ms"], abs=1e-3)
    assert wall["backward_ms"] >= 5


def test_on_a_gpu_events_mark_the_phases_and_nothing_waits_between_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The order of calls, on a second GPU that is not there; each event is 3 ms after the last."""
    calls: list[str] = []
    moments = iter(range(0, 100, 3))

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: str) -> None:
            calls.append(f"event on {stream}")
            self.moment = next(moments)

        def elapsed_time(self, later: "Event") -> float:
            return later.moment - self.moment

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: calls.append(f"wait, {device}"))
    work = TwoPhases(lambda: calls.append("work"), torch.device("cuda:1"))
    sample = take_sample(work)
    event, wait = "event on stream of cuda:1", "wait, cuda:1"
    by_events = [wait, event, "work", event, "work", event, wait]
    by_the_wall = [wait, "work", wait, "work", wait]
    assert calls == by_events + by_the_wall
    assert sample["device"] == {"forward_ms": 3, "backward_ms": 3, "step_ms": 6}
    assert set(sample["wall"]) == {"forward_ms", "backward_ms", "step_ms"}


SPINNING = "import os; os.sched_setaffinity(0, {int(input())}); print(flush=True)\nwhile True: pass"


@pytest.mark.skipif(not waited_ms(), reason="this system does not tell who waits for a core")
def test_a_core_that_another_program_has_is_waited_for() -> None:
    """Both on one core, of which each then has about half."""
    cores = os.sched_getaffinity(0)
    core = min(cores)
    rival = subprocess.Popen(
        [sys.executable, "-c", SPINNING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert rival.stdin is not None
    assert rival.stdout is not None
    try:
        os.sched_setaffinity(0, {core})
        rival.stdin.write(f"{core}\n")
        rival.stdin.flush()
        rival.stdout.readline()
        sample = take_sample(KnownWork(lambda: sum(range(10_000_000)), CPU))
    finally:
        os.sched_setaffinity(0, cores)
        rival.kill()
        rival.communicate()
    assert sample["waiting"]["step_ms"] > 0.3 * sample["process"]["step_ms"]
    assert main_clock([sample]) == "process"


def test_a_sleep_waits_for_no_core() -> None:
    """Of five sleeps, since after one the core may be taken by another program."""
    samples = [take_sample(KnownWork(lambda: time.sleep(0.05), CPU)) for _ in range(5)]
    assert min(one.get("waiting", {"step_ms": 0.0})["step_ms"] for one in samples) < 25


def clocks(wall: float, process: float, waiting: float) -> dict[str, dict[str, float]]:
    named = {"wall": wall, "process": process, "waiting": waiting}
    return {clock: {"step_ms": value} for clock, value in named.items()}


def test_the_part_of_the_needed_time_that_others_had_decides_the_clock() -> None:
    """Two threads computed for 180 ms together within 100 ms: no core was missing."""
    assert cores_taken([clocks(100, 180, 0)]) == 0
    assert cores_taken([clocks(100, 90, 0), clocks(100, 60, 50)]) == pytest.approx(50 / 200)
    assert main_clock([clocks(100, 98, 4)]) == "wall"
    assert main_clock([clocks(100, 90, 10)]) == "process"
    unknown = {clock: times for clock, times in clocks(9, 1, 0).items() if clock != "waiting"}
    assert cores_taken([unknown]) is None
    assert main_clock([unknown]) == "wall"
    assert main_clock([{**clocks(100, 10, 90), "device": {"step_ms": 5.0}}]) == "device"


def test_a_warm_up_goes_on_until_times_settle() -> None:
    delays = iter([0.05, 0.03, 0.02, 0.01, 0.01, 0.01] + [0.01] * 1000)
    warm = warm_up(KnownWork(lambda: time.sleep(next(delays)), CPU), seconds=20.0)
    assert warm["steady"]
    assert warm["iterations"] >= 6


def test_a_warm_up_that_never_settles_ends() -> None:
    delays = iter([0.002 * 2**n for n in range(20)])
    warm = warm_up(KnownWork(lambda: time.sleep(next(delays)), CPU), seconds=0.2)
    assert not warm["steady"]


def test_a_turn_takes_no_more_than_it_is_given() -> None:
    calls = []
    samples = take_turn(KnownWork(lambda: calls.append(1), CPU), typical_ms=0.1, at_most=7)
    assert len(samples) == 7
    assert len(calls) == 8  # one untimed, to regain caches and clocks


def test_a_slow_network_is_not_run_untimed() -> None:
    calls = []
    take_turn(KnownWork(lambda: calls.append(1), CPU), typical_ms=500.0, at_most=1)
    assert len(calls) == 1


def test_few_samples_are_not_trusted() -> None:
    assert uncertainty([1.0, 1.0]) == float("inf")


def test_the_uncertainty_ignores_the_unit_and_an_outlier() -> None:
    samples = [10.0, 10.1, 9.9, 10.0, 10.2, 9.8, 10.0]
    assert uncertainty([1000 * s for s in samples]) == pytest.approx(uncertainty(samples))
    assert uncertainty([*samples, 500.0]) < 0.03


def test_the_uncertainty_is_the_spread_of_medians() -> None:
    """Half a 95 % interval: about two standard deviations of the median of such samples."""
    draw = random.Random(0)
    rows = [[draw.gauss(100, 5) for _ in range(40)] for _ in range(500)]
    spread = 1.96 * statistics.stdev(statistics.median(row) for row in rows) / 100
    claimed = statistics.mean(uncertainty(row) for row in rows)
    assert claimed == pytest.approx(spread, rel=0.25)
