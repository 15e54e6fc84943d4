"""Networks that take only sizes divisible by a number, which they say as `size_multiple`.

Images are padded below and to the right by repeating their edge, and the logits cut to the image;
in training the labels there are void instead. The rule is the same for every such network.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


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


def padded_size(size: Sequence[int], multiple: int) -> tuple[int, int]:
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
    return logits if given is images else logits[..., : images.shape[2], : images.shape[3]]


def _missing(maps: Tensor, multiple: int) -> tuple[int, int, int, int]:
    height, width = maps.shape[-2:]
    return 0, -width % multiple, 0, -height % multiple
