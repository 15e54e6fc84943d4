"""2-bit pooling for a GPU: one Triton kernel each to pool, to place and to pick.

As operators of torch the same takes 20 to 30 launches and reads and writes the large map four
times over. Here each value is read and written once. Values are moved as integers of their width,
so that not a bit of them changes, and compared as floating point.

A map is (outer, H, W, inner) in memory whichever its layout: (N*C, H, W, 1) contiguous, or
(N, H, W, C) channels last. A code stands for a window, four codes in a byte, in the order in which
the windows lie in memory. Imported where Triton is; see architectures/pooling.py.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BYTES = 256  # of codes, a program: four times as many windows
COMPARED_AS = {torch.bfloat16: tl.bfloat16, torch.float16: tl.float16, torch.float32: tl.float32,
               torch.float64: tl.float64}  # fmt: skip
INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


@triton.jit
def _windows(count, rows, columns, height, width, inner, block: tl.constexpr):
    """Numbers of this program's bytes and windows, and of each window's first value."""
    byte = tl.program_id(0) * block + tl.arange(0, block)
    window = byte[:, None] * 4 + tl.arange(0, 4)[None, :]
    place = window // inner
    column = place % columns
    line = place // columns
    row = line % rows
    first = (((line // rows) * height + 2 * row) * width + 2 * column) * inner + window % inner
    here = window < count
    right = here & (2 * column + 1 < width)  # an odd edge has no second row or column
    below = here & (2 * row + 1 < height)
    return byte, window, first, here, right, below


@triton.jit
def _pool(
    x, pooled, bits, count, rows, columns, height, width,
    inner, kind: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    byte, window, first, here, right, below = _windows(
        count, rows, columns, height, width, inner, block
    )
    value = tl.load(x + first, here, 0)
    code = tl.zeros_like(window)
    for cell in tl.static_range(1, 4):
        valid = right if cell == 1 else below if cell == 2 else right & below
        other = tl.load(x + first + ((cell // 2) * width + cell % 2) * inner, valid, 0)
        highest, rival = value.to(kind, bitcast=True), other.to(kind, bitcast=True)
        if kind != tl.float64:
            highest, rival = highest.to(tl.float32), rival.to(tl.float32)
        wins = valid & ((rival > highest) | (rival != rival))  # of NaNs the last one
        value = tl.where(wins, other, value)
        code = tl.where(wins, cell, code)
    tl.store(pooled + window, value, here)
    four = tl.sum(code << (2 * tl.arange(0, 4)[None, :]), axis=1)
    tl.store(bits + byte, four.to(tl.uint8), 4 * byte < count)


@triton.jit
def _place(
    x, large, bits, count, rows, columns, height, width,
    inner, block: tl.constexpr,
):  # fmt: skip
    byte, window, first, here, right, below = _windows(
        count, rows, columns, height, width, inner, block
    )
    value = tl.load(x + window, here, 0)
    four = tl.load(bits + byte, 4 * byte < count, 0).to(tl.int32)
    code = (four[:, None] >> (2 * tl.arange(0, 4)[None, :])) & 3
    nothing = tl.zeros_like(value)
    for cell in tl.static_range(4):
        valid = here if cell == 0 else right if cell == 1 else below if cell == 2 else right & below
        target = large + first + ((cell // 2) * width + cell % 2) * inner
        tl.store(target, tl.where(code == cell, value, nothing), valid)


@triton.jit
def _pick(
    large, x, bits, count, rows, columns, height, width,
    inner, block: tl.constexpr,
):  # fmt: skip
    byte, window, first, here, _, _ = _windows(count, rows, columns, height, width, inner, block)
    four = tl.load(bits + byte, 4 * byte < count, 0).to(tl.int32)
    code = (four[:, None] >> (2 * tl.arange(0, 4)[None, :])) & 3
    value = tl.load(large + first + ((code >> 1) * width + (code & 1)) * inner, here, 0)
    tl.store(x + window, value, here)


def require_driver() -> None:
    """Has Triton build what it launches kernels with.

    Raises:
        RuntimeError: there is no driver or no compiler; likewise OSError, CalledProcessError.
    """
    triton.runtime.driver.active.get_current_device()


def pool(x: Tensor, channels_last: bool) -> tuple[Tensor, Tensor]:
    """Returns the maxima (N, C, ceil(H/2), ceil(W/2)) of x (N, C, H, W), and their codes.

    Both are in the layout of x, which is channels last or else made contiguous.
    """
    layout = torch.channels_last if channels_last else torch.contiguous_format
    shape = (*x.shape[:2], (x.shape[2] + 1) // 2, (x.shape[3] + 1) // 2)
    pooled = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
    bits = torch.empty((pooled.numel() + 3) // 4, dtype=torch.uint8, device=x.device)
    integer = INTEGERS[x.element_size()]
    x, kind = x.contiguous(memory_format=layout).view(integer), COMPARED_AS[x.dtype]
    _launch(_pool, x, pooled, (x, pooled.view(integer), bits), channels_last, kind=kind)
    return pooled, bits


def place(large: Tensor, x: Tensor, bits: Tensor, channels_last: bool) -> None:
    """Fills a large map with the values of a small one at their codes, else 0; both integers.

    The large map is in the layout of the codes.
    """
    layout = torch.channels_last if channels_last else torch.contiguous_format
    x = x.contiguous(memory_format=layout)
    _launch(_place, large, x, (x, large, bits), channels_last)


def pick(x: Tensor, bits: Tensor, size: tuple[int, int], channels_last: bool) -> Tensor:
    """Returns the values of a large map (N, C, *size) at the codes, in their layout; integers."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    shape = (*x.shape[:2], (size[0] + 1) // 2, (size[1] + 1) // 2)
    small = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
    x = x.contiguous(memory_format=layout)
    _launch(_pick, x, small, (x, small, bits), channels_last)
    return small


def _launch(
    kernel: Any,
    large: Tensor,
    small: Tensor,
    tensors: tuple[Tensor, ...],
    channels_last: bool,
    **how: Any,
) -> None:
    count = small.numel()
    if count > 0:
        inner = small.shape[1] if channels_last else 1
        sizes = (count, *small.shape[2:], *large.shape[2:], inner)
        programs = triton.cdiv(count, 4 * BYTES)
        kernel[(programs,)](*tensors, *sizes, **how, block=BYTES)
