"""Measuring contestants: each in processes of its own, memory one after another, time in turns.

Contestants of one image size and protocol are a group; groups come one after another. Each leaves
RUNS/cost/NAME.json, also one that failed: bench/cost/measurement.py shows what is in it. This file
imports no torch.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from bench import records
from bench.config import Config
from bench.cost.measurement import MEASURED, Contestant, new_contestant
from bench.cost.measuring_process import MeasurementError, MeasuringProcess
from bench.cost.turns import time_in_turns
from bench.typed import plain

# Estimates leave out what libraries take; contestants that need more than the free memory divided
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
    contestants = [_describe(config) for config in configs]
    due = []
    for contestant in contestants:
        if contestant.was_measured() and not contestant.config.rerun:
            print(f"{contestant.name}: measured before; rerun=true measures again", flush=True)
        else:
            due.append(contestant)
    sound = [contestant for contestant in due if contestant.is_sound()]
    for contestant in sound:
        _measure_memory(contestant)
    together = [sound] if _fit_together(sound) else [[contestant] for contestant in sound]
    for group in together:
        for contestant in time_in_turns(group):
            time_in_turns([contestant])
    for contestant in due:
        records.write_json(contestant.path, contestant.record)
    return [contestant.path for contestant in contestants]


def _describe(config: Config) -> Contestant:
    """Learns from a first process what needs no measuring, and whether the network works at all."""
    contestant = new_contestant(config)
    print(f"{contestant.name}: parameters, work, storage", flush=True)
    try:
        with MeasuringProcess(config, contestant.log, timing=False) as process:
            where = process.ask("environment")
            contestant.record.update(where, device=where["environment"]["device_type"])
            found = process.ask("describe")
    except MeasurementError as error:
        contestant.fail(error, "network")
        return contestant
    contestant.estimates, contestant.free_bytes = found.pop("estimates"), found.pop("free_bytes")
    contestant.record.update(found)
    return contestant


def _measure_memory(contestant: Contestant) -> None:
    """Measures training and inference memory, each in a fresh process."""
    for mode in ("training", "inference"):
        batch = getattr(contestant.config.cost, f"{mode}_batch")
        if batch is None:
            continue
        print(f"{contestant.name}: {mode} memory, batch {batch}", flush=True)
        estimate = contestant.estimates[mode]
        part = {"batch": batch, "estimate_bytes": estimate, "readings": None}
        contestant.record["memory"][mode] = part
        try:
            _check_fits(contestant, estimate)
            with MeasuringProcess(contestant.config, contestant.log, timing=False) as process:
                part.update(process.ask("memory", training=mode == "training", batch=batch))
            part.update(state=MEASURED, reason=None)
        except MeasurementError as error:
            part.update(state=error.state, reason=error.reason)
            contestant.fail(error, f"{mode} memory, batch {batch}")


def _check_fits(contestant: Contestant, estimate: int | None) -> None:
    """Refuses on a CPU what would make the kernel kill processes, perhaps not ours.

    Raises:
        MeasurementError: the estimate exceeds the free memory.
    """
    free = contestant.free_bytes
    if contestant.record["device"] == "cpu" and free is not None and (estimate or 0) > free:
        raise MeasurementError(
            records.OUT_OF_MEMORY,
            f"an estimated {(estimate or 0) / 1e9:.1f} GB are needed, {free / 1e9:.1f} are free",
        )


def _fit_together(contestants: Sequence[Contestant]) -> bool:
    """Says whether all can be kept alive at once."""
    free = min((c.free_bytes for c in contestants if c.free_bytes is not None), default=None)
    # On a GPU the captured forward pass has memory of its own.
    need = sum(
        (1 + (c.record["device"] == "cuda")) * (c.estimates["time"] or 0) for c in contestants
    )
    return free is None or MEMORY_MARGIN * need < free
