"""The training loop: stochastic gradient descent, the same for every contestant.

Losses stay on the device and are looked at only every so many iterations (a drain): reading one
each iteration would make a GPU wait for the CPU. Several processes share a batch; see
bench/run/distributed.py.
"""

import contextlib
import copy
import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench import records
from bench.config import Config, ProtocolConfig, identity
from bench.data.normalisation import normalise
from bench.data.order import batch_indices, mirrored
from bench.data.splits import Split
from bench.run import checkpoints, distributed
from bench.run.loss import batch_loss, shrink_labels
from bench.run.monitor import InterruptedRunError, Monitor

DRAIN_ITERATIONS = 20
DRAIN_SECONDS = 2.0  # slow networks report, and can be stopped, sooner


class DivergedError(Exception):
    """The loss is no longer a finite number."""


@dataclass
class Training:
    """A network in training; `iteration` counts the weight updates made."""

    config: Config
    folder: Path
    network: nn.Module
    model: nn.Module  # what training calls: the network, or a twin that shares its tensors
    optimiser: torch.optim.Optimizer
    split: Split
    class_weights: Tensor | None  # (K,)
    device: torch.device
    monitor: Monitor
    iteration: int = 0

    def state(self) -> dict[str, Any]:
        """Returns what a checkpoint holds; randomness needs no place in it."""
        return {
            "identity": identity(self.config),
            "iteration": self.iteration,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def save(self) -> None:
        """Saves a checkpoint; no process goes on before it is on the disk."""
        if distributed.is_first():
            checkpoints.save_checkpoint(self.folder, self.state())
        distributed.wait_for_all()

    def restore(self, state: dict[str, Any]) -> None:
        """Continues from what `state` returned."""
        self.iteration = state["iteration"]
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])


def make_optimiser(network: nn.Module, protocol: ProtocolConfig) -> torch.optim.SGD:
    """Makes SGD with momentum, and the bias rules of the authors' network files.

    Biases learn `bias_lr_factor` times as fast, and decay `bias_decay_factor` times as much as
    weights. Shifts of batch norm learn as fast as weights, and decay as biases do, or
    `batch_norm.shift_decay_factor` times as much as weights.
    """
    bias_decay = protocol.bias_decay_factor
    shift_decay = protocol.batch_norm.shift_decay_factor
    shift_decay = bias_decay if shift_decay is None else shift_decay
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for layer in network.modules():
        normalises = isinstance(layer, nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm)
        for name, parameter in layer.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            is_bias = name == "bias"
            lr = protocol.bias_lr_factor if is_bias and not normalises else 1.0
            decay = (shift_decay if normalises else bias_decay) if is_bias else 1.0
            group = groups.setdefault((lr, decay), [])
            if not any(parameter is known for known in group):  # shared layers count once
                group.append(parameter)
    return torch.optim.SGD(
        [
            {
                "params": parameters,
                "lr": lr * protocol.lr,
                "weight_decay": decay * protocol.weight_decay,
            }
            for (lr, decay), parameters in groups.items()
        ],
        lr=protocol.lr,
        momentum=protocol.momentum,
    )


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """Returns the context in which a network computes: bfloat16 where the protocol says so."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def network_input(images: Tensor, protocol: ProtocolConfig, device: torch.device) -> Tensor:
    """Moves uint8 images (N, 3, H, W) to the device and normalises them."""
    values = normalise(images.to(device, non_blocking=True), protocol.normalisation)
    if protocol.channels_last:
        values = values.contiguous(memory_format=torch.channels_last)
    return values


def training_batches(training: Training, iterations: range) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields this process's input (N, 3, H, W) and labels (N, H, W) of iterations, from 0."""
    protocol, seed, split = training.config.protocol, training.config.seed, training.split
    size, count = protocol.batch_size, len(split.names)
    shares = (distributed.share(batch_indices(seed, i, size, count)) for i in iterations)
    batches = split.batches(shares)
    for iteration, (images, labels) in zip(iterations, batches, strict=True):
        if protocol.mirror:
            flips = distributed.share(mirrored(seed, iteration, size))
            flip = torch.from_numpy(flips).to(images.device)
            images[flip] = images[flip].flip(3)
            labels[flip] = labels[flip].flip(2)
        yield network_input(images, protocol, training.device), labels.to(training.device)


def step(training: Training, images: Tensor, labels: Tensor, iteration: int) -> Tensor:
    """Makes one weight update on a batch and returns its loss, still on the device.

    The losses of processes that share a batch are parts of a sum.
    """
    config, protocol = training.config, training.config.protocol
    torch.manual_seed(distributed.own_seed(config.seed, "dropout", iteration))
    with autocast(training.device, protocol.precision):
        logits = training.model(images)
    loss = batch_loss(
        logits,
        shrink_labels(labels, logits, training.network),
        training.class_weights,
        config.dataset.void,
        protocol.loss_normaliser,
    )
    training.optimiser.zero_grad(set_to_none=True)
    scaled = loss * distributed.size()  # gradients are averaged then; a sum is wanted
    scaled.backward()  # type: ignore[no-untyped-call]
    training.optimiser.step()
    return loss.detach()


def train(training: Training, until: int) -> None:
    """Trains up to an iteration, draining losses and saving checkpoints on the way.

    Raises:
        DivergedError: a loss is not finite.
        InterruptedRunError: a stop was requested; a checkpoint has been saved.
    """
    training.model.train()
    pending: list[Tensor] = []
    planned, drained, saved = 1, time.monotonic(), time.monotonic()
    for images, labels in training_batches(training, range(training.iteration, until)):
        pending.append(step(training, images, labels, training.iteration))
        training.iteration += 1
        if len(pending) < planned and training.iteration < until:
            continue
        losses = distributed.total(torch.stack(pending)).tolist()  # waits for the device
        now = time.monotonic()
        _record(training, losses, now - drained)
        stopping, checkpoint_due, planned = _plan(training, (now - drained) / len(losses), saved)
        pending, drained = [], now
        if checkpoint_due or stopping or training.iteration == until:
            training.save()
            saved = time.monotonic()
        if stopping:
            raise InterruptedRunError


def _plan(training: Training, each: float, saved: float) -> tuple[bool, bool, int]:
    """Says whether to stop, whether to save, and after how many iterations to ask again.

    Args:
        training: under way.
        each: seconds an iteration took.
        saved: when the last checkpoint was saved.
    """
    due = time.monotonic() - saved > 60 * training.config.checkpoint_minutes
    stop, save, each = distributed.largest([training.monitor.stop_requested, due, each])
    return (
        bool(stop),
        bool(save),
        min(DRAIN_ITERATIONS, max(1, int(DRAIN_SECONDS / max(each, 1e-6)))),
    )


def _record(training: Training, losses: list[float], seconds: float) -> None:
    first = training.iteration - len(losses) + 1
    finite = list(itertools.takewhile(math.isfinite, losses))
    if finite and distributed.is_first():
        records.append_losses(training.folder, first, finite, seconds)
    if len(finite) < len(losses):
        config = training.config
        raise DivergedError(
            f"the loss of {config.arch['name']} became {losses[len(finite)]} at iteration "
            f"{first + len(finite)} with protocol.lr={config.protocol.lr}; lower it"
        )
    total = training.config.max_iterations
    training.monitor.beat(
        "training", training.iteration, total, loss=losses[-1], seconds=seconds / len(losses)
    )
    training.monitor.measure(training.iteration, {"loss": losses[-1]})


def seconds_per_iteration(training: Training) -> float:
    """Times one iteration on a copy, so that the run itself starts untouched."""
    twin, protocol = copy.copy(training), training.config.protocol
    twin.network = copy.deepcopy(training.network)
    twin.model = distributed.training_model(
        twin.network, training.device, compiled=protocol.compile
    ).train()
    twin.optimiser = make_optimiser(twin.network, protocol)
    images, labels = next(training_batches(training, range(1)))
    slow = 5.0
    for _ in range(2):  # the first one pays for memory and for choosing algorithms
        start = time.perf_counter()
        step(twin, images, labels, 0).item()
        (elapsed,) = distributed.largest([time.perf_counter() - start])
        if elapsed > slow:
            break
    return elapsed
