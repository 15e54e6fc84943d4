"""A training update as one CUDA graph: launched at once, where it was a thousand launches.

The same kernels compute the same numbers in the same order; what is saved is the host's time,
which bounds small networks on a fast GPU. Where an update has numbers of its own outside tensors, a
learning rate or AdamW's count, its gradients are the graph and the optimiser steps beside it.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from bench.protocol import Optimiser, ProtocolConfig
from bench.run.optimiser import has_constant_rates

EAGER_UPDATES = 3  # before it is captured: libraries choose their algorithms, buffers come to be

Gradients = Callable[[Tensor, Tensor], Tensor]  # images, labels -> loss


class GraphedUpdate:
    """Makes a few updates one by one, then captures one, and replays it from there on.

    Batches are copied to where the captured one lay, and all have its shape. What comes from
    outside tensors is as it was when captured: of a whole update the learning rates must not
    change, and the random generator, whose seed is read at each replay, is seeded before it.

    Args:
        optimiser: of the update.
        whole: whether its step is part of the graph; else gradients stay where the graph puts them.
    """

    def __init__(self, optimiser: torch.optim.Optimizer, *, whole: bool = True) -> None:
        self.optimiser = optimiser
        self.whole = whole
        self.made = 0
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, gradients: Gradients, images: Tensor, labels: Tensor) -> Tensor:
        """Makes an update on a batch and returns its loss; `gradients` is always the same."""
        if self.made < EAGER_UPDATES:
            self.made += 1
            return _beside(partial(self._update, gradients), images, labels)
        if self.graph is None:
            captured = partial(self._update, gradients) if self.whole else gradients
            self.graph = self._captured(captured, images, labels)
        if self.whole:
            assert self._rates() == self.rates, "the graph has the learning rates of its capture"
        self.images.copy_(images)
        self.labels.copy_(labels)
        self.graph.replay()
        if not self.whole:
            self.optimiser.step()
        return self.loss.clone()

    def _update(self, gradients: Gradients, images: Tensor, labels: Tensor) -> Tensor:
        loss = gradients(images, labels)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return loss

    def _captured(
        self, gradients: Gradients, images: Tensor, labels: Tensor
    ) -> torch.cuda.CUDAGraph:
        """Writes down what computes gradients, or an update, without computing."""
        self.images, self.labels, self.rates = images.clone(), labels.clone(), self._rates()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.loss = gradients(self.images, self.labels)
        return graph

    def _rates(self) -> list[float]:
        return [group["lr"] for group in self.optimiser.param_groups]


def graphed(optimiser: torch.optim.Optimizer, protocol: ProtocolConfig) -> GraphedUpdate:
    """Returns what launches the updates of a run with `cuda_graph=true`."""
    counts = protocol.optimiser == Optimiser.adamw  # on the host
    return GraphedUpdate(optimiser, whole=has_constant_rates(protocol) and not counts)


def _beside(update: Gradients, images: Tensor, labels: Tensor) -> Tensor:
    """Makes an update in a stream of its own, as a capture does."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        loss = update(images, labels)
    torch.cuda.current_stream().wait_stream(stream)
    return loss
