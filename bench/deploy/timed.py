"""Timing what was exported beside the networks themselves, by the rules of bench/cost.

Memory is that of a fresh process each; all take turns, A B C A B C, if they fit in memory together,
else those of one run do.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter

import torch

from bench import sources
from bench.cost.measure import MEMORY_MARGIN
from bench.cost.measurement import MEASURED, Measurement
from bench.cost.measuring_process import WORKER, MeasurementError
from bench.cost.memory import free_bytes
from bench.cost.schema import CostConfig
from bench.cost.turns import time_in_turns
from bench.deploy.stage import FOLDER, Deployment
from bench.run.environment import describe_environment
from bench.run.inference import size_multiple
from bench.typed import plain

GRAPH_WORKER = "bench.deploy.worker"


def measure(deployments: Sequence[Deployment], cost: CostConfig, threads: int) -> None:
    """Measures memory and time of inference, and completes the records.

    Args:
        deployments: networks and graphs, those of a run together.
        cost: how they are timed; of inference with one image.
        threads: that compute.
    """
    measurements = [_measurement(deployment, cost, threads) for deployment in deployments]
    for measurement in measurements:
        _measure_memory(measurement)
    sound = [measurement for measurement in measurements if measurement.is_sound()]
    for group in [sound] if _fit_together(sound) else _by_run(sound):
        for crowded in time_in_turns(group):
            time_in_turns([crowded])
    for deployment in deployments:
        deployment.write()


def _measurement(deployment: Deployment, cost: CostConfig, threads: int) -> Measurement:
    config, record = deployment.trained.config, deployment.record
    size = config.protocol.image_size or [*record["image_size"]]
    name = f"{config.arch['name']}, {record['runtime']} {record['precision']}"
    config = replace(
        config,
        protocol=replace(config.protocol, image_size=size),
        arch={**config.arch, "name": name},
        cost=cost,
        threads=threads,
        device="cpu",
        postprocess={"name": "none"},  # a row of its own, which is not exported
    )
    rooms = (*sources.ROOMS, "cost", "deploy")
    record.update(
        state=MEASURED,
        reason=None,
        cost=plain(cost),
        environment=describe_environment(config, torch.device("cpu"), rooms),
        memory=None,
        time=None,
        calibration=None,
    )
    worker: tuple[str, ...] = WORKER
    if record["variant"]:
        file = deployment.run / FOLDER / record["file"]
        multiple = size_multiple(deployment.trained.network)
        worker = (GRAPH_WORKER, str(file.absolute()), record["runtime"], str(multiple))
    return Measurement(config, record, deployment.run / FOLDER / "log.txt", worker=worker)


def _measure_memory(measurement: Measurement) -> None:
    print(f"{measurement.name}: memory", flush=True)
    try:
        with measurement.process(timing=False) as process:
            measurement.record["memory"] = process.ask("memory", training=False, batch=1)
    except MeasurementError as error:
        measurement.fail(error, "memory")


def _fit_together(measurements: Sequence[Measurement]) -> bool:
    free = free_bytes(torch.device("cpu"))
    need = sum(
        (measurement.record["memory"]["readings"]["resident_bytes"] or 0)
        + measurement.record["memory"]["baselines"]["resident_bytes"]
        for measurement in measurements
    )
    return free is None or MEMORY_MARGIN * need < free


def _by_run(measurements: Sequence[Measurement]) -> list[list[Measurement]]:
    return [list(group) for _, group in groupby(measurements, key=attrgetter("log"))]
