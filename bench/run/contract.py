"""What a network owes to the harness, and sentences for networks that do not keep it."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from bench.config import Config

DOCTOR = "`python -m bench.doctor` with this network examines it"
MULTIPLES = (
    "many networks need multiples of 32: one with an attribute size_multiple = 32 is given them"
)


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
        # A share of a batch may be a single image; batch norm then sees one value of a small map.
        single = "more than 1 value per channel" in str(error)
        remedy = "raise protocol.batch_size" if single else MULTIPLES
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
        got = f"a {type(logits).__name__}"
    raise BrokenContractError(
        f"arch {config.arch['name']} gives {got} in training, given {_given(config, images)}; "
        f"it must give logits ({images}, {classes}, h, w) alone, no larger than that; {DOCTOR}"
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


def _given(config: Config, images: int) -> str:
    protocol = config.protocol
    crop, size = protocol.augmentation.crop, protocol.input_size
    key = "image_size" if crop is None else "augmentation.crop"
    return (
        f"{images} {'image' if images == 1 else 'images'} (protocol.batch_size="
        f"{protocol.batch_size}, protocol.{key}={size})"
    )
