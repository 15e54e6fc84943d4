"""Work of a network: parameters, model size, multiply-accumulates. No arithmetic is done for it."""

from collections.abc import Sequence
from functools import partial
from typing import IO, Any, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from bench.cost.shapes import observe
from bench.run.network import describe_network

COUNTED = ("parameters", "trainable_parameters", "model_bytes")


def count_work(network: nn.Module, image_size: Sequence[int], channels: int = 3) -> dict[str, Any]:
    """Counts a network's parameters and the work of inference on one image.

    Args:
        network: maps (N, C, H, W) to logits.
        image_size: H, W.
        channels: C.

    Returns:
        `parameters`, `trainable_parameters`, `model_bytes` (4 for each parameter, as in Table 6),
        `multiply_accumulates` and `moved_bytes` of the forward pass in fp32.

    Raises:
        Exception: whatever the network raises for an image size that it refuses.
    """
    described = describe_network(network)
    return {
        **{key: described[key] for key in COUNTED},
        "multiply_accumulates": multiply_accumulates(network, image_size, channels=channels),
        "moved_bytes": moved_bytes(network, image_size, channels),
    }


def multiply_accumulates(
    network: nn.Module, image_size: Sequence[int], batch: int = 1, channels: int = 3
) -> int:
    """Counts the multiply-accumulates of convolutions, deconvolutions and matrix products.

    Everything else (batch norm, pooling, interpolation) is below 1 % in the networks of the paper
    and is left out. Training takes 2.9 to 3.0 times as many: the gradients of the weights and of
    each layer's input cost as much as the layer, and the image needs no gradient.

    Raises:
        Exception: whatever the network raises for an image size that it refuses.
    """
    make_counter = partial(FlopCounterMode, display=False)
    counter = observe(network, image_size, make_counter, batch, channels)
    return counter.get_total_flops() // 2


def moved_bytes(network: nn.Module, image_size: Sequence[int], channels: int = 3) -> int:
    """Counts the bytes that inference on one image reads and writes, operation by operation.

    Nothing is fused and no cache helps: an upper bound of the traffic, for fp32.

    Raises:
        Exception: whatever the network raises for an image size that it refuses.
    """
    return observe(network, image_size, _Traffic, channels=channels).bytes


class _Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's lack annotations
    """Adds up what operations read and write; a view does neither."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        written = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if written and not func.is_view:  # without a result it asked for a property
            read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            self.bytes += sum(tensor.nbytes for tensor in read + written)
        return result


def file_bytes(network: nn.Module) -> int:
    """Returns the size that the weights have as a file: with buffers, in torch's format."""
    file = _ByteCounter()
    torch.save(network.state_dict(), cast("IO[bytes]", file))
    return file.bytes


class _ByteCounter:
    """A file that keeps only its length."""

    def __init__(self) -> None:
        self.bytes = 0

    def write(self, content: bytes | memoryview) -> int:
        """Counts."""
        self.bytes += len(content)
        return len(content)

    def flush(self) -> None:
        """Has nothing to do."""
