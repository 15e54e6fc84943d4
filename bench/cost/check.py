"""Is this machine fit to measure on? Known times, known work, known memory, and its noise.

Each check measures something whose result is known with the code that measures networks.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from bench.cost.memory import MemoryMeter
from bench.cost.nvml import Card, Process, cuda_card
from bench.cost.timing import take_sample

SLEEP_MS = 50.0
SLEEP_TOLERANCE_MS = 5.0
DOUBLE = (1.7, 2.3)  # what doubled work may take; launching and caches are not doubled
ALLOCATION_BYTES = 512 * 2**20
ALLOCATION_TOLERANCE = 0.05  # of it: pages and blocks are rounded, and libraries initialise
REPEATS = 20
NOISY = 0.05  # interquartile range as a fraction of the median


class Finding(NamedTuple):
    """What a check found; `sound` is None where there is nothing to pass or fail."""

    what: str
    sound: bool | None
    text: str


class KnownWork:
    """A function timed as if it were a network's forward pass."""

    def __init__(self, function: Callable[[], Any], device: torch.device) -> None:
        self.function, self.device = function, device

    def phases(self) -> tuple[str, ...]:
        """One phase."""
        return ("forward",)

    def run(self, mark: Callable[[], None] = lambda: None) -> None:
        """Calls the function."""
        mark()
        self.function()
        mark()


def check_machine(device_name: str) -> Iterator[Finding]:
    """Checks a device: auto, cpu, cuda or cuda:N.

    Raises:
        ValueError: the device does not exist here.
    """
    device = _named_device(device_name)
    card, reason = cuda_card(device_name)
    yield from check_driver(card, reason)
    meter = MemoryMeter(card)  # before the device is used
    if device.index is not None:
        torch.cuda.set_device(device)
    yield from check_memory(meter, device)
    yield _sleep(device)
    yield _doubled(device)
    yield _noise(device)


def _named_device(name: str) -> torch.device:
    """Returns the device of a name, and puts nothing on it.

    Raises:
        ValueError: it is not one of auto, cpu, cuda and cuda:N, or not here.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if count else "cpu"
    kind, _, number = name.partition(":")
    if name != "cpu" and (kind != "cuda" or not (number or "0").isdigit()):
        raise ValueError(f"--device is {name}; it must be auto, cpu, cuda or cuda:N")
    if kind == "cuda" and int(number or 0) >= count:
        devices = f"{count} CUDA devices" if count else "no CUDA device"
        raise ValueError(f"--device {name}: torch finds {devices}; try --device cpu")
    return torch.device(name)


def check_driver(card: Card | None, reason: str | None) -> Iterator[Finding]:
    """Says what NVML tells of a card and who else uses it, or why it tells nothing."""
    if card is None:
        yield Finding("driver", None, f"{reason}; its readings will be n/a")
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    yield Finding("driver", None, f"NVML knows this device as {card.uuid}")
    if visible is not None:
        yield Finding("driver", None, f"CUDA_VISIBLE_DEVICES={visible}: matched by UUID, not index")
    if card.is_mig():
        text = "MIG is on: clocks, power and energy are those of the whole card, or n/a"
        yield Finding("driver", None, text)
    yield Finding("other processes", *judge_processes(card.processes(), os.getpid()))
    used = card.used_bytes()
    if used is not None:
        yield Finding("driver", None, f"{used / 1e6:.0f} MB of the card are in use before we begin")
    state = card.state()
    if state["throttled"]:
        yield Finding("clock", False, f"throttled now: {', '.join(state['throttled'])}")
    for what, why in card.missing.items():
        yield Finding("driver", None, f"{what}: n/a ({why})")


def judge_processes(processes: list[Process] | None, pid: int) -> tuple[bool | None, str]:
    """Says in words who else uses the card; memory and times are ours alone if nobody does."""
    if processes is None:
        return None, "n/a: the driver does not list them"
    others = [number for number, _ in processes if number != pid]
    if not others:
        return True, "none on this card that the driver shows"
    hidden = sum(used is None for _, used in processes)
    text = f"{len(others)} on this card (process ids {', '.join(map(str, others))})"
    return False, text + (f"; the driver hides the memory of {hidden}" if hidden else "")


def check_memory(meter: MemoryMeter, device: torch.device) -> Iterator[Finding]:
    """Allocates a known amount and looks for it in each source."""
    if device.type == "cuda":
        meter.restart(device)  # an earlier peak of this process would hide what is allocated now
    before = meter.read(device)
    block = torch.ones(ALLOCATION_BYTES, dtype=torch.uint8, device=device)  # written: resident
    after = meter.read(device)
    for source, reading in after.items():
        if not source.endswith("_bytes"):
            continue
        earlier = before[source]
        if earlier is None and device.type == "cpu":
            earlier = 0  # an older peak hid what little the process had grown since its baseline
        if reading is None or earlier is None:
            yield Finding(f"memory, {source}", None, "n/a")
            continue
        grown = reading - earlier
        sound = abs(grown - block.nbytes) <= ALLOCATION_TOLERANCE * block.nbytes
        text = f"{block.nbytes / 1e6:.0f} MB allocated, {grown / 1e6:.0f} MB seen"
        if source == "nvml_process_bytes":
            text += f" (found by {after['nvml_source']})"
        yield Finding(f"memory, {source}", sound, text)


def _sleep(device: torch.device) -> Finding:
    """Times a known sleep; on a GPU, a kernel that waits, by events and by the wall clock."""
    if device.type == "cuda":
        cycles = 100_000_000
        wait = KnownWork(lambda: torch.cuda._sleep(cycles), device)  # type: ignore[no-untyped-call]
        take_sample(wait)  # the first loads the kernel
        sample = take_sample(wait)
        events, wall = (sample[clock]["step_ms"] for clock in ("device", "wall"))
        text = f"a waiting kernel took {events:.1f} ms by events, {wall:.1f} ms by the wall clock"
        return Finding("known time", abs(events - wall) <= SLEEP_TOLERANCE_MS, text)
    sample = take_sample(KnownWork(lambda: time.sleep(SLEEP_MS / 1e3), device))
    wall, process = (sample[clock]["step_ms"] for clock in ("wall", "process"))
    sound = abs(wall - SLEEP_MS) <= SLEEP_TOLERANCE_MS and process <= SLEEP_TOLERANCE_MS
    text = f"a sleep of {SLEEP_MS:.0f} ms took {wall:.1f} ms, {process:.1f} ms of them computing"
    return Finding("known time", sound, text)


def _doubled(device: torch.device) -> Finding:
    """Times work and the same work twice, in turns."""
    once, twice = _convolution(device, 1), _convolution(device, 2)
    pairs = [(_milliseconds(once), _milliseconds(twice)) for _ in range(REPEATS)]
    single, double = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = double / single
    text = f"twice the work took {ratio:.2f} times as long ({single:.1f} and {double:.1f} ms)"
    return Finding("doubled work", DOUBLE[0] <= ratio <= DOUBLE[1], text)


def _noise(device: torch.device) -> Finding:
    work = _convolution(device, 1)
    times = [_milliseconds(work) for _ in range(REPEATS)]
    low, middle, high = statistics.quantiles(times, n=4)
    noise = (high - low) / middle
    verdict = "quiet" if noise <= NOISY else "noisy: close other programs, or measure longer"
    text = f"interquartile range {100 * noise:.1f} % of the median of {REPEATS}: {verdict}"
    return Finding("noise", noise <= NOISY, text)


def _convolution(device: torch.device, amount: int) -> KnownWork:
    """Returns a 7x7 convolution of 64 channels, done `amount` times; warmed up."""
    images = torch.randn(32 if device.type == "cuda" else 1, 64, 90, 120, device=device)
    kernel = torch.randn(64, 64, 7, 7, device=device)

    def convolve() -> None:
        for _ in range(amount):
            F.conv2d(images, kernel, padding=3)

    work = KnownWork(convolve, device)
    for _ in range(3):
        take_sample(work)
    return work


def _milliseconds(work: KnownWork) -> float:
    sample = take_sample(work)
    return sample["device" if "device" in sample else "wall"]["step_ms"]
