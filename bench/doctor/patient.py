"""A network under examination by `python -m bench.doctor`, and the two batches it is tried on."""

import copy
import functools
import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.config import Config
from bench.data.images import UInt8Array
from bench.metrics.regions import confusion_matrix
from bench.run.contract import check_training_logits
from bench.run.device import prepare_device
from bench.run.inference import padded_size, size_multiple
from bench.run.loss import batch_loss, shrink_labels
from bench.run.network import build_network, network_input
from bench.seeds import derive_seed

BATCH = 2  # a network that normalises a map of one pixel needs two images


@dataclass(frozen=True)
class Patient:
    """A freshly built network and two batches to try it on.

    Attributes:
        inputs: normalised images (2, BATCH, C, H, W).
        labels: uint8 (2, BATCH, H, W).
        admitted: when, by time.monotonic.
        num_classes: K.
    """

    network: nn.Module
    config: Config
    device: torch.device
    inputs: Tensor
    labels: Tensor
    admitted: float
    num_classes: int

    def twin(self) -> nn.Module:
        """Returns a copy that a check may train."""
        return copy.deepcopy(self.network)

    def logits(self, network: nn.Module, batch: int = 0, images: int = BATCH) -> Tensor:
        """Returns what the network gives for the first images of a batch."""
        torch.manual_seed(derive_seed(0, "doctor", batch))
        logits: Tensor = network(self.inputs[batch, :images])
        return logits

    def loss(self, logits: Tensor, batch: int = 0) -> Tensor:
        """Returns the training loss of a batch."""
        void = self.config.dataset.void
        labels = shrink_labels(self.labels[batch], logits, self.network)
        return batch_loss(logits, labels, None, void, "labelled_pixels")

    def training_pass(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the logits of a training pass, and the gradients that parameters received."""
        network = self.twin().train()
        logits = self.logits(network)
        check_training_logits(logits, self.config, self.inputs[0].shape)
        self.loss(logits).backward()  # type: ignore[no-untyped-call]
        gradients = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
        return logits.detach(), gradients

    @functools.cached_property
    def first_pass(self) -> tuple[Tensor, dict[str, Tensor]]:
        """One training pass, shared by the checks that look at it: it can take ten seconds."""
        return self.training_pass()

    def confusion(self, logits: Tensor, batch: int) -> NDArray[np.int64]:
        """Counts the pixels of a batch, at the size of the logits."""
        labels = shrink_labels(self.labels[batch], logits, self.network)
        return confusion_matrix(
            logits.max(dim=1).indices.flatten(0, 1).cpu().numpy(),
            labels.flatten(0, 1).cpu().numpy(),
            num_classes=self.num_classes,
            void=self.config.dataset.void,
        )


def admit(config: Config) -> Patient:
    """Builds the network and the images it is tried on.

    Raises:
        ValueError: the network cannot be built, or there is no size to build images of.
    """
    device = prepare_device(config)
    if config.protocol.input_size is None:
        raise ValueError("protocol.image_size is null; it must be [height, width] to examine at")
    network = build_network(config).to(device)
    height, width = padded_size(config.protocol.input_size, size_multiple(network))
    num_classes = len(config.dataset.classes)
    scenes = [halves(index, num_classes, height, width) for index in range(2 * BATCH)]
    images = torch.from_numpy(np.stack([image for image, _ in scenes])).permute(0, 3, 1, 2)
    channels = config.dataset.in_channels
    images = images[:, np.arange(channels) % 3]  # of other bands than RGB each repeats one of these
    labels = torch.from_numpy(np.stack([label for _, label in scenes]))
    inputs = network_input(images, config, device)
    return Patient(
        network=network,
        config=config,
        device=device,
        inputs=inputs.view(2, BATCH, channels, height, width),
        labels=labels.to(device).view(2, BATCH, height, width),
        admitted=time.monotonic(),
        num_classes=num_classes,
    )


def halves(index: int, num_classes: int, height: int, width: int) -> tuple[UInt8Array, UInt8Array]:
    """Paints an image uint8 (H, W, 3) of two noisy halves, with its label uint8 (H, W).

    Nothing in it is finer than the coarsest decoder can draw. The second batch has the classes of
    the first, each in its own colour, in other places.
    """
    rng = np.random.default_rng(derive_seed(0, "doctor", index))
    colours = np.random.default_rng(0).integers(30, 226, (num_classes, 3))
    batch, image = divmod(index, BATCH)
    first, second = 2 * image % num_classes, (2 * image + 1) % num_classes
    label = np.full((height, width), first, np.uint8)
    if batch == 0:
        label[height // 2 :] = second
    else:
        label[:, : width // 2] = second
    noisy = colours[label] + rng.normal(0, 12, (height, width, 3))
    return noisy.clip(0, 255).astype(np.uint8), label
