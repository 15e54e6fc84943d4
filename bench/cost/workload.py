"""What is timed and whose memory is measured: a network at work on one fixed batch.

The input stays on the device, and there is no loader. The learning rate is 0: the optimiser does
all its arithmetic and the weights stay put, so that every iteration is the same work.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from bench.config import Config
from bench.protocol import ProtocolConfig
from bench.run.inference import padded_size, size_multiple
from bench.run.loss import shrink_labels, training_loss
from bench.run.network import autocast
from bench.run.optimiser import clip_gradients, make_optimiser
from bench.run.views import as_evaluated
from bench.seeds import derive_seed

PHASES = ("forward", "backward", "optimiser")


@dataclass
class Workload:
    """A network with a batch, in training (three phases) or in inference (the first alone)."""

    network: nn.Module
    config: Config
    images: Tensor  # (N, C, H, W)
    labels: Tensor  # uint8 (N, H, W)
    optimiser: torch.optim.Optimizer | None  # None: inference

    @classmethod
    def make(
        cls,
        network: nn.Module,
        config: Config,
        batch: int,
        *,
        training: bool,
        frozen_statistics: bool = False,
    ) -> "Workload":
        """Prepares a network that is on its device, and its batch.

        Args:
            network: is changed to training or evaluation mode.
            config: of the run; its protocol has the image size.
            batch: images at a time.
            training: with gradients and weight updates.
            frozen_statistics: leave batch norm in evaluation mode while training, as Table 6's
                batch of 1 needs: on DeconvNet's 1x1 map a batch of 1 has no statistics.
        """
        image_size = measured_input(network, config.protocol)
        device = next(network.parameters(), torch.empty(0)).device
        torch.manual_seed(derive_seed(config.seed, "cost"))
        images = torch.randn(batch, config.dataset.in_channels, *image_size, device=device)
        if config.protocol.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        classes = len(config.dataset.classes)
        labels = torch.randint(classes, (batch, *image_size), dtype=torch.uint8, device=device)
        if not training:
            network = as_evaluated(network, config)
        network.train(training)
        if frozen_statistics:
            for layer in network.modules():
                if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                    layer.eval()
        optimiser = _optimiser(network, config.protocol) if training else None
        return cls(network, config, images, labels, optimiser)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.images.device

    def external(self) -> list[Any]:
        """Returns what holds memory beside the network."""
        held = [self.images, self.labels]
        return held if self.optimiser is None else [self.optimiser, *held]

    def phases(self) -> tuple[str, ...]:
        """Names what `run` does in order."""
        return PHASES[:1] if self.optimiser is None else PHASES

    def forward(self) -> Tensor:
        """Returns the logits of the batch, computed as in training or as in inference."""
        precision = self.config.protocol.precision
        with torch.set_grad_enabled(self.optimiser is not None), autocast(self.device, precision):
            logits: Tensor = self.network(self.images)
        return logits

    def run(self, mark: Callable[[], None] = lambda: None) -> None:
        """Makes one iteration; `mark` is called at its beginning and after each phase.

        The forward pass is the network alone. The backward pass begins with the loss, and the
        optimiser's phase includes clipping and dropping the gradients.
        """
        mark()
        logits = self.forward()
        mark()
        if self.optimiser is None:
            return
        void = self.config.dataset.void
        labels = shrink_labels(self.labels, logits, self.network)
        loss = training_loss(logits, labels, None, void, self.config.protocol)
        loss.backward()  # type: ignore[no-untyped-call]
        mark()
        clip_gradients(self.network, self.config.protocol)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        mark()


def measured_input(network: nn.Module, protocol: ProtocolConfig) -> tuple[int, int]:
    """Returns the H, W that a network is given where its cost is measured."""
    return padded_size(protocol.measured_size, size_multiple(network))


def _optimiser(network: nn.Module, protocol: ProtocolConfig) -> torch.optim.Optimizer:
    """Makes an optimiser that has its momentum already, as it has from the second update on."""
    optimiser = make_optimiser(network, replace(protocol, lr=0.0))
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return optimiser
