"""2x2 max-pooling that remembers two bits a window, and the unpooling that reads them.

SegNet's memory argument (paper, Sec. 3.1) is that the decoder needs only the location of each
maximum, 2 bits for a 2x2 window. ``max_pool2d(return_indices=True)`` spends 64 on it. Here the
native operator finds the maximum and its int64 index is turned into 2 bits at once, four windows to
a byte; autograd keeps nothing else. Values and gradients equal those of the native operators.

Everything is scatter-free: each of the four cells of a window is a strided view of the large map,
written (unpooling) or read (its gradient) as a whole. Hence
``torch.use_deterministic_algorithms(True)`` works, where the native ``max_unpool2d`` refuses.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# An integer as wide as the value: times 0 or 1 it selects exactly, where a float would turn
# inf * 0 into NaN and -1 * 0 into -0.
_INTEGER = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class PoolingIndices(NamedTuple):
    """Where the maximum of each 2x2 window was found, and how to get back.

    Attributes:
        bits: uint8 (ceil(N*C*h*w / 4),), four 2-bit codes a byte; code = 2 * row + column.
        size: (H, W) of the map before pooling; 23 windows may stand for 45 rows as for 46.
        channels_last: the codes follow the memory order N, h, w, C instead of N, C, h, w.
    """

    bits: Tensor
    size: tuple[int, int]
    channels_last: bool


def max_pool(x: Tensor) -> tuple[Tensor, PoolingIndices]:
    """Pool 2x2 windows with stride 2, the last window clipped at odd sizes (Caffe's rounding).

    Args:
        x: floating point (N, C, H, W).

    Returns:
        The maxima (N, C, ceil(H/2), ceil(W/2)) and their indices. As in the native operator the
        first maximum of a tie wins, and the last NaN of a window.
    """
    pooled, bits = _MaxPool.apply(x)
    return pooled, PoolingIndices(bits, (x.shape[2], x.shape[3]), _is_channels_last(pooled))


def max_pool_values(x: Tensor) -> Tensor:
    """Like `max_pool`, for decoders that need no indices; those for the backward pass are 2-bit."""
    if torch.is_grad_enabled():
        return max_pool(x)[0]
    return F.max_pool2d(x, 2, 2, ceil_mode=True)


def max_unpool(x: Tensor, indices: PoolingIndices) -> Tensor:
    """Put each value where its window's maximum was found; zero elsewhere.

    Args:
        x: (N, C, h, w), the shape that pooling gave.
        indices: from `max_pool`.

    Returns:
        (N, C, H, W) with (H, W) = ``indices.size``.

    Raises:
        ValueError: x does not have one value for each pooled window.
    """
    height, width = indices.size
    windows = ((height + 1) // 2, (width + 1) // 2)
    if tuple(x.shape[2:]) != windows or (x.numel() + 3) // 4 != indices.bits.numel():
        raise ValueError(
            f"cannot unpool a map of shape {tuple(x.shape)}: the indices come from a map of "
            f"{height}x{width} pixels pooled to {windows[0]}x{windows[1]} windows, "
            f"{indices.bits.numel()} bytes of codes; unpool the map with its own indices"
        )
    unpooled: Tensor = _Place.apply(x, *indices)
    return unpooled


class _MaxPool(torch.autograd.Function):
    """x -> maxima, bits; its gradient is the unpooling of the incoming one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        pooled, index = F.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
        bits = _pack(_codes(index, x.shape[3]), _is_channels_last(pooled))
        ctx.save_for_backward(bits)
        ctx.mark_non_differentiable(bits)
        ctx.layout = (x.shape[2], x.shape[3]), _is_channels_last(pooled)
        return pooled, bits

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Any) -> Any:
        return _Place.apply(gradient, *ctx.saved_tensors, *ctx.layout)


class _Place(torch.autograd.Function):
    """Small map -> large map, each value in its window's cell; its gradient is `_Pick`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, bits: Tensor, size: tuple[int, int], channels_last: bool
    ) -> Tensor:
        ctx.save_for_backward(bits)
        ctx.layout = size, channels_last
        layout = torch.channels_last if _is_channels_last(x) else torch.contiguous_format
        large = torch.empty(
            (*x.shape[:2], *size), dtype=x.dtype, device=x.device, memory_format=layout
        )
        codes = _unpack(bits, x.shape, channels_last)
        integer = _INTEGER[x.element_size()]
        for code, cell in enumerate(_cells(large.view(integer))):
            here = (..., slice(cell.shape[2]), slice(cell.shape[3]))  # an odd edge has fewer
            cell.copy_(x.view(integer)[here] * (codes[here] == code))
        return large

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        picked = _Pick.apply(gradient, *ctx.saved_tensors, *ctx.layout)
        return picked, None, None, None


class _Pick(torch.autograd.Function):
    """Large map -> small map, the value of each window's cell; its gradient is `_Place`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, bits: Tensor, size: tuple[int, int], channels_last: bool
    ) -> Tensor:
        ctx.save_for_backward(bits)
        ctx.layout = size, channels_last
        shape = torch.Size((*x.shape[:2], (size[0] + 1) // 2, (size[1] + 1) // 2))
        codes = _unpack(bits, shape, channels_last)
        cells = _cells(x.view(_INTEGER[x.element_size()]))
        small = next(cells) * (codes == 0)
        for code, cell in enumerate(cells, start=1):
            here = (..., slice(cell.shape[2]), slice(cell.shape[3]))
            small[here] |= cell * (codes[here] == code)
        return small.view(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        placed = _Place.apply(gradient, *ctx.saved_tensors, *ctx.layout)
        return placed, None, None, None


def _cells(large: Tensor) -> Iterator[Tensor]:
    """The four cells of all windows as views, in the order of their codes."""
    return (large[..., row::2, column::2] for row in (0, 1) for column in (0, 1))


def _is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def _codes(index: Tensor, width: int) -> Tensor:
    """Native indices, flat in the plane of the given width, to codes 0..3 as int32."""
    rows, columns = index.shape[2:]
    corner = torch.arange(0, 2 * width * rows, 2 * width, dtype=torch.int32, device=index.device)
    corner = corner[:, None] + 2 * torch.arange(columns, dtype=torch.int32, device=index.device)
    offset = index.to(torch.int32).sub_(corner)  # 0, 1, width or width + 1
    return offset.sub_((offset >= width).to(torch.int32).mul_(width - 2))


def _pack(codes: Tensor, channels_last: bool) -> Tensor:
    """Codes (N, C, h, w) to bytes, in the order in which they lie in memory."""
    order = codes.permute(0, 2, 3, 1) if channels_last else codes
    flat = order.to(torch.uint8).flatten()
    four = F.pad(flat, (0, -flat.numel() % 4)).view(-1, 4)
    return four[:, 0] | four[:, 1] << 2 | four[:, 2] << 4 | four[:, 3] << 6


def _unpack(bits: Tensor, shape: torch.Size, channels_last: bool) -> Tensor:
    """Bytes back to codes (N, C, h, w), uint8."""
    shifts = torch.arange(0, 8, 2, dtype=torch.uint8, device=bits.device)
    flat = (bits[:, None] >> shifts & 3).flatten()[: shape.numel()]
    batch, channels, height, width = shape
    if channels_last:
        return flat.view(batch, height, width, channels).permute(0, 3, 1, 2)
    return flat.view(batch, channels, height, width)
