"""What a network is given of images, in training and in evaluation, and its logits.

In evaluation `whole` gives the network an image at once. `slide` gives it windows of
inference.crop, at every inference.stride from the upper left corner and, where that passes the
border, at the border instead; the logits of a pixel are the mean over the windows that contain it.
A window is never larger than the image: one that covers it is the whole image, to the last bit.

Networks that take only sizes divisible by a number say so as `size_multiple`. Their images are
padded below and to the right by repeating their edge, and the logits cut to the image; in training
the labels there are void instead. The rule is the same for every such network.
"""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.config import Config, variant_of
from bench.protocol import InferenceConfig, InferenceMode

if TYPE_CHECKING:  # the processes that measure costs read no data
    from bench.data.splits import Split

TRIED = 4  # of many sizes at which images are evaluated, so many are tried before training

Size = tuple[int, int]  # H, W
Place = tuple[slice, slice]  # rows and columns of a window


def window_size(size: Sequence[int], inference: InferenceConfig) -> Size:
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


def size_multiple(network: nn.Module) -> int:
    """Returns the number that H and W must be divisible by; 1 where the network says nothing.

    Raises:
        ValueError: it says something else than a number.
    """
    multiple = getattr(network, "size_multiple", 1)
    if type(multiple) is not int or multiple < 1:
        raise ValueError(
            f"{type(network).__name__}.size_multiple is {multiple!r}; it must be a whole number of "
            "1 or more, by which the network wants height and width to be divisible"
        )
    return multiple


def padded_size(size: Sequence[int], multiple: int) -> Size:
    """Returns H, W rounded up to what is divisible."""
    height, width = (-(-side // multiple) * multiple for side in size)
    return height, width


def padded(images: Tensor, multiple: int) -> Tensor:
    """Pads images (N, 3, H, W) by repeating their edge; returns them where nothing is missing."""
    missing = _missing(images, multiple)
    return F.pad(images, missing, mode="replicate") if any(missing) else images


def padded_labels(labels: Tensor, multiple: int, void: int) -> Tensor:
    """Pads labels (N, H, W) by void; returns them where nothing is missing."""
    missing = _missing(labels, multiple)
    return F.pad(labels, missing, value=void) if any(missing) else labels


def logits_of(network: nn.Module, images: Tensor) -> Tensor:
    """Returns the logits (N, K, H, W) of images (N, 3, H, W), in evaluation."""
    given = padded(images, size_multiple(network))
    logits: Tensor = network(given)
    height, width = images.shape[2:]
    return logits if given is images else logits[..., :height, :width]


def _missing(maps: Tensor, multiple: int) -> tuple[int, int, int, int]:
    height, width = maps.shape[-2:]
    return 0, -width % multiple, 0, -height % multiple


def evaluation_sizes(config: Config, splits: Iterable["Split"]) -> list[Size]:
    """Returns sizes that the network will be given in evaluation: the smallest to the largest.

    Views of an image (`postprocess=test_time_augmentation`) are among them.

    Of many, a few spread evenly: a network that takes all of these is hardly particular.
    """
    inference = config.protocol.inference
    scales = (1.0, *(config.postprocess["scales"] if variant_of(config.postprocess) else ()))
    seen = {scaled(size, scale) for split in splits for size in split.sizes for scale in scales}
    given = {window_size(size, inference) for size in seen}
    sizes = sorted(given, key=lambda size: size[0] * size[1])
    steps = min(TRIED, len(sizes))
    return [sizes[number * (len(sizes) - 1) // max(1, steps - 1)] for number in range(steps)]


def scaled(size: Sequence[int], scale: float) -> Size:
    """Returns the H, W of an image of H, W at a scale."""
    height, width = (max(1, round(scale * side)) for side in size)
    return height, width
