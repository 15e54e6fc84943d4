"""Running a network on shapes alone: every tensor has its shape and type, and neither memory nor
arithmetic behind it, so that a network of any size is analysed in a second, without a GPU.
"""

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeCopyMode,
    FakeTensorMode,
    UnsupportedFakeTensorException,
)

# Raised for a network whose operations depend on its numbers, such as `if x.max() > 1`.
NEEDS_NUMBERS = (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedFakeTensorException,
)

Observer = TypeVar("Observer", bound=AbstractContextManager[Any])


def shapes_only(network: nn.Module) -> tuple[nn.Module, FakeTensorMode]:
    """Copies a network without its numbers, with the mode under which the copy runs."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode, FakeCopyMode(mode):
        return copy.deepcopy(network), mode


def observe(
    network: nn.Module,
    image_size: Sequence[int],
    make_observer: Callable[[], Observer],
    batch: int = 1,
    channels: int = 3,
) -> Observer:
    """Lets an observer see each operation of inference, batch norm in evaluation mode.

    A network that needs its numbers is run for real, on a copy.

    Args:
        network: maps (N, C, H, W) to logits; it is left as it is.
        image_size: H, W.
        make_observer: makes a mode of torch, which is entered around the forward pass.
        batch: N.
        channels: C.

    Raises:
        Exception: whatever the network raises for an image size that it refuses.
    """
    shape = (batch, channels, *image_size)
    try:
        return _observe(*shapes_only(network), shape, make_observer())
    except NEEDS_NUMBERS:
        copied = copy.deepcopy(network)
        return _observe(copied, nullcontext(), shape, make_observer())


def _observe(
    copied: nn.Module,
    mode: AbstractContextManager[Any],
    shape: Sequence[int],
    observer: Observer,
) -> Observer:
    copied.eval()
    with mode, torch.no_grad():
        device = next(copied.parameters(), torch.empty(0)).device
        images = torch.zeros(*shape, device=device)
        with observer:
            copied(images)
    return observer
