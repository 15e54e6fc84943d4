"""From the host to a device without waiting for the device."""

import torch
from torch import Tensor


def staged(tensor: Tensor, device: torch.device) -> Tensor:
    """Returns a tensor on the device, itself if it is there already.

    A GPU copies on its own only out of pinned memory; from elsewhere the host waits for it.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
