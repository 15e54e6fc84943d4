"""The process in which one network is measured: it executes its parent's tasks on request.

    python -m bench.cost.worker

The first line of its standard input is a run's configuration as JSON, every other line a task; each
is answered by one line of JSON. What the network prints goes to standard error.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from functools import cached_property
from typing import Any, TextIO

import torch
from torch import nn

from bench import sources
from bench.config import Config
from bench.cost.calibration import Calibration
from bench.cost.card_watch import CardWatch
from bench.cost.forward_graph import ForwardGraph
from bench.cost.memory import MemoryMeter, estimate_peak, free_bytes
from bench.cost.nvml import Card, cuda_card
from bench.cost.shapes import NEEDS_NUMBERS, shapes_only
from bench.cost.storage import retained_bytes
from bench.cost.timing import take_turn, warm_up
from bench.cost.work import count_work, file_bytes
from bench.cost.workload import Workload, measured_input
from bench.launch.processes import end_with_parent
from bench.run.contract import BrokenContractError
from bench.run.device import prepare_device
from bench.run.environment import describe_environment
from bench.run.failure import failure
from bench.run.network import build_network, check_logits, placed
from bench.run.views import as_evaluated
from bench.typed import typed

ENERGY_SECONDS = 2.0  # NVML's counter moves some ten times a second


class Worker:
    """One network in one setting; the methods that end in _task answer the parent's tasks."""

    def __init__(self, config: Config) -> None:
        self.config, self.cost = config, config.cost

    @cached_property
    def device(self) -> torch.device:
        """The device, set up as for a run; this puts something on it."""
        return prepare_device(self.config)

    @cached_property
    def card(self) -> tuple[Card | None, str | None]:
        """The GPU as its driver sees it, or None and why; this puts nothing on it."""
        return cuda_card(self.config.device)

    @cached_property
    def work(self) -> Workload:
        """The workload that is timed."""
        return Workload.make(
            self._network(),
            self.config,
            self.cost.batch_size,
            training=self.cost.backward,
            frozen_statistics=True,
        )

    @cached_property
    def graph(self) -> tuple[ForwardGraph | None, str | None]:
        """The workload's forward pass as a CUDA graph, or None and why."""
        if self.work.device.type != "cuda":
            return None, "no GPU"
        try:
            return ForwardGraph(self.work), None
        except RuntimeError as error:  # recorded: the eager times stand without it
            return None, failure(error)[1].splitlines()[0]

    @cached_property
    def calibration(self) -> Calibration:
        """The known work that the others are compared with."""
        return Calibration(self.config, self.device)

    def environment_task(self) -> dict[str, Any]:
        """Says where it is measured and with which switches; the network is not yet needed."""
        environment = describe_environment(self.config, self.device, (*sources.ROOMS, "cost"))
        return {"environment": environment, "arithmetic": self._arithmetic()}

    def describe_task(self) -> dict[str, Any]:
        """Says what can be known of a network without running it."""
        network, cost = build_network(self.config), self.cost
        self._check_logits(network)
        size = measured_input(network, self.config.protocol)
        evaluated = as_evaluated(network, self.config)
        channels = self.config.dataset.in_channels
        retained = retained_bytes(evaluated, size, channels)
        return {
            "work": {**count_work(evaluated, size, channels), "file_bytes": file_bytes(network)},
            "storage": {
                "retained_bytes": retained.total if retained else None,
                "retained_bytes_first_level": retained.first_level if retained else None,
            },
            "estimates": {
                "time": self._estimate(
                    network, cost.batch_size, training=cost.backward, frozen_statistics=True
                ),
                "training": self._estimate(network, cost.training_batch, training=True),
                "inference": self._estimate(network, cost.inference_batch, training=False),
            },
            "free_bytes": free_bytes(self.device),
        }

    def warm_up_task(self) -> dict[str, Any]:
        """Puts the network on the device, iterates until it is warm, captures its forward pass."""
        warm = warm_up(self.work, self.cost.seconds)
        return {**warm, "graph_refused": self.graph[1]}

    def turn_task(self, typical_ms: float, at_most: int) -> dict[str, Any]:
        """Takes samples for about a second; says how the card was meanwhile."""
        work, (graph, _) = self.work, self.graph  # made before the watch begins
        with CardWatch(self.card[0]) as watch:
            samples = take_turn(work, typical_ms, at_most, graph)
        return {"samples": samples, "card": watch.summary()}

    def calibrate_task(self) -> dict[str, float]:
        """Takes a sample of each rate of the device."""
        return self.calibration.sample()

    def energy_task(self) -> dict[str, float | None]:
        """Measures the energy of inference on a GPU that tells it."""
        card, _ = self.card
        before = card.energy_joules() if card else None
        if card is None or before is None:
            return {"joules_per_image": None}
        work, images = self.work, 0
        optimiser, work.optimiser = work.optimiser, None  # forward passes alone
        end = time.perf_counter() + ENERGY_SECONDS
        while time.perf_counter() < end:
            work.run()
            torch.cuda.synchronize(self.device)
            images += len(work.images)
        work.optimiser = optimiser
        after = card.energy_joules()
        return {"joules_per_image": None if after is None else (after - before) / images}

    def memory_task(self, training: bool, batch: int) -> dict[str, Any]:
        """Measures memory; to be the only task of its process."""
        card, no_card = self.card
        meter = MemoryMeter(card)  # its baselines come before the device is touched
        self.device  # noqa: B018 - from here on it is
        work = Workload.make(self._network(), self.config, batch, training=training)
        if self.device.type == "cuda":  # algorithms are chosen here; their trials do not count
            work.run()
            work.run()
            meter.restart(self.device)
        work.run()
        return {
            "batch": batch,
            "readings": meter.read(self.device),
            "baselines": meter.baselines,
            "missing": card.missing if card else {"NVML": no_card},
        }

    def _check_logits(self, network: nn.Module) -> None:
        cpu = torch.device("cpu")
        try:
            copied, mode = shapes_only(network)
            with mode:
                check_logits(copied, self.config, cpu, self.config.protocol.measured_size)
        except BrokenContractError as error:
            if not isinstance(error.__cause__, NEEDS_NUMBERS):
                raise
            check_logits(network, self.config, cpu, self.config.protocol.measured_size)

    def _estimate(self, network: nn.Module, batch: int | None, **how: bool) -> int | None:
        try:
            return None if batch is None else estimate_peak(network, self.config, batch, **how)
        except NEEDS_NUMBERS:
            return None

    def _network(self) -> nn.Module:
        network = placed(build_network(self.config), self.config.protocol, self.device)
        if self.config.protocol.compile:
            network.compile()
        return network

    def _arithmetic(self) -> dict[str, Any]:
        """States the switches that change a time."""
        protocol = self.config.protocol
        return {
            "precision": protocol.precision,
            "channels_last": protocol.channels_last,
            "compile": protocol.compile,
            "deterministic": protocol.deterministic,
            "tf32": torch.backends.cudnn.allow_tf32 and self.device.type == "cuda",
            "cudnn_benchmark": torch.backends.cudnn.benchmark and self.device.type == "cuda",
        }


def serve(requests: TextIO, replies: TextIO, make: Callable[[Config], Worker] = Worker) -> None:
    """Answers tasks until there are no more."""
    worker = make(typed(Config, json.loads(requests.readline())))
    for line in requests:
        replies.write(json.dumps(answer(worker, **json.loads(line))) + "\n")
        replies.flush()


def answer(worker: Worker, task: str, **arguments: Any) -> dict[str, Any]:
    """Does a task; whatever a user's network raises becomes an answer."""
    try:
        done: dict[str, Any] = getattr(worker, f"{task}_task")(**arguments)
    except Exception as error:  # noqa: BLE001 - recorded; the parent goes on with the others
        traceback.print_exc()
        state, reason = failure(error)
        return {"state": state, "reason": reason}
    return {"answer": done}


def main(make: Callable[[Config], Worker] = Worker) -> None:
    """The entry of the worker process; what is measured is the worker's that is made."""
    end_with_parent()
    with os.fdopen(os.dup(1), "w") as replies:
        os.dup2(2, 1)
        serve(sys.stdin, replies, make)


if __name__ == "__main__":
    main()
