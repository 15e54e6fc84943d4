"""What a network does that training would not show, or not soon: named, with the remedy.

These checks take a forward and a backward pass over two images, and run before every training;
`python -m bench.doctor` has more.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from bench.data.files import some

SUM_OF_PROBABILITIES = 1e-3  # how near to 1


def misfit(logits: Any, expected: tuple[int, int, int, int]) -> str | None:
    """Says what is given instead of logits (N, K, H, W), and what to do; None: they are that."""
    if isinstance(logits, dict):
        keys = ", ".join(map(str, logits))
        return f"a dictionary of {keys}; return the logits alone, such as output['out']"
    if isinstance(logits, tuple | list):
        return f"a {type(logits).__name__} of {len(logits)}; return the part that is the logits"
    if not isinstance(logits, Tensor):
        return f"a {type(logits).__name__} instead of logits of shape {expected}"
    if tuple(logits.shape) == expected:
        return None
    return f"{tuple(logits.shape)} instead of {expected}{_remedy(tuple(logits.shape), expected)}"


def _remedy(shape: tuple[int, ...], expected: tuple[int, int, int, int]) -> str:
    """Says how a tensor of another shape becomes logits, where that can be seen."""
    _, classes, height, width = expected
    if len(shape) != 4:
        return ""
    if shape[1] == classes and shape[2] < height and shape[3] < width:
        return (
            f", logits at a stride of {height / shape[2]:.3g}; enlarge them at the end, as "
            "F.interpolate(logits, size=images.shape[2:], mode='bilinear')"
        )
    if shape[1:] == (height, width, classes):
        return ", the classes last; return logits.permute(0, 3, 1, 2)"
    if shape[2:] == (height, width):
        return f"; its last layer must have num_classes={classes} channels"
    return ""


@torch.no_grad()
def remarks(network: nn.Module, images: Tensor) -> list[str]:
    """Says what a network does to its input and makes of its output, in evaluation.

    Args:
        network: gives logits.
        images: normalised (N, 3, H, W).
    """
    given, found = images.clone(), []
    logits = network.eval()(given).float()
    if not torch.equal(given, images):
        found.append(
            "it changes its input in place; give its first layer inplace=False, or a copy of the "
            "images"
        )
    if not logits.isfinite().all():
        found.append("its logits are not all finite, before any training")
    elif (logits >= 0).all() and ((logits.sum(1) - 1).abs() < SUM_OF_PROBABILITIES).all():
        found.append(
            "it gives probabilities, not logits: the loss has a softmax of its own, so that it "
            "would learn slowly; leave the softmax out"
        )
    return found


def without_gradient(network: nn.Module, images: Tensor) -> list[str]:
    """Names the trainable parameters that no gradient reaches in training, on a copy."""
    twin = copy.deepcopy(network).train()
    logits = twin(images)
    if not isinstance(logits, Tensor):  # refused by the first training step
        return []
    if logits.requires_grad:
        logits.float().square().mean().backward()  # type: ignore[no-untyped-call]
    return [n for n, p in twin.named_parameters() if p.requires_grad and p.grad is None]


def warnings(network: nn.Module, images: Tensor) -> list[str]:
    """Says everything that is found, each in a sentence."""
    found = remarks(network, images)
    unused = without_gradient(network, images)
    if unused:
        found.append(f"no gradient reaches {some(unused)}: its forward pass skips them")
    return found
