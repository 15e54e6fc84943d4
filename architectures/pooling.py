"""2x2 max-pooling that remembers two bits a window, and the unpooling that reads them.

SegNet's memory argument (paper, Sec. 3) is that the decoder needs only the location of each
maximum, 2 bits for a 2x2 window. ``max_pool2d(return_indices=True)`` spends 64 on it. Here the
native operator finds the maximum and its int64 index is turned into 2 bits at once, four windows to
a byte; autograd keeps nothing else. Values and gradients equal those of the native operators.

There are three forms of equal value, and each works under
``torch.use_deterministic_algorithms(True)``, where the native ``max_unpool2d`` refuses. A CPU
scatters and gathers by addresses, made of the bits when they are needed. An NVIDIA GPU has kernels
of its own where Triton is (architectures/pooling_kernels.py). On other devices, where a scatter
would sort, each of the four cells of a window is a strided view of the large map; on a CPU that
costs two to three times as much. Exported graphs keep native indices (architectures/exporting.py).
"""

import importlib
import logging
import subprocess
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from architectures import exporting

# What Triton raises where it is not installed, or has no driver or compiler to build with.
NO_TRITON = (ImportError, OSError, RuntimeError, AssertionError, subprocess.CalledProcessError)

# An integer as wide as the value: times 0 or 1 it selects exactly, where a float would turn
# inf * 0 into NaN and -1 * 0 into -0; and torch scatters 16-bit integers ten times as fast as
# bfloat16.
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
    """Pools 2x2 windows with stride 2, the last window clipped at odd sizes (Caffe's rounding).

    Args:
        x: floating point (N, C, H, W).

    Returns:
        The maxima (N, C, ceil(H/2), ceil(W/2)) and their indices. As in the native operator the
        first maximum of a tie wins, and the last NaN of a window.
    """
    pooled, bits = exporting.pool(x) if exporting.is_exporting() else _MaxPool.apply(x)
    return pooled, PoolingIndices(bits, (x.shape[2], x.shape[3]), _is_channels_last(pooled))


def max_pool_values(x: Tensor) -> Tensor:
    """Like `max_pool`, for decoders that need no indices; those for the backward pass are 2-bit."""
    if torch.is_grad_enabled() and not exporting.is_exporting():
        return max_pool(x)[0]
    return F.max_pool2d(x, 2, 2, ceil_mode=True)


def max_unpool(x: Tensor, indices: PoolingIndices) -> Tensor:
    """Puts each value where its window's maximum was found; zero elsewhere.

    Args:
        x: (N, C, h, w), the shape that pooling gave.
        indices: from `max_pool`.

    Returns:
        (N, C, H, W) with (H, W) = ``indices.size``.

    Raises:
        ValueError: x does not have one value for each pooled window.
    """
    if exporting.is_exporting():
        return exporting.unpool(x, indices.bits, indices.size)
    height, width = indices.size
    windows = -(-height // 2), -(-width // 2)
    if tuple(x.shape[2:]) != windows or (x.numel() + 3) // 4 != indices.bits.numel():
        raise ValueError(
            f"cannot unpool a map of shape {tuple(x.shape)}: the indices come from a map of "
            f"{height}x{width} pixels pooled to {windows[0]}x{windows[1]} windows, "
            f"{indices.bits.numel()} bytes of codes; unpool the map with its own indices"
        )
    return _Place.apply(x, *indices)  # type: ignore[no-any-return]


class _MaxPool(torch.autograd.Function):
    """x -> maxima, bits; its gradient is the unpooling of the incoming one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        if (kernels := _kernels_for(x)) is not None:
            pooled, bits = kernels.pool(x, _is_channels_last(x))
        else:
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
        kernels = _kernels_for(x)
        by_cells = kernels is None and not _uses_addresses(x)
        last = _is_channels_last(x) if by_cells else channels_last
        layout = torch.channels_last if last else torch.contiguous_format
        large = torch.empty(
            (*x.shape[:2], *size), dtype=x.dtype, device=x.device, memory_format=layout
        )
        place = kernels.place if kernels else _write_cells if by_cells else _scatter
        integer = _INTEGER[x.element_size()]
        place(large.view(integer), x.view(integer), bits, channels_last)
        return large

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _Pick.apply(gradient, *ctx.saved_tensors, *ctx.layout), None, None, None


class _Pick(torch.autograd.Function):
    """Large map -> small map, the value of each window's cell; its gradient is `_Place`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, bits: Tensor, size: tuple[int, int], channels_last: bool
    ) -> Tensor:
        ctx.save_for_backward(bits)
        ctx.layout = size, channels_last
        kernels = _kernels_for(x)
        pick = kernels.pick if kernels else _gather if _uses_addresses(x) else _read_cells
        small = pick(x.view(_INTEGER[x.element_size()]), bits, size, channels_last)
        return small.view(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _Place.apply(gradient, *ctx.saved_tensors, *ctx.layout), None, None, None


def _uses_addresses(x: Tensor) -> bool:
    return x.device.type == "cpu"


def _is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def _kernels_for(x: Tensor) -> ModuleType | None:
    """The kernels, where they apply: torch.compile fuses the other forms by itself."""
    # 32 bits number the values of a map four times as large.
    fit = x.is_cuda and x.numel() < 2**29 and not torch.compiler.is_compiling()
    return _kernels() if fit else None


@cache
def _kernels() -> ModuleType | None:
    """The module of the kernels, or None where Triton is not there or cannot build them."""
    try:
        kernels = importlib.import_module("architectures.pooling_kernels")
        kernels.require_driver()
    except NO_TRITON as error:
        logging.warning("pooling takes more time here, without kernels of Triton (%s)", error)
        return None
    return kernels


def _scatter(large: Tensor, x: Tensor, bits: Tensor, channels_last: bool) -> None:
    """Small map into large map, integers; the large one in the layout of the bits."""
    codes = _unpack(bits, x.shape, channels_last)
    values, target = (_as_memory(tensor, channels_last) for tensor in (x, large.zero_()))
    for image, value, code in zip(target, values, codes, strict=True):
        image.scatter_(1, _addresses(code, large.shape[3], channels_last), value)


def _gather(x: Tensor, bits: Tensor, size: tuple[int, int], channels_last: bool) -> Tensor:
    """Large map to small map, integers, in the layout of the bits."""
    shape = _windows(x.shape)
    codes = _unpack(bits, shape, channels_last)
    small = [
        image.gather(1, _addresses(code, size[1], channels_last))
        for image, code in zip(_as_memory(x, channels_last), codes, strict=True)
    ]
    return _as_map(torch.stack(small), shape, channels_last)


def _addresses(codes: Tensor, width: int, channels_last: bool) -> Tensor:
    """Where the values of one image's windows belong in `_as_memory` of its large map.

    Args:
        codes: of the image, (C, h, w). More images at once would mean temporaries, of 8 bytes a
            window, beyond what the allocator keeps.
        width: of the large map.
        channels_last: the layout of both maps.

    Returns:
        int64 (1, h*w*C) channels last, or (C, h*w).
    """
    channels, rows, columns = codes.shape
    step = channels if channels_last else 1  # from one column to the next
    line = step * width
    codes = _as_memory(codes[None], channels_last).view(-1, rows, columns * step)
    inner = torch.arange(columns * step, device=codes.device)
    top = 2 * line * torch.arange(rows, device=codes.device)
    corner = top[:, None] + (inner + inner // step * step)  # each column counts twice
    # row * line + column * step, from code = 2 * row + column.
    offset = (codes >> 1).to(torch.int32).mul_(line - 2 * step).add_(codes, alpha=step)
    return offset.to(torch.int64).add_(corner).flatten(1)


def _as_memory(x: Tensor, channels_last: bool) -> Tensor:
    """A map (N, C, H, W) as it lies in memory: (N, 1, H*W*C) channels last, or (N, C, H*W)."""
    return x.permute(0, 2, 3, 1).flatten(1)[:, None] if channels_last else x.contiguous().flatten(2)


def _as_map(memory: Tensor, shape: torch.Size, channels_last: bool) -> Tensor:
    """Undoes `_as_memory`."""
    batch, channels, height, width = shape
    if channels_last:
        return memory.view(batch, height, width, channels).permute(0, 3, 1, 2)
    return memory.view(shape)


def _windows(shape: torch.Size) -> torch.Size:
    """The shape after pooling."""
    return torch.Size((*shape[:2], (shape[2] + 1) // 2, (shape[3] + 1) // 2))


def _write_cells(large: Tensor, x: Tensor, bits: Tensor, channels_last: bool) -> None:
    """Small map into large map, integers."""
    codes = _unpack(bits, x.shape, channels_last)
    for code, cell in enumerate(_cells(large)):
        here = (..., slice(cell.shape[2]), slice(cell.shape[3]))  # an odd edge has fewer
        cell.copy_(x[here] * (codes[here] == code))


def _read_cells(x: Tensor, bits: Tensor, size: tuple[int, int], channels_last: bool) -> Tensor:
    """Large map to small map, integers."""
    codes = _unpack(bits, _windows(x.shape), channels_last)
    cells = _cells(x)
    small = next(cells) * (codes == 0)
    for code, cell in enumerate(cells, start=1):
        here = (..., slice(cell.shape[2]), slice(cell.shape[3]))
        small[here] |= cell * (codes[here] == code)
    return small


def _cells(large: Tensor) -> Iterator[Tensor]:
    """The four cells of all windows as views, in the order of their codes."""
    return (large[..., row::2, column::2] for row in (0, 1) for column in (0, 1))


def _codes(index: Tensor, width: int) -> Tensor:
    """Native indices, flat in the plane of the given width, to codes 0..3 as uint8."""
    rows, columns = index.shape[2:]
    corner = torch.arange(0, 2 * width * rows, 2 * width, dtype=torch.int32, device=index.device)
    corner = corner[:, None] + 2 * torch.arange(columns, dtype=torch.int32, device=index.device)
    offset = index.to(torch.int32).sub_(corner)  # 0, 1, width or width + 1
    second_row = (offset >= width).view(torch.uint8)
    return offset.to(torch.uint8) - second_row * ((width - 2) % 256)  # modulo 256, exact


def _pack(codes: Tensor, channels_last: bool) -> Tensor:
    """Codes (N, C, h, w) to bytes, in the order in which they lie in memory."""
    flat = _as_memory(codes, channels_last).flatten()
    four = F.pad(flat, (0, -flat.numel() % 4)).view(torch.int32)  # a code in each of its bytes
    two = four | four >> 6
    return (two | two >> 12).to(torch.uint8)


def _unpack(bits: Tensor, shape: torch.Size, channels_last: bool) -> Tensor:
    """Bytes back to codes (N, C, h, w), uint8."""
    two = bits.to(torch.int32)
    two = two | two << 12
    four = (two | two << 6) & 0x03030303
    return _as_map(four.view(torch.uint8)[: shape.numel()], shape, channels_last)
