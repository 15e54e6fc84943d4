"""Measuring networks: each in processes of its own, memory one after another, time in turns.

Networks of one image size and protocol are a group; groups come one after another. Each leaves
RUNS/cost/NAME.json, also one that failed: bench/cost/measurement.py shows what is in it. This file
imports no torch.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from bench import records
from bench.config import Config
from bench.cost.measurement import MEASURED, Measurement, new_measurement
from bench.cost.measuring_process import MeasurementError
from bench.cost.turns import time_in_turns
from bench.records import State
from bench.typed import plain

# Estimates leave out what libraries take; networks that need more than the free memory divided
# by this are not kept alive together.
MEMORY_MARGIN = 1.3


def measure(configs: Sequence[Config]) -> list[Path]:
    """Measures resolved configurations with `cost.measure`, and returns the paths of their records.

    A record that is there, of the same sources and machine, is kept unless `rerun` is set.
    """
    groups: dict[str, list[Config]] = {}
    for config in configs:
        if config.dry_run:
            print(f"would measure {config.arch['name']}")
            continue
        content = plain(config)
        shared = {key: content[key] for key in ("protocol", "cost", "device", "threads", "runs")}
        shared["classes"] = len(config.dataset.classes)
        groups.setdefault(json.dumps(shared, sort_keys=True), []).append(config)
    return [path for group in groups.values() for path in _measure_group(group)]


def _measure_group(configs: Sequence[Config]) -> list[Path]:
    measurements = [_describe(config) for config in configs]
    due = []
    for measurement in measurements:
        if measurement.was_measured() and not measurement.config.rerun:
            print(f"{measurement.name}: measured before; rerun=true measures again", flush=True)
        else:
            due.append(measurement)
    sound = [measurement for measurement in due if measurement.is_sound()]
    for measurement in sound:
        _measure_memory(measurement)
    together = [sound] if _fit_together(sound) else [[measurement] for measurement in sound]
    for group in together:
        for measurement in time_in_turns(group):
            time_in_turns([measurement])
    for measurement in due:
        records.write_json(measurement.path, measurement.record)
    return [measurement.path for measurement in measurements]


def _describe(config: Config) -> Measurement:
    """Learns from a first process what needs no measuring, and whether the network works at all."""
    measurement = new_measurement(config)
    print(f"{measurement.name}: parameters, work, storage", flush=True)
    try:
        with measurement.process(timing=False) as process:
            where = process.ask("environment")
            measurement.record.update(where, device=where["environment"]["device_type"])
            description = process.ask("describe")
    except MeasurementError as error:
        measurement.fail(error, "network")
        return measurement
    measurement.estimates = description.pop("estimates")
    measurement.free_bytes = description.pop("free_bytes")
    measurement.record.update(description)
    return measurement


def _measure_memory(measurement: Measurement) -> None:
    """Measures training and inference memory, each in a fresh process."""
    for mode in ("training", "inference"):
        batch = getattr(measurement.config.cost, f"{mode}_batch")
        if batch is None:
            continue
        print(f"{measurement.name}: {mode} memory, batch {batch}", flush=True)
        estimate = measurement.estimates[mode]
        part = {"batch": batch, "estimate_bytes": estimate, "readings": None}
        measurement.record["memory"][mode] = part
        try:
            _check_fits(measurement, estimate)
            with measurement.process(timing=False) as process:
                part.update(process.ask("memory", training=mode == "training", batch=batch))
            part.update(state=MEASURED, reason=None)
        except MeasurementError as error:
            part.update(state=error.state, reason=error.reason)
            measurement.fail(error, f"{mode} memory, batch {batch}")


def _check_fits(measurement: Measurement, estimate: int | None) -> None:
    """Refuses on a CPU what would make the kernel kill processes, perhaps not ours.

    Raises:
        MeasurementError: the estimate exceeds the free memory.
    """
    free = measurement.free_bytes
    if measurement.record["device"] == "cpu" and free is not None and (estimate or 0) > free:
        raise MeasurementError(
            State.out_of_memory,
            f"an estimated {(estimate or 0) / 1e9:.1f} GB are needed, {free / 1e9:.1f} are free",
        )


def _fit_together(measurements: Sequence[Measurement]) -> bool:
    """Says whether all can be kept alive at once."""
    free = min((m.free_bytes for m in measurements if m.free_bytes is not None), default=None)
    # On a GPU the captured forward pass has memory of its own.
    need = sum(
        (1 + (m.record["device"] == "cuda")) * (m.estimates["time"] or 0) for m in measurements
    )
    return free is None or MEMORY_MARGIN * need < free
