"""Logits at the size of a picture, a band of rows at a time: memory does not grow with classes."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

BAND_BYTES = 16_000_000  # of one band of all classes in float32; a few of them exist at a time


def resized_bands(logits: Tensor, size: tuple[int, int]) -> Iterator[tuple[slice, Tensor]]:
    """Yields (rows, logits (K, rows, W)) from the top of the picture to its bottom.

    Bilinear with half-pixel centres, as `resized_logits`, up to rounding.

    Args:
        logits: float (K, h, w).
        size: H, W of the picture.
    """
    (classes, source_height, source_width), (height, width) = logits.shape, size
    band = max(1, BAND_BYTES // (4 * classes * max(width, source_width)))
    centres = torch.arange(height, dtype=torch.float32, device=logits.device) + 0.5
    position = (centres * (source_height / height) - 0.5).clamp(0, source_height - 1)
    above = position.long()
    below = (above + 1).clamp(max=source_height - 1)
    for first in range(0, height, band):
        rows = slice(first, min(first + band, height))
        if (source_height, source_width) == (height, width):
            yield rows, logits[:, rows]
            continue
        upper, lower = above[rows], below[rows]
        start, stop = int(upper[0]), int(lower[-1]) + 1
        wide = F.interpolate(
            logits[None, :, start:stop],
            size=(stop - start, width),
            mode="bilinear",
            align_corners=False,
        )[0]
        share = (position[rows] - upper)[:, None]
        yield rows, torch.lerp(wide[:, upper - start], wide[:, lower - start], share)
