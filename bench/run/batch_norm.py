"""Batch-norm statistics for evaluation: one pass over the training set, in a copy.

The paper evaluates with statistics over the training data (section 4.1), and the authors' script
averages the mean and the (biased) variance of every batch, dropout off. That leaves out the
variance between batches; `exact` adds it.
"""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.run import distributed
from bench.run.network import autocast


class _Accumulator:
    """Sums of one batch-norm layer's batch statistics, in float64."""

    def __init__(self, layer: _BatchNorm) -> None:
        self.layer, self.batches = layer, 0
        assert layer.running_mean is not None
        self.mean = torch.zeros_like(layer.running_mean, dtype=torch.float64)
        self.variance = torch.zeros_like(self.mean)
        self.square = torch.zeros_like(self.mean)
        self.handle = layer.register_forward_hook(self._add)

    def _add(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        # With momentum 1 the running statistics are those of this batch, the variance unbiased.
        mean, variance = self.layer.running_mean, self.layer.running_var
        assert mean is not None
        assert variance is not None
        samples = inputs[0].numel() / inputs[0].shape[1]
        self.mean += mean
        self.square += mean.double().square()
        self.variance += variance.double() * ((samples - 1) / samples)
        self.batches += 1

    def finish(self, statistics: str) -> None:
        self.handle.remove()
        assert self.layer.running_mean is not None
        assert self.layer.running_var is not None
        batches = distributed.total(torch.tensor(self.batches))
        mean = distributed.total(self.mean) / batches
        variance = distributed.total(self.variance) / batches
        if statistics == "exact":
            variance += distributed.total(self.square) / batches - mean.square()
        self.layer.running_mean.copy_(mean)
        self.layer.running_var.copy_(variance)


@torch.no_grad()
def recomputed(
    network: nn.Module, batches: Iterable[Tensor], statistics: str, precision: str = "fp32"
) -> nn.Module:
    """Returns a copy in evaluation mode, its batch-norm statistics those of the given batches.

    The network itself is left untouched. Several processes each give some of the batches.

    Args:
        network: being trained.
        batches: normalised images (N, 3, H, W), all of one batch size.
        statistics: `paper` averages the biased variances of the batches; `exact` adds the
            variance of their means.
        precision: of the protocol, in which the network computes, and nothing else.
    """
    twin = copy.deepcopy(network).eval()
    layers = [m for m in twin.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    momenta = [layer.momentum for layer in layers]
    accumulators = [_Accumulator(layer) for layer in layers]
    for layer in layers:
        layer.train()
        layer.momentum = 1.0
    for images in batches if layers else ():
        with autocast(images.device, precision):
            twin(images)
    for accumulator, momentum in zip(accumulators, momenta, strict=True):
        accumulator.finish(statistics)
        accumulator.layer.momentum = momentum
    return twin.eval()
