"""Timing in turns: one live process for each network, A B C A B C, told by this one.

A machine that slows down slows all of them down, and the calibration too, which takes part as one
more network. This file imports no torch.
"""

import contextlib
import math
import statistics
import time
from collections.abc import Sequence
from typing import Any

from bench.cost.measurement import Measurement
from bench.cost.measuring_process import MeasurementError, MeasuringProcess
from bench.records import State

ROUNDS = 5  # at least so many turns for each network
TAKEN = 0.05  # of the time that threads need the cores; wall time is not reported above that
FEWEST = 3  # samples that say anything about their spread; taken whatever the time limit

Sample = dict[str, dict[str, float]]  # clock -> forward_ms, ..., step_ms


def time_in_turns(measurements: Sequence[Measurement]) -> list[Measurement]:
    """Times networks together and writes into their records.

    Returns:
        Those that ran out of memory in company, and may fit alone.
    """
    if not measurements:
        return []
    first, rates = measurements[0], _Rates()
    with contextlib.ExitStack() as stack:
        calibrator = stack.enter_context(MeasuringProcess(first.config, first.log, timing=True))
        timings = []
        for measurement in measurements:
            process = measurement.process(timing=True)
            timings.append(
                Timing(measurement, stack.enter_context(process), alone=len(measurements) == 1)
            )
        for timing in timings:
            timing.warm_up()
        while any(timing.active for timing in timings):
            rates.take_turn(calibrator)
            for timing in timings:
                if timing.active:
                    timing.take_turn()
        for timing in timings:
            timing.conclude()
    for measurement in measurements:
        measurement.record["calibration"] = rates.summary()
        measurement.record["timed_with"] = [m.name for m in measurements if m is not measurement]
    return [timing.measurement for timing in timings if timing.crowded]


class _Rates:
    """The calibration's samples; a device too full for it has none."""

    def __init__(self) -> None:
        self.samples: list[dict[str, float]] = []
        self.reason: str | None = None

    def take_turn(self, calibrator: MeasuringProcess) -> None:
        if self.reason is None:
            try:
                self.samples.append(calibrator.ask("calibrate"))
            except MeasurementError as error:
                self.reason = error.reason

    def summary(self) -> dict[str, Any]:
        keys = self.samples[0] if self.samples else ()
        return {**{key: [s[key] for s in self.samples] for key in keys}, "reason": self.reason}


class Timing:
    """The timing of one network: its process, and the samples so far."""

    def __init__(self, measurement: Measurement, process: MeasuringProcess, *, alone: bool) -> None:
        self.measurement, self.process, self.alone = measurement, process, alone
        self.cost = measurement.config.cost
        self.active = True
        self.crowded = False  # ran out of memory in company
        self.samples: list[Sample] = []
        self.dropped: list[Sample] = []
        self.cards: list[dict[str, Any]] = []
        self.warm: dict[str, Any] = {}
        self.seconds = 0.0  # spent on this network
        self.stopped_because = ""

    def warm_up(self) -> None:
        """Has the network built and warmed up."""
        print(f"{self.measurement.name}: time, batch {self.cost.batch_size}", flush=True)
        if self._ask("environment"):
            self.seconds = 0.0  # importing torch is none of the network's time
            self.warm = self._ask("warm_up") or {}

    def take_turn(self) -> None:
        """Takes some samples, and decides whether they are enough."""
        typical = self.warm["step_ms"][-1]
        # Turns grow with what is there already: many samples need no more rounds than few.
        at_most = math.ceil(max(self.cost.samples, len(self.samples)) / ROUNDS)
        answer = self._ask("turn", typical_ms=typical, at_most=at_most)
        if answer is None:
            return
        card = answer["card"]
        throttled = bool(card and card["throttled"])
        (self.dropped if throttled else self.samples).extend(answer["samples"])
        if card:
            self.cards.append(card)
        self.stopped_because = self._verdict()
        self.active = not self.stopped_because

    def conclude(self) -> None:
        """Measures energy, and writes all into the record."""
        if self.stopped_because:
            energy = self._ask("energy")
            self.measurement.record["energy"] = energy or {"joules_per_image": None}
        self.measurement.record["time"] = self._summary()

    def _verdict(self) -> str:
        """Returns why to stop, or nothing."""
        if len(self.samples) >= self.cost.samples:
            clock = main_clock(self.samples)
            times = ([s[clock][key] for s in self.samples] for key in self._reported())
            if all(uncertainty(values) <= self.cost.tolerance for values in times):
                return "steady"
        taken = len(self.samples) + len(self.dropped)
        return "timeout" if taken >= FEWEST and self.seconds > self.cost.seconds else ""

    def _reported(self) -> tuple[str, ...]:
        """The times that must be known; the optimiser's is a small part of the step's."""
        return ("forward_ms", "backward_ms", "step_ms") if self.cost.backward else ("step_ms",)

    def _summary(self) -> dict[str, Any] | None:
        if not self.samples and not self.dropped:
            return None
        by_clock = {
            clock: {key: [s[clock][key] for s in self.samples] for key in named}
            for clock, named in (self.samples or self.dropped)[0].items()
        }
        main = main_clock(self.samples or self.dropped)
        return {
            "batch": self.cost.batch_size,
            "mode": "training" if self.cost.backward else "inference",
            "batch_norm": "evaluation mode",
            "clock": main,
            "cores_taken": cores_taken(self.samples or self.dropped),
            **by_clock[main],
            "clocks": by_clock,
            "stopped_because": self.stopped_because,
            "warm_up": self.warm,
            "seconds": round(self.seconds, 3),
            "dropped_samples": len(self.dropped),
            "dropped": self.dropped,
            "card": self.cards,
        }

    def _ask(self, task: str, **arguments: Any) -> dict[str, Any] | None:
        """Asks the process; a network that cannot answer is out."""
        start = time.monotonic()
        try:
            return self.process.ask(task, **arguments)
        except MeasurementError as error:
            self.active = False
            self.crowded = error.state == State.out_of_memory and not self.alone
            if not self.crowded:
                self.measurement.fail(error, f"time, batch {self.cost.batch_size}")
            return None
        finally:
            self.seconds += time.monotonic() - start


def main_clock(samples: Sequence[Sample]) -> str:
    """Returns the clock that is reported.

    It is the device's own where there is one, and process time where other programs took the cores:
    wall time then is theirs too, and ratios of networks by it are wrong.
    """
    if "device" in samples[0]:
        return "device"
    return "process" if (cores_taken(samples) or 0.0) > TAKEN else "wall"


def cores_taken(samples: Sequence[Sample]) -> float | None:
    """Returns for which part of the time that threads needed a core another program had it.

    None where the system does not tell.
    """
    if "waiting" not in samples[0]:
        return None
    waited, computed = (sum(s[c]["step_ms"] for s in samples) for c in ("waiting", "process"))
    return waited / max(waited + computed, 1e-9)


def uncertainty(samples: Sequence[float]) -> float:
    """Returns half the width of the median's 95 % interval as a fraction of the median.

    1.57 interquartile ranges over the root of n: R. McGill, J. W. Tukey, W. A. Larsen, Variations
    of box plots, The American Statistician 32 (1), 1978.
    """
    if len(samples) < FEWEST:
        return math.inf
    low, middle, high = statistics.quantiles(samples, n=4, method="inclusive")
    return 1.57 * (high - low) / math.sqrt(len(samples)) / middle
