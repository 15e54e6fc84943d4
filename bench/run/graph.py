"""A training update as one CUDA graph: launched at once, where it was a thousand launches.

The same kernels compute the same numbers in the same order; what is saved is the host's time,
which bounds small networks on a fast GPU.
"""

from collections.abc import Callable

import torch
from torch import Tensor

EAGER_UPDATES = 3  # before it is captured: libraries choose their algorithms, buffers come to be

Update = Callable[[Tensor, Tensor], Tensor]  # images, labels -> loss


class GraphedUpdate:
    """Makes a few updates one by one, then captures one, and replays it from there on.

    Batches are copied to where the captured one lay, and all have its shape. What comes from
    outside tensors is as it was when captured: the learning rates must not change, and the random
    generator, whose seed is read at each replay, is seeded before it.
    """

    def __init__(self, optimiser: torch.optim.Optimizer) -> None:
        self.optimiser = optimiser
        self.made = 0
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, update: Update, images: Tensor, labels: Tensor) -> Tensor:
        """Makes an update on a batch and returns its loss; `update` is always the same."""
        if self.made < EAGER_UPDATES:
            self.made += 1
            return _beside(update, images, labels)
        if self.graph is None:
            self.graph = self._captured(update, images, labels)
        assert self._rates() == self.rates, "the graph has the learning rates of its capture"
        self.images.copy_(images)
        self.labels.copy_(labels)
        self.graph.replay()
        return self.loss.clone()

    def _captured(self, update: Update, images: Tensor, labels: Tensor) -> torch.cuda.CUDAGraph:
        """Writes down an update, without making it."""
        self.images, self.labels, self.rates = images.clone(), labels.clone(), self._rates()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.loss = update(self.images, self.labels)
        return graph

    def _rates(self) -> list[float]:
        return [group["lr"] for group in self.optimiser.param_groups]


def _beside(update: Update, images: Tensor, labels: Tensor) -> Tensor:
    """Makes an update in a stream of its own, as a capture does."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        loss = update(images, labels)
    torch.cuda.current_stream().wait_stream(stream)
    return loss
