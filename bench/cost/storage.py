"""Storage for the decoder: the bytes that an encoder produces and the decoder reads (Table 1).

The paper counts what must be kept of the encoder while the deeper layers run: 2-bit pooling
indices, maps reduced to K channels, or full maps. It is counted here on any network by watching
which memory crosses its bottleneck. The bottleneck ends with the last operation that gives a map
of the smallest resolution; the next operation that gives a larger map begins the decoder. What was
produced before that and is read from then on is retained, but for the maps of the smallest
resolution themselves, which are the decoder's input in every network.

Maps of 1x1 count as summaries of the image, not as a resolution: squeeze-and-excitation gates and
global pooling occur anywhere in a network. A network that makes several passes also retains what
it sums up over them.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.cost.shapes import observe

# The paper's unit: one fp32 map of 180x240, the first pooled level of a 360x480 image.
UNIT_BYTES = 180 * 240 * 4


class Retained(NamedTuple):
    """Bytes retained for the decoder, for one image in fp32.

    Attributes:
        total: over all levels.
        first_level: of the largest resolution that is retained, which is what the paper counts.
    """

    total: int
    first_level: int


def retained_bytes(
    network: nn.Module, image_size: Sequence[int], channels: int = 3
) -> Retained | None:
    """Counts what a network keeps of its encoder for its decoder, in inference with batch 1.

    Args:
        network: maps (N, C, H, W) to logits.
        image_size: H, W.
        channels: C.

    Returns:
        The bytes, or None for a network without a bottleneck: one that nowhere goes from a
        smaller map to a larger one.

    Raises:
        Exception: whatever the network raises for an image size that it refuses.
    """
    trace = observe(network, image_size, _Trace, channels=channels)
    start = _decoder_start(trace.operations)
    if start is None:
        return None
    produced = {key for operation in trace.operations[:start] for key in operation.produced}
    read = {key for operation in trace.operations[start:] for key in operation.read}
    smallest = min(op.area for op in trace.operations if op.area)
    crossing = [trace.memory[key] for key in produced & read]
    kept = [m for m in crossing if not (m.floating and m.area <= smallest)]
    largest = max((m.area for m in kept), default=0)
    return Retained(
        total=sum(m.bytes for m in kept),
        first_level=sum(m.bytes for m in kept if m.area == largest),
    )


class _Memory(NamedTuple):
    """A piece of memory; tensors that are views of it share it."""

    bytes: int
    floating: bool
    area: int  # H * W of the map it holds, or was computed from


class _Operation(NamedTuple):
    read: list[int]  # keys of _Trace.memory
    produced: list[int]
    area: int  # H * W of the floating-point map it gives; 0 if it gives none


class _Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's lack annotations
    """Records which memory each operation reads and which it produces."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[_Operation] = []
        self.memory: dict[int, _Memory] = {}
        self._alive: dict[int, StorageWeakRef] = {}  # held, so that no key is used twice

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        read = [self._key(tensor) for tensor in _tensors((args, kwargs))]
        source = max((self.memory[key].area for key in read if key in self.memory), default=0)
        result = func(*args, **(kwargs or {}))
        produced, area = [], 0
        for tensor in _tensors(result):
            if _reference(tensor).cdata in self._alive:
                continue  # a view, or written in place: no new memory
            key = self._key(tensor)
            height, width = tensor.shape[2:] if tensor.dim() == 4 else (1, 1)
            size = height * width if height * width > 1 else 0
            floating = tensor.is_floating_point()
            self.memory[key] = _Memory(tensor.untyped_storage().nbytes(), floating, size or source)
            produced.append(key)
            area = max(area, size if floating else 0)
        self.operations.append(_Operation(read, produced, area))
        return result

    def _key(self, tensor: Tensor) -> int:
        reference = _reference(tensor)
        self._alive.setdefault(reference.cdata, reference)
        return int(reference.cdata)


def _reference(tensor: Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]


def _tensors(tree: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def _decoder_start(operations: list[_Operation]) -> int | None:
    """Returns the index of the first operation of the decoder, None where there is none."""
    smallest = min((op.area for op in operations if op.area), default=0)
    last = max((i for i, op in enumerate(operations) if op.area == smallest), default=0)
    later = (i for i in range(last, len(operations)) if operations[i].area > smallest)
    return next(later, None)
