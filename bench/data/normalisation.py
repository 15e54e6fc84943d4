"""From images to network input; one choice for all contestants of a protocol.

Runs on the device, on whole batches. Names are those of `protocol.normalisation`.
"""

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

# Channel statistics of ImageNet in 0..1, RGB: what torchvision's VGG-16 weights expect.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Local contrast normalisation (Jarrett et al. 2009): a 9x9 Gaussian window. Their text leaves its
# width and the border open; a quarter of the window and reflection are our reading.
LCN_WINDOW = 9
LCN_SIGMA = 2.25
# Deviations below a hundredth of a grey level are rounding errors of a flat image, not contrast.
LCN_FLOOR = 0.01

# Local response normalisation as the first layer of the authors' SegNet-Basic files.
LRN_SIZE, LRN_ALPHA, LRN_BETA, LRN_K = 5, 1e-4, 0.75, 1.0


def normalise(
    images: Tensor, choice: str, mean: Sequence[float] = (), deviation: Sequence[float] = ()
) -> Tensor:
    """Normalises images (N, C, H, W) of any type to float32 of the same shape.

    none: values 0..255; imagenet: mean 0 and deviation 1 per channel over ImageNet; symmetric:
    -1..1, as the weights of EfficientNet-Lite and other networks of TensorFlow expect; lcn: local
    contrast normalisation; lrn: local response normalisation across channels; bands: mean 0 and
    deviation 1 per band, by the `mean` and `deviation` (C,) given.
    """
    values = images.float()
    if choice == "imagenet":
        mean_of_rgb, std = _imagenet(images.device)
        return (values - mean_of_rgb) / std
    if choice == "bands":
        mean_of_bands, deviation_of_bands = _of_bands(tuple(mean), tuple(deviation), images.device)
        return (values - mean_of_bands) / deviation_of_bands
    if choice == "symmetric":
        return values / 127.5 - 1
    if choice == "lcn":
        return local_contrast_normalisation(values)
    if choice == "lrn":
        return F.local_response_norm(values, LRN_SIZE, LRN_ALPHA, LRN_BETA, LRN_K)
    assert choice == "none", choice
    return values


@cache  # a copy to a GPU makes the host wait for it, so each device is given them once
@torch.inference_mode(False)  # or they could take part in no training later
def _imagenet(device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns mean and deviation (3, 1, 1) of the channels, for values 0..255."""
    mean = torch.tensor(IMAGENET_MEAN, device=device).view(3, 1, 1) * 255
    return mean, torch.tensor(IMAGENET_STD, device=device).view(3, 1, 1) * 255


@cache
@torch.inference_mode(False)
def _of_bands(
    mean: tuple[float, ...], deviation: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Returns mean and deviation (C, 1, 1) of the bands."""
    both = torch.tensor([mean, deviation], device=device)[..., None, None]
    return both[0], both[1]


def local_contrast_normalisation(images: Tensor) -> Tensor:
    """Subtracts the local mean and divides by the local deviation, both joint over the channels.

    v = x - mean of x over window and channels; s = root of the mean of v^2 over the same;
    y = v / max(c, s), with c the mean of s over the image. a*x + b gives the same as x, for a > 0.

    Args:
        images: float (N, 3, H, W), values 0..255, H and W above 4.
    """
    centred = images - _window_mean(images)
    deviation = _window_mean(centred.square()).sqrt()
    floor = deviation.mean(dim=(2, 3), keepdim=True)
    return centred / torch.maximum(deviation, floor).clamp(min=LCN_FLOOR)


def _window_mean(values: Tensor) -> Tensor:
    """Averages (N, C, H, W) over channels and a Gaussian window to (N, 1, H, W).

    Tap by tap, along columns and then along rows. As convolutions, whose bits these are on a CPU,
    it takes three times as long there, and would round to TF32 on a GPU that may.
    """
    taps, radius = _gaussian(values.dtype), LCN_WINDOW // 2
    mean = F.pad(values.mean(dim=1, keepdim=True), [radius] * 4, mode="reflect")
    for dim in (2, 3):
        size = mean.shape[dim] - 2 * radius
        parts = [mean.narrow(dim, offset, size) for offset in range(LCN_WINDOW)]
        mean = parts[0] * taps[0]
        for part, tap in zip(parts[1:], taps[1:], strict=True):
            mean.add_(part, alpha=tap)
    return mean


@cache
def _gaussian(dtype: torch.dtype) -> list[float]:
    """Returns the taps of the window, rounded as a type does; they sum to 1."""
    offsets = torch.arange(LCN_WINDOW, dtype=dtype) - LCN_WINDOW // 2
    taps = torch.exp(-offsets.square() / (2 * LCN_SIGMA**2))
    weights: list[float] = (taps / taps.sum()).tolist()
    return weights
