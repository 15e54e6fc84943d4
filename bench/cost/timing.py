"""Timing a workload: every raw sample, by more than one clock, after a warm-up until stable.

On a GPU an iteration is timed by CUDA events and as a whole by the wall clock, with no
synchronisation inside; a second iteration, synchronised after each phase, gives the phases by the
wall clock, and a replay of the forward pass as a CUDA graph tells what its launches cost. On a CPU
one iteration gives wall time, process time over all threads, and for how long these threads waited
for a core that another program had.
"""

import contextlib
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch

from bench.cost.forward_graph import ForwardGraph

Sample = dict[str, dict[str, float]]  # clock -> forward_ms, ..., step_ms

STEADY = 0.05  # warm when the last three iterations lie within this of each other
WARM_UP_SHARE = 0.25  # of the time limit, at most
SHORT_SECONDS = 0.1  # a turn of a network faster than this begins with an untimed iteration
TURN_SECONDS = 1.0


class Timed(Protocol):
    """Work in phases, such as `bench.cost.workload.Workload`."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    def phases(self) -> tuple[str, ...]:
        """Names the phases in order."""

    def run(self, mark: Callable[[], None] = ...) -> None:
        """Does it once; calls `mark` at the beginning and after each phase."""


def take_sample(work: Timed, graph: ForwardGraph | None = None) -> Sample:
    """Times one iteration, on a GPU two, and a replay of the forward pass where it is given."""
    if work.device.type != "cuda":
        return _host_clocks(work)
    sample = _events(work)
    sample["wall"] = {**_host_clocks(work)["wall"], **sample["wall"]}
    if graph is not None:
        sample["graph"] = {"forward_ms": round(graph.replay_ms(), 4)}
    return sample


def _events(work: Timed) -> Sample:
    """Times an iteration without synchronisation inside: by events, the whole by the wall too."""
    events: list[torch.cuda.Event] = []

    def mark() -> None:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(work.device))
        events.append(event)

    torch.cuda.synchronize(work.device)
    start = time.perf_counter()
    work.run(mark)
    torch.cuda.synchronize(work.device)
    wall = 1e3 * (time.perf_counter() - start)
    laps = [start.elapsed_time(end) for start, end in itertools.pairwise(events)]
    device = _named(work, laps, events[0].elapsed_time(events[-1]))
    return {"device": device, "wall": {"step_ms": wall}}


def _host_clocks(work: Timed) -> Sample:
    """Times an iteration by wall and process time, on a GPU synchronised after each phase."""
    cuda = work.device.type == "cuda"
    readings: list[tuple[float, float]] = []

    def mark() -> None:
        if cuda:
            torch.cuda.synchronize(work.device)
        readings.append((1e3 * time.perf_counter(), 1e3 * time.process_time()))

    before = waited_ms()
    work.run(mark)
    after = waited_ms()
    sample = {}
    for clock, times in zip(("wall", "process"), zip(*readings, strict=True), strict=True):
        laps = [end - start for start, end in itertools.pairwise(times)]
        sample[clock] = _named(work, laps, times[-1] - times[0])
    if not cuda and before:
        waited = sum(after[thread] - before[thread] for thread in before.keys() & after.keys())
        sample["waiting"] = {"step_ms": round(waited, 4)}
    return sample


def waited_ms() -> dict[str, float]:
    """Returns for how long each thread of this process was ready to compute and had no core.

    Empty where the system does not tell: it is Linux that does, in nanoseconds (proc(5), the second
    number of schedstat).
    """
    waited = {}
    for path in Path("/proc/self/task").glob("*/schedstat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
            computed, waiting, _ = map(int, path.read_text().split())
            if computed > 0:  # else the kernel does not count
                waited[path.parent.name] = waiting / 1e6
    return waited


def _named(work: Timed, laps: list[float], step: float) -> dict[str, float]:
    named = {f"{phase}_ms": lap for phase, lap in zip(work.phases(), laps, strict=True)}
    return {key: round(value, 4) for key, value in {**named, "step_ms": step}.items()}


def warm_up(work: Timed, seconds: float) -> dict[str, Any]:
    """Iterates until three iterations in a row take the same time, or the time is up.

    Returns:
        `iterations`, `seconds`, and whether it became `steady`.
    """
    start = time.perf_counter()
    limit = start + WARM_UP_SHARE * seconds
    times: list[float] = []
    steady = False
    while not steady and (len(times) < 2 or time.perf_counter() < limit):
        times.append(take_sample(work)["wall"]["step_ms"])
        last = times[-3:]
        steady = len(last) == 3 and max(last) <= (1 + STEADY) * min(last)
    return {
        "iterations": len(times),
        "seconds": round(time.perf_counter() - start, 3),
        "steady": steady,
        "step_ms": times,
    }


def take_turn(
    work: Timed, typical_ms: float, at_most: int, graph: ForwardGraph | None = None
) -> list[Sample]:
    """Takes samples for a second, at least one; a fast network first regains caches and clocks."""
    if typical_ms < 1e3 * SHORT_SECONDS:
        work.run()
    end = time.perf_counter() + TURN_SECONDS
    samples = [take_sample(work, graph)]
    while len(samples) < at_most and time.perf_counter() < end:
        samples.append(take_sample(work, graph))
    return samples
