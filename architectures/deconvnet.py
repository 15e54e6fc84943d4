"""DeconvNet with 1,024 channels in its fully connected layers (paper, Sec. 4, Table 6)."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from architectures.exporting import is_exporting
from architectures.layers import (
    BATCH_NORM_EPS,
    check_arguments,
    conv_bn_relu,
    image_size,
    initialise,
)
from architectures.segnet import decode, encode, unpooling_decoder
from architectures.vgg import load_vgg16, vgg16_encoder, vgg16_widths


class DeconvNet(nn.Module):
    """SegNet's encoder and unpooling decoder with two fully connected layers between them.

    fc6 covers the whole pool5 map, 12x15 for 360x480: only so does Table 6's 877 MB come out. The
    original's 3x3 deconvolutions have stride 1; such a layer computes what a convolution with
    flipped kernels does, and is written as one.

    Args:
        num_classes: channels of the logits.
        input_size: (H, W) of the training images, which fixes the kernel of fc6. Larger images
            are possible.
        width: channels of the first stage; 64 gives VGG-16's.
        fc_width: channels of fc6 and fc7.
        dropout: probability, active in training only, in the places of `SegNet`.
        batch_norm_eps: eps of batch norm. fc6 leaves one pixel, whose statistics over the batch
            need at least two images in training.
        weights: of the encoder, see `architectures.vgg.load_vgg16`.
        in_channels: bands of the images.

    Attributes:
        loaded_weights: parameter -> tensor it was filled from; empty after He initialisation.
    """

    def __init__(
        self,
        num_classes: int,
        input_size: Sequence[int] = (360, 480),
        width: int = 64,
        fc_width: int = 1024,
        *,
        dropout: float = 0.5,
        batch_norm_eps: float = BATCH_NORM_EPS,
        weights: str | None = None,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        rows, columns = input_size
        check_arguments(
            num_classes,
            width=width,
            fc_width=fc_width,
            input_size=min(input_size),
            in_channels=in_channels,
        )
        self.kernel = kernel = _pooled(rows), _pooled(columns)
        self.dropout = dropout
        self.encoder = vgg16_encoder(width, batch_norm_eps, in_channels=in_channels)
        channels = vgg16_widths(width)[-1]
        self.fc6 = nn.Sequential(
            WholeMapConvolution(channels, fc_width, kernel),
            nn.BatchNorm2d(fc_width, batch_norm_eps),
            nn.ReLU(inplace=True),
        )
        self.fc7 = conv_bn_relu(fc_width, fc_width, 1, batch_norm_eps)
        self.fc6_deconvolution = nn.Sequential(
            WholeMapDeconvolution(fc_width, channels, kernel),
            nn.BatchNorm2d(channels, batch_norm_eps),
            nn.ReLU(inplace=True),
        )
        self.decoder = unpooling_decoder(width, batch_norm_eps, last_layers=2)
        self.classifier = nn.Conv2d(width, num_classes, 1)
        initialise(self)
        self.loaded_weights = load_vgg16(self, weights)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) to logits (N, K, H, W).

        Raises:
            ValueError: the image is too small for the kernel of fc6.
        """
        size = image_size(x)
        if _pooled(size[0]) < self.kernel[0] or _pooled(size[1]) < self.kernel[1]:
            smallest = tuple(32 * (taps - 1) + 1 for taps in self.kernel)
            raise ValueError(
                f"an image of {size[0]}x{size[1]} is too small: fc6 of this DeconvNet needs at "
                f"least {smallest[0]}x{smallest[1]}; build it with a smaller input_size"
            )
        dropout = self.dropout if self.training else 0.0
        x, indices = encode(self.encoder, x, dropout)  # 12x15
        x = self.fc6_deconvolution(self.fc7(self.fc6(x)))  # 1x1, 1x1, 12x15
        logits: Tensor = self.classifier(decode(self.decoder, x, indices, dropout))
        return logits


class WholeMapConvolution(nn.Conv2d):
    """A convolution that is a matrix product where its kernel covers the whole map.

    The same numbers but for rounding. CPU libraries have no fast gradient for a kernel of 12x15:
    the backward pass of such a layer took 7.4 s on one thread, as a matrix product 0.2 s. An
    exported graph has the convolution, which leaves the size open.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H - h + 1, W - w + 1)."""
        if is_exporting() or x.shape[2:] != self.weight.shape[2:]:
            return super().forward(x)
        return F.linear(x.flatten(1), self.weight.flatten(1), self.bias)[:, :, None, None]


class WholeMapDeconvolution(nn.ConvTranspose2d):
    """The transposed convolution from a map of one pixel, as a matrix product too."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(N, C, H, W) to (N, C', H + h - 1, W + w - 1)."""
        if is_exporting() or x.shape[2:] != (1, 1):
            return super().forward(x, output_size)
        maps = F.linear(x.flatten(1), self.weight.flatten(1).t())
        assert self.bias is not None
        return maps.view(len(x), *self.weight.shape[1:]) + self.bias[:, None, None]


def _pooled(size: int) -> int:
    """Size after five poolings, each rounding up."""
    return -(-size // 32)
