"""What a network owes to the harness, and sentences for networks that do not keep it.

What training would not show, or not soon, takes a forward and a backward pass over two images to
see, before every training; `python -m bench.doctor` has more.
"""

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from bench.config import Config
from bench.data.files import some

SUM_OF_PROBABILITIES = 1e-3  # how near to 1
DOCTOR = "`python -m bench.doctor` with this network examines it"
MULTIPLES = (
    "many networks need multiples of 32: one with an attribute size_multiple = 32 is given them"
)

# By what torch says: of one value there is no variance. A share of a batch may be a single image.
REMEDIES = {
    "more than 1 value per channel": "raise protocol.batch_size or protocol.image_size",
    "more than 1 spatial element": "raise protocol.image_size, or normalise no single values",
}


class BrokenContractError(ValueError):
    """The network does what the harness cannot use; the message is for the user."""


@contextlib.contextmanager
def failures_explained(config: Config, images: int, mode: str) -> Iterator[None]:
    """Names what a network was given when it fails; its own words alone say little.

    Args:
        config: the configuration.
        images: how many it was given at once.
        mode: `training` or `evaluation`.

    Raises:
        ValueError: whatever was raised, in a sentence.
    """
    try:
        yield
    except BrokenContractError:
        raise
    except Exception as error:
        remedy = next((text for said, text in REMEDIES.items() if said in str(error)), MULTIPLES)
        reason = " ".join(str(error).split())
        raise BrokenContractError(
            f"arch {config.arch['name']} fails in {mode}, given {_given(config, images)}: "
            f"{type(error).__name__}: {reason}; {remedy}, and {DOCTOR}"
        ) from error


def check_training_logits(logits: Any, config: Config, given: Sequence[int]) -> None:
    """Holds a network to its contract in training: logits (N, K, h, w), no larger than the input.

    Args:
        logits: what it gives.
        config: the configuration.
        given: the shape (N, 3, H, W) of its input.

    Raises:
        ValueError: it gives something else.
    """
    images, _, height, width = given
    classes = len(config.dataset.classes)
    if isinstance(logits, Tensor):
        shape = tuple(logits.shape)
        fits = len(shape) == 4 and shape[2] <= height and shape[3] <= width
        if fits and shape[:2] == (images, classes):
            return
        got = f"logits of shape {shape}"
    else:
        got = _no_tensor(logits)
    raise BrokenContractError(
        f"arch {config.arch['name']} in training gives {got}; given {_given(config, images)}, it "
        f"must give logits ({images}, {classes}, h, w) alone, no larger than that; {DOCTOR}"
    )


def check_not_lazy(network: nn.Module, config: Config) -> None:
    """Rejects layers whose weights take their shape from the first input.

    Their values would depend on what the network sees first, and not on the seed alone.

    Raises:
        ValueError: naming the first one.
    """
    tensors = [*network.named_parameters(), *network.named_buffers()]
    lazy = [name for name, tensor in tensors if is_lazy(tensor)]
    if lazy:
        layer = lazy[0].rpartition(".")[0]
        raise BrokenContractError(
            f"arch {config.arch['name']} has the lazy layer {layer!r}, whose shape would come "
            "from the first images of protocol.image_size; give its number of inputs instead (such "
            f"as Conv2d for LazyConv2d), then {DOCTOR}"
        )


def misfit(logits: Any, expected: tuple[int, int, int, int]) -> str | None:
    """Says what is given instead of logits (N, K, H, W), and what to do; None: they are that."""
    if not isinstance(logits, Tensor):
        return _no_tensor(logits)
    if tuple(logits.shape) == expected:
        return None
    return f"{tuple(logits.shape)} instead of {expected}{_remedy(tuple(logits.shape), expected)}"


def _no_tensor(output: Any) -> str:
    """Says what a network gives that is no tensor, and what to return instead."""
    if isinstance(output, dict):
        keys = ", ".join(map(str, output))
        return f"a dictionary of {keys}; return the logits alone, such as output['out']"
    if isinstance(output, tuple | list):
        return f"a {type(output).__name__} of {len(output)}; return the part that is the logits"
    return f"a {type(output).__name__}; return logits"


def _remedy(shape: tuple[int, ...], expected: tuple[int, int, int, int]) -> str:
    """Says how a tensor of another shape becomes logits, where that can be seen."""
    _, classes, height, width = expected
    if len(shape) != 4:
        return ""
    _, channels, rows, columns = shape
    cells = height % max(rows, 1) == width % max(columns, 1) == 0
    if channels == classes and rows <= height and columns <= width and not cells:
        return f"; {MULTIPLES}, whatever protocol.image_size is"
    if channels == classes and rows < height and columns < width:
        return (
            f", logits at a stride of {height / rows:.3g}; enlarge them at the end, as "
            "F.interpolate(logits, size=images.shape[2:], mode='bilinear')"
        )
    if shape[1:] == (height, width, classes):
        return ", the classes last; return logits.permute(0, 3, 1, 2)"
    if (rows, columns) == (height, width):
        return f"; its last layer must have num_classes={classes} channels"
    return ""


@torch.no_grad()
def remarks(network: nn.Module, images: Tensor) -> list[str]:
    """Says what a network does to its input and makes of its output: in evaluation, then training.

    Args:
        network: gives logits.
        images: normalised (N, 3, H, W).
    """
    faults = _habits(network.eval(), images)
    if not faults:
        in_training = copy.deepcopy(network).train()
        faults = [f"in training, {text}" for text in _habits(in_training, images)]
    return faults


def _habits(network: nn.Module, images: Tensor) -> list[str]:
    given, faults = images.clone(), []
    logits = network(given)
    if not torch.equal(given, images):
        faults.append(
            "it changes its input in place; give its first layer inplace=False, or a copy of the "
            "images"
        )
    if not isinstance(logits, Tensor):  # refused by the first training step
        return faults
    logits = logits.float()
    if not logits.isfinite().all():
        faults.append("its logits are not all finite, before any training")
    elif (logits >= 0).all() and ((logits.sum(1) - 1).abs() < SUM_OF_PROBABILITIES).all():
        faults.append(
            "it gives probabilities, not logits: the loss has a softmax of its own, so that it "
            "would learn slowly; leave the softmax out"
        )
    elif ((logits > 0) & (logits < 1)).all():
        faults.append(
            "it gives numbers between 0 and 1 alone, not logits: the loss has a softmax of its "
            "own; leave the sigmoid out, or a softmax over another dimension than the classes"
        )
    return faults


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
    faults = remarks(network, images)
    unused = without_gradient(network, images)
    if unused:
        faults.append(f"no gradient reaches {some(unused)}: its forward pass skips them")
    return faults


def _given(config: Config, images: int) -> str:
    protocol = config.protocol
    crop, size = protocol.augmentation.crop, protocol.input_size
    key = "image_size" if crop is None else "augmentation.crop"
    return (
        f"{images} {'image' if images == 1 else 'images'} (protocol.batch_size="
        f"{protocol.batch_size}, protocol.{key}={size})"
    )
