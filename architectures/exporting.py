"""Pooling and unpooling for a graph that another runtime is to compute: ONNX, TorchScript.

The graph is to hold operators that every runtime has, and to leave the batch and the size open. The
native indices are kept as they are, int64, and a scatter reads them; the values are those of
architectures/pooling.py.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def is_exporting() -> bool:
    """Says whether a graph for another runtime is made of what is computed now."""
    return torch.compiler.is_exporting() or torch._C._get_tracing_state() is not None


def pool(x: Tensor) -> tuple[Tensor, Tensor]:
    """(N, C, H, W) to maxima and native indices, both (N, C, ceil(H/2), ceil(W/2))."""
    pooled, index = F.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
    return pooled, index


def unpool(x: Tensor, index: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, h, w) to (N, C, H, W): each value where its index says, zero elsewhere."""
    flat = x.new_zeros(*x.shape[:2], size[0] * size[1])
    return flat.scatter(2, index.flatten(2), x.flatten(2)).view(*x.shape[:2], *size)
