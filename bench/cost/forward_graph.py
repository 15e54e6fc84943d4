"""The forward pass as a CUDA graph: what it takes the GPU when the host launches it as a whole.

A network of many small operations is bound by the host, which launches them one by one; events then
measure how many there are. A replay of the same kernels has a single launch. Where the two differ,
the eager time says more about the host than about the network.
"""

from typing import Protocol

import torch

WARM_UP_PASSES = 3  # on the stream of the capture, as torch asks for


class ForwardPass(Protocol):
    """Work with a forward pass of its own, such as `bench.cost.workload.Workload`."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    def forward(self) -> torch.Tensor:
        """Computes the network's output."""


class ForwardGraph:
    """A captured forward pass."""

    def __init__(self, work: ForwardPass) -> None:
        """Captures it.

        Raises:
            RuntimeError: it cannot be captured, for example because it makes the host wait.
        """
        self._device = work.device
        stream = torch.cuda.Stream(work.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(work.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_PASSES):
                work.forward()
        torch.cuda.current_stream(work.device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = work.forward().detach()  # held: a replay writes to it

    def replay_ms(self) -> float:
        """Times a replay by CUDA events, in milliseconds."""
        begin = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        stream = torch.cuda.current_stream(self._device)
        torch.cuda.synchronize(self._device)
        begin.record(stream)
        self._graph.replay()
        end.record(stream)
        torch.cuda.synchronize(self._device)
        return float(begin.elapsed_time(end))
