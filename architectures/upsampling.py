"""Bilinear upsampling by 2 whose gradient a GPU computes deterministically, in two launches."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.exporting import is_exporting


class BilinearDouble(nn.Module):
    """Doubles height and width as torch's bilinear interpolation does, corners not aligned.

    A CPU does just that, and an exported graph. On a GPU torch's gradient adds atomically, and in
    deterministic mode sorts in some thirty launches; here it is the fixed stencil that it amounts
    to.
    """

    def __init__(self) -> None:
        super().__init__()
        # out[2i] = x[i-1] / 4 + 3 x[i] / 4 and out[2i+1] = 3 x[i] / 4 + x[i+1] / 4, read backwards.
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
        self.register_buffer("stencil", torch.outer(taps, taps), persistent=False)
        self.stencil: Tensor  # (4, 4)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, 2H, 2W)."""
        if x.device.type == "cpu" or is_exporting():
            return F.interpolate(x, scale_factor=2.0, mode="bilinear")
        doubled: Tensor = _Double.apply(x, self.stencil)
        return doubled


class _Double(torch.autograd.Function):
    """Small map -> large map; its gradient is `_Halve`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, stencil: Tensor) -> Tensor:
        ctx.save_for_backward(stencil)
        size = [2 * x.shape[2], 2 * x.shape[3]]
        return torch.ops.aten.upsample_bilinear2d(x, size, False, 2.0, 2.0)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Halve.apply(gradient, *ctx.saved_tensors), None


class _Halve(torch.autograd.Function):
    """Large map -> small map: the transposed matrix of `_Double`, which is its gradient.

    Beyond the border `_Double` repeats the outermost value, so that value's gradient counts there.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, stencil: Tensor) -> Tensor:
        ctx.save_for_backward(stencil)
        channels = x.shape[1]
        kernel = stencil.to(x.dtype).expand(channels, 1, 4, 4)
        bordered = torch.ops.aten.replication_pad2d(x, [1, 1, 1, 1])  # F.pad makes many launches
        return F.conv2d(bordered, kernel, stride=2, groups=channels)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Double.apply(gradient, *ctx.saved_tensors), None
