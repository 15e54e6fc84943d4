"""A CUDA graph of the stand-in: operations, to be computed again on the same memory."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves


class Capture:
    """The operations of a graph in order, and what their memory held before.

    To capture is not to compute: `undo` gives all memory back what it held, and the generator its
    state.
    """

    def __init__(self) -> None:
        self.operations: list[tuple[Any, Any, dict[str, Any], Any]] = []
        self._random = torch.get_rng_state()
        self._before: dict[int, tuple[Tensor, Tensor]] = {}  # storage -> its bytes, and a copy

    def remember(self, *arguments: Any) -> None:
        """Keeps what the memory of an operation's arguments holds."""
        for tensor in _tensors(arguments):
            key = tensor.untyped_storage()._cdata
            if key not in self._before:
                with torch._C._DisableTorchDispatch():
                    held = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
                    self._before[key] = held, held.clone()

    def undo(self) -> None:
        """Gives the memory back what it held, and the generator its state."""
        torch.set_rng_state(self._random)
        for held, copy in self._before.values():
            held.copy_(copy)

    def replay(self) -> None:
        """Computes every operation again, into the memory of its first result."""
        with torch._C._DisableTorchDispatch(), torch._C._AutoDispatchBelowAutograd():
            for func, args, kwargs, result in self.operations:
                again = _tensors(func(*args, **kwargs))
                for old, new in zip(_tensors(result), again, strict=True):
                    if old.untyped_storage()._cdata != new.untyped_storage()._cdata:
                        old.copy_(new)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
