"""The VGG-16 encoder with batch norm that the paper's larger networks share, and its weights."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import torch
import torchvision
from torch import Tensor, nn

from architectures.layers import conv_bn_relu
from architectures.pretrained import read_state_dict, repeat

LAYERS = (2, 2, 3, 3, 3)  # convolutions of each stage: 13
# Their positions in torchvision's vgg16().features, weights and biases.
_TORCHVISION_POSITIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
_FC6_TAPS = 7  # VGG-16's first fully connected layer sees a 7x7 map


def vgg16_widths(width: int) -> tuple[int, int, int, int, int]:
    """Channels of the five stages: 64, 128, 256, 512, 512 for width 64."""
    return width, 2 * width, 4 * width, 8 * width, 8 * width


def vgg16_encoder(
    width: int,
    eps: float,
    *,
    in_channels: int = 3,
    first_padding: int = 1,
    dilations: tuple[int, int, int, int, int] = (1, 1, 1, 1, 1),
) -> nn.ModuleList:
    """The 13 convolutions, 3x3 with bias, batch norm and ReLU, in five stages; pooling is not here.

    Args:
        width: channels of the first stage, 64 in VGG-16.
        eps: of batch norm.
        in_channels: bands of the images.
        first_padding: of the very first convolution; FCN-8s has 100.
        dilations: of each stage's convolutions; DeepLab has 2 in the fifth.
    """
    stages = nn.ModuleList()
    channels = in_channels
    padding: int | None = first_padding
    for outputs, layers, dilation in zip(vgg16_widths(width), LAYERS, dilations, strict=True):
        stage = nn.Sequential()
        for _ in range(layers):
            stage.append(
                conv_bn_relu(channels, outputs, 3, eps, padding=padding, dilation=dilation)
            )
            channels, padding = outputs, None
        stages.append(stage)
    return stages


def load_vgg16(
    network: nn.Module,
    weights: str | None,
    *,
    channel_step: int | None = None,
    tap_step: int = 1,
) -> dict[str, str]:
    """Copies ImageNet weights into ``network.encoder``, and into ``fc6`` and ``fc7`` if asked.

    Batch norm starts at the identity scale. The weights expect RGB input with ImageNet's mean and
    standard deviation; for other bands the first convolution's are adapted, see
    `architectures.pretrained.repeat`. Tensors are named as in torchvision's
    ``vgg16().state_dict()``.

    Args:
        network: has ``encoder`` from `vgg16_encoder`, and ``fc6``, ``fc7`` from `conv_bn_relu`.
        weights: None (nothing is loaded), "imagenet" (torchvision's, downloaded once), or the path
            of a state dict.
        channel_step: also fill fc6 and fc7 with every n-th channel of VGG's: 1 in FCN, 4 in
            DeepLab-LargeFOV. None leaves them.
        tap_step: every n-th of VGG's 7x7 taps: 1 in FCN, 3 (a 3x3 kernel) in DeepLab.

    Returns:
        Name of each parameter that was filled -> name of the tensor it was filled from.

    Raises:
        ValueError: the file is missing or no state dict, holds the variant with batch norm, or
            lacks a tensor of the expected name and shape.
    """
    if weights is None:
        return {}
    state = _read(weights)
    if "features.1.running_mean" in state:
        raise ValueError(
            f"weights={weights}: these are VGG-16 weights with batch norm, whose convolutions have "
            "other names and statistics; give those of plain VGG-16 (torchvision's vgg16)"
        )
    encoder = network.encoder
    assert isinstance(encoder, nn.ModuleList)
    sources = list(_convolutions(encoder))
    if channel_step is not None:
        sources += _fully_connected(network, channel_step, tap_step)
    names: dict[Tensor, str] = {parameter: name for name, parameter in network.named_parameters()}
    for source in sources:
        tensor = _checked(state, source, weights)
        with torch.no_grad():
            source.parameter.copy_(source.take(tensor))
    return {names[source.parameter]: source.name + source.how for source in sources}


class _Source(NamedTuple):
    """Where a parameter's values come from: tensor name, its shape, what to take, how."""

    parameter: Tensor
    name: str
    shape: tuple[int, ...]
    take: Callable[[Tensor], Tensor]
    how: str = ""


def _convolutions(encoder: nn.ModuleList) -> Iterator[_Source]:
    found = [module for module in encoder.modules() if isinstance(module, nn.Conv2d)]
    for convolution, position in zip(found, _TORCHVISION_POSITIONS, strict=True):
        for kind, parameter in convolution.named_parameters():
            name = f"features.{position}.{kind}"
            if name == "features.0.weight" and convolution.in_channels != 3:
                yield _of_rgb(convolution, name)
            else:
                yield _Source(parameter, name, tuple(parameter.shape), lambda tensor: tensor)


def _of_rgb(convolution: nn.Conv2d, name: str) -> _Source:
    """The first convolution, whose weights are of three bands, for another number of them."""
    outputs, bands, *taps = convolution.weight.shape
    how = f", 3 bands by repeat to {bands}"
    return _Source(convolution.weight, name, (outputs, 3, *taps), partial(repeat, bands=bands), how)


def _fully_connected(network: nn.Module, step: int, tap_step: int) -> Iterator[_Source]:
    """VGG's matrices as the kernels they are: 7x7 over 512 channels, then 1x1."""
    fc6, fc7 = (network.get_submodule(f"{name}.0") for name in ("fc6", "fc7"))
    assert isinstance(fc6, nn.Conv2d)
    assert isinstance(fc7, nn.Conv2d)
    channels, middle, last = fc6.in_channels, fc6.out_channels, fc7.out_channels

    def kernel(matrix: Tensor) -> Tensor:
        every_tap = matrix.view(-1, channels, _FC6_TAPS, _FC6_TAPS)
        return every_tap[::step, :, ::tap_step, ::tap_step]

    columns = channels * _FC6_TAPS**2
    assert fc6.bias is not None
    assert fc7.bias is not None
    yield _Source(fc6.weight, "classifier.0.weight", (middle * step, columns), kernel)
    yield _Source(fc6.bias, "classifier.0.bias", (middle * step,), lambda bias: bias[::step])
    yield _Source(
        fc7.weight,
        "classifier.3.weight",
        (last * step, middle * step),
        lambda matrix: matrix[::step, ::step, None, None],
    )
    yield _Source(fc7.bias, "classifier.3.bias", (last * step,), lambda bias: bias[::step])


def _read(weights: str) -> Mapping[str, Tensor]:
    if weights == "imagenet":
        enum = torchvision.models.VGG16_Weights.IMAGENET1K_V1
        downloaded: Mapping[str, Tensor] = enum.get_state_dict(check_hash=True)
        return downloaded
    return read_state_dict(weights, 'the path of a VGG-16 state dict, "imagenet", or null')


def _checked(state: Mapping[str, Tensor], source: _Source, weights: str) -> Tensor:
    expected = f"expected {source.name} of shape {source.shape}, as torchvision's vgg16 names it"
    tensor = state.get(source.name)
    if tensor is None:
        raise ValueError(f"weights={weights}: {source.name} is missing; {expected}")
    if tuple(tensor.shape) != source.shape:
        raise ValueError(
            f"weights={weights}: {source.name} has shape {tuple(tensor.shape)}; {expected}"
        )
    return tensor
