"""U-Net with batch norm, which the paper discusses (Sec. 3) but does not measure."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from architectures.layers import (
    BATCH_NORM_EPS,
    check_arguments,
    conv_bn_relu,
    crop,
    image_size,
    initialise,
)
from architectures.pooling import max_pool_values

LEVELS = 4  # poolings


class UNet(nn.Module):
    """Two 3x3 convolutions a level; the decoder concatenates the whole encoder maps.

    Convolutions are padded, so that the logits have the image's size; the original's shrink.

    Args:
        num_classes: channels of the logits.
        width: channels of the first level, doubled at each of four more; 64 in the original.
        dropout: probability, active in training only: at the end of the contracting path, as in
            the original, here after its last two levels.
        batch_norm_eps: eps of batch norm.
        in_channels: bands of the images.
    """

    def __init__(
        self,
        num_classes: int,
        width: int = 64,
        *,
        dropout: float = 0.5,
        batch_norm_eps: float = BATCH_NORM_EPS,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        check_arguments(num_classes, width=width, in_channels=in_channels)
        widths = [width << level for level in range(LEVELS + 1)]
        self.dropout = nn.Dropout(dropout)
        self.encoder = nn.ModuleList(
            _two_convolutions(*pair, batch_norm_eps) for pair in pairwise([in_channels, *widths])
        )
        pairs = list(pairwise(reversed(widths)))  # (1024, 512) ... (128, 64)
        self.enlarge = nn.ModuleList(_up_convolution(*pair, batch_norm_eps) for pair in pairs)
        self.decoder = nn.ModuleList(_two_convolutions(*pair, batch_norm_eps) for pair in pairs)
        self.classifier = nn.Conv2d(width, num_classes, 1)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) to logits (N, K, H, W)."""
        skips: list[Tensor] = []
        for level, stage in enumerate(self.encoder):
            x = stage(max_pool_values(x) if level > 0 else x)  # 360 -> 180 -> 90 -> 45 -> 23
            if level >= LEVELS - 1:
                x = self.dropout(x)
            if level < LEVELS:
                skips.append(x)
        for enlarge, stage in zip(self.enlarge, self.decoder, strict=True):
            skip = skips.pop()
            x = stage(torch.cat((skip, crop(enlarge(x), image_size(skip))), dim=1))
        logits: Tensor = self.classifier(x)
        return logits


def _two_convolutions(inputs: int, outputs: int, eps: float) -> nn.Sequential:
    return nn.Sequential(
        conv_bn_relu(inputs, outputs, 3, eps), conv_bn_relu(outputs, outputs, 3, eps)
    )


def _up_convolution(inputs: int, outputs: int, eps: float) -> nn.Sequential:
    """Doubles the size. No ReLU: U-Net's text has one after each 3x3 convolution, none here."""
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 2, stride=2), nn.BatchNorm2d(outputs, eps)
    )
