"""From arrays of the host to tensors on a device, without waiting for the device."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def widened(array: NDArray[Any]) -> NDArray[Any]:
    """Returns an array that torch computes with: of uint16 it can do little."""
    return array.astype(np.int32) if array.dtype == np.uint16 else array


def staged(tensor: Tensor, device: torch.device) -> Tensor:
    """Returns a tensor on the device, itself if it is there already.

    A GPU copies on its own only out of pinned memory; from elsewhere the host waits for it.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
