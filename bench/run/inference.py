"""From images to logits as the protocol has it: whole images, or windows that slide over them.

`whole` gives the network an image at once. `slide` gives it windows of inference.crop, at every
inference.stride from the upper left corner and, where that passes the border, at the border
instead; the logits of a pixel are the mean over the windows that contain it. A window is never
larger than the image: one that covers it is the whole image, to the last bit.
"""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn

from bench.protocol import InferenceConfig, InferenceMode
from bench.run.padding import logits_of

Place = tuple[slice, slice]  # rows and columns of a window


def window_size(size: Sequence[int], inference: InferenceConfig) -> tuple[int, int]:
    """Returns the H, W that a network is given of an image of H, W."""
    height, width = size
    if inference.mode == InferenceMode.whole or inference.crop is None:
        return height, width
    return min(height, inference.crop[0]), min(width, inference.crop[1])


def windows(size: Sequence[int], inference: InferenceConfig) -> list[Place]:
    """Returns the windows of an image of H, W, row by row."""
    spans = window_size(size, inference)
    steps = inference.stride or spans
    starts = [
        [min(number * step, side - span) for number in range(-(-(side - span) // step) + 1)]
        for side, span, step in zip(size, spans, steps, strict=True)
    ]
    height, width = spans
    return [(slice(y, y + height), slice(x, x + width)) for y, x in product(*starts)]


def infer(network: nn.Module, images: Tensor, inference: InferenceConfig) -> Tensor:
    """Returns the logits float32 (N, K, H, W) of normalised images (N, 3, H, W)."""
    places = windows(images.shape[2:], inference)
    if len(places) == 1:
        return logits_of(network, images).float()
    total, count = torch.zeros(0), images.new_zeros(images.shape[2:], dtype=torch.float32)
    for rows, columns in places:
        logits = logits_of(network, images[:, :, rows, columns]).float()
        if not total.numel():
            total = logits.new_zeros(*logits.shape[:2], *images.shape[2:])
        total[:, :, rows, columns] += logits
        count[rows, columns] += 1
    return total.div_(count)
