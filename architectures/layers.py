"""What several networks share: convolution with batch norm, initial weights, argument checks."""

import torch
from torch import Tensor, nn

BATCH_NORM_EPS = 1e-5  # torch's default; Caffe-SegNet has 1e-9


def check_arguments(num_classes: int, **sizes: int) -> None:
    """Refuses what no network of this package can be built with.

    Raises:
        ValueError: fewer than 2 classes, or one of the named sizes below 1.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes={num_classes}: a segmentation network needs at least 2")
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name}={size}: must be at least 1")


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuses a value that is not among those allowed, with ValueError."""
    if value not in allowed:
        raise ValueError(f"{name}={value}: must be one of {', '.join(allowed)}")


def conv_bn(
    channels: int,
    outputs: int,
    kernel: int | tuple[int, int],
    eps: float,
    *,
    padding: int | None = None,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = True,
) -> nn.Sequential:
    """Convolution and batch norm; without a padding given, odd kernels keep the map's size."""
    if padding is None:
        assert isinstance(kernel, int)
        padding = dilation * (kernel // 2)
    convolution = nn.Conv2d(
        channels, outputs, kernel, padding=padding, dilation=dilation, groups=groups, bias=bias
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs, eps))


def conv_bn_relu(
    channels: int,
    outputs: int,
    kernel: int | tuple[int, int],
    eps: float,
    *,
    padding: int | None = None,
    dilation: int = 1,
) -> nn.Sequential:
    """`conv_bn` with bias and a ReLU behind it: the layer of every VGG-based network."""
    layers = conv_bn(channels, outputs, kernel, eps, padding=padding, dilation=dilation)
    return layers.append(nn.ReLU(inplace=True))


def initialise(network: nn.Module) -> None:
    """He initialisation of every convolution from torch's global generator, in module order.

    Normal with variance 2 / fan-in (paper, Sec. 3.2; Caffe's ``msra`` filler); biases 0. A
    transposed convolution of stride s and kernel k sums about (k/s)^2 taps of each input channel.
    Batch norm keeps torch's scale 1 and shift 0, as in the networks from other libraries:
    Caffe-SegNet's shift of 0.001 is a thousandth of a standard deviation.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
        elif isinstance(module, nn.ConvTranspose2d):
            taps = module.weight[0, 0].numel() / (module.stride[0] * module.stride[1])
            fan_in = max(1, round(module.in_channels * taps))
        else:
            continue
        nn.init.normal_(module.weight, std=(2 / fan_in) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    network.__dict__["initialisation"] = "He initialisation"  # what is said of it in the records


@torch.no_grad()
def initialise_bilinear(deconvolution: nn.Module) -> None:
    """Bilinear upsampling by the stride, each channel from itself alone, whatever the kernel size.

    The taps are centred and zero beyond twice the stride. The formula usual in Caffe stretches
    them over the whole kernel: 8x8 at stride 2 would be a x4 filter of gain 4.
    """
    assert isinstance(deconvolution, nn.ConvTranspose2d)
    size, stride = deconvolution.kernel_size[0], deconvolution.stride[0]
    distance = (torch.arange(size) - (size - 1) / 2).abs()
    taps = (1 - distance / stride).clamp(min=0)  # 0 0 1/4 3/4 3/4 1/4 0 0 for 8x8, stride 2
    channels = torch.arange(deconvolution.in_channels)
    deconvolution.weight.zero_()
    deconvolution.weight[channels, channels] = taps[:, None] * taps
    if deconvolution.bias is not None:
        deconvolution.bias.zero_()


def crop(x: Tensor, size: tuple[int, int], offset: int = 0) -> Tensor:
    """Cuts (N, C, H, W) to the size, from the offset on in both directions.

    Offset 0 undoes ceil-mode pooling: window i covers rows 2i and 2i + 1, so that the row too many
    after doubling 23 to 46 is the last.
    """
    height, width = size
    return x[:, :, offset : offset + height, offset : offset + width]


def image_size(x: Tensor) -> tuple[int, int]:
    """(H, W) of (N, C, H, W)."""
    return x.shape[2], x.shape[3]
