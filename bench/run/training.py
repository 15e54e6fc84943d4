"""The training loop, the same for every contestant.

Losses stay on the device and are looked at only every so many iterations (a drain): reading one
each iteration would make a GPU wait for the CPU. Several processes share a batch; see
bench/run/distributed.py.
"""

import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.checks import fits
from bench.config import Config, identity
from bench.data.order import batch_indices, mirrored
from bench.data.splits import Batch, Split
from bench.data.staging import staged
from bench.losses import append_losses
from bench.run import checkpoints, distributed
from bench.run.contract import check_training_logits, failures_explained
from bench.run.graph import GraphedUpdate
from bench.run.inference import padded, padded_labels, size_multiple
from bench.run.loss import shrink_labels, training_loss
from bench.run.monitor import InterruptedRunError, Monitor
from bench.run.network import autocast, network_input
from bench.run.optimiser import clip_gradients, set_rates

DRAIN_ITERATIONS = 20
DRAIN_SECONDS = 2.0  # slow networks report, and can be stopped, sooner
SLOW_SECONDS = 5.0  # an iteration that takes longer is timed once


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
    description: dict[str, Any]  # of the network as it started
    graph: GraphedUpdate | None = None  # launches updates, where cuda_graph=true
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


def training_size(config: Config, split: Split) -> tuple[int, int]:
    """Returns the size of what is trained on.

    Raises:
        ValueError: images of several sizes would make a batch, or a crop is larger than each.
    """
    protocol, sizes = config.protocol, sorted(set(split.sizes), key=lambda size: size[0] * size[1])
    crop, (_, high) = protocol.augmentation.crop, protocol.augmentation.scale or (1.0, 1.0)
    if protocol.image_size is None and crop is None and len(sizes) > 1:
        raise ValueError(
            f"protocol.image_size is null, but the images of split {split.name!r} have "
            f"{len(sizes)} sizes, from {_in_words(sizes[0])} to {_in_words(sizes[-1])}; give "
            "protocol.augmentation.crop=[H,W], so that they make batches"
        )
    if crop is not None and not any(fits(crop, size, high) for size in sizes):
        raise ValueError(
            f"protocol.augmentation.crop is {crop}, and no image of split {split.name!r} is so "
            f"large, enlarged by at most {high:g}: the largest is {_in_words(sizes[-1])}; lower it"
        )
    height, width = protocol.input_size or sizes[0]
    return height, width


def _in_words(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def training_batches(training: Training, iterations: range) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields this process's input (N, 3, H, W) and labels (N, H, W) of iterations, from 0."""
    protocol, seed = training.config.protocol, training.config.seed
    size, multiple = protocol.batch_size, size_multiple(training.network)
    batches = _uint8_batches(training, iterations)
    for iteration, batch in zip(iterations, batches, strict=True):
        images, labels = (staged(tensor, training.device) for tensor in batch)
        if protocol.mirror:
            flips = torch.from_numpy(distributed.share(mirrored(seed, iteration, size)))
            flip = staged(flips, training.device)[:, None, None]
            images = torch.where(flip[..., None], images.flip(3), images)
            labels = torch.where(flip, labels.flip(2), labels)
        values = network_input(images, training.config, training.device)
        void = training.config.dataset.void
        yield padded(values, multiple), padded_labels(labels, multiple, void)


def _uint8_batches(training: Training, iterations: range) -> Iterator[Batch]:
    """Yields this process's images and labels as they are kept, or as they are cut out."""
    config, split = training.config, training.split
    seed, size, count = config.seed, config.protocol.batch_size, len(split.names)
    shares = (distributed.share(batch_indices(seed, i, size, count)) for i in iterations)
    if not config.protocol.augmentation.is_on:
        return split.batches(shares)
    from bench.data.augmentation import Augmentation, draws  # noqa: PLC0415 - it loads OpenCV

    drawn = (distributed.share(draws(seed, i, size)) for i in iterations)
    return split.crops(shares, drawn, Augmentation.of(config, split.sizes[0]))


def step(training: Training, images: Tensor, labels: Tensor, iteration: int) -> Tensor:
    """Makes one weight update on a batch and returns its loss, still on the device.

    The losses of processes that share a batch are parts of a sum.
    """
    config = training.config
    torch.manual_seed(distributed.own_seed(config.seed, "dropout", iteration))
    set_rates(training.optimiser, config.protocol, iteration, config.max_iterations)
    if training.graph is not None:
        return training.graph(partial(_gradients, training), images, labels)
    loss = _gradients(training, images, labels)
    training.optimiser.step()
    training.optimiser.zero_grad(set_to_none=True)  # whatever comes next needs the memory
    return loss


def _gradients(training: Training, images: Tensor, labels: Tensor) -> Tensor:
    config, protocol = training.config, training.config.protocol
    with autocast(training.device, protocol.precision):
        logits = training.model(images)
    check_training_logits(logits, config, images.shape)
    labels = shrink_labels(labels, logits, training.network)
    loss = training_loss(logits, labels, training.class_weights, config.dataset.void, protocol)
    scaled = loss * distributed.size()  # gradients are averaged then; a sum is wanted
    scaled.backward()  # type: ignore[no-untyped-call]
    clip_gradients(training.network, protocol)
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
        append_losses(training.folder, first, finite, seconds)
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
    """Times an iteration, compilation left out, and takes it back: the run starts untouched.

    The network itself is used, so that it is compiled once and nothing is held twice.

    Raises:
        ValueError: the network cannot be trained as configured.
    """
    tensors = [*training.network.parameters(), *training.network.buffers()]
    before = [tensor.detach().clone() for tensor in tensors]
    training.model.train()
    graph, training.graph = training.graph, None
    images, labels = next(training_batches(training, range(1)))
    compiled = training.config.protocol.compile
    for number in range(2):  # the first one pays for memory, algorithms and compilation
        start = time.perf_counter()
        with failures_explained(training.config, len(images), "training"):
            step(training, images, labels, 0).item()
        (elapsed,) = distributed.largest([time.perf_counter() - start])
        if number == 0 and elapsed > SLOW_SECONDS and not compiled:
            break
    with torch.no_grad():
        for tensor, value in zip(tensors, before, strict=True):
            tensor.copy_(value)
    training.optimiser.state.clear()
    training.graph = graph
    return elapsed
