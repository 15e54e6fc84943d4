"""DeepLab-LargeFOV with batch norm: dilated convolutions on a map of an eighth of the image."""

from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers import (
    BATCH_NORM_EPS,
    check_arguments,
    conv_bn_relu,
    crop,
    image_size,
    initialise,
)
from architectures.vgg import load_vgg16, vgg16_encoder, vgg16_widths


class DeepLabLargeFOV(nn.Module):
    """VGG-16 with 3x3 pools, fc6 as a 3x3 convolution of dilation 12, and no decoder.

    The paper says both that the stride of pool3 is changed to 1 and that the maps end at 45x60
    (Sec. 4); strides 2 2 1 2 1 satisfy both sentences and Table 6's training memory. The released
    network has 2 2 2 1 1. conv4 keeps dilation 1 and conv5 has 2, as there.

    A window of 3x3 with padding 1 and stride 2 is centred on every second pixel from the first, so
    the scores stand on the pixels 0, 8, 16, ... of the image: in training they are compared with
    the labels of those pixels, and in evaluation enlarged from there.

    Args:
        num_classes: channels of the logits.
        width: channels of the first stage; 64 gives VGG-16's.
        fc_width: channels of fc6 and fc7.
        pool_strides: of the five pools, each 1 or 2.
        loss_resolution: training logits come at 1 / this of the image: the product of the pool
            strides (nothing is enlarged; the paper's 45x60), or 1.
        dropout: probability, active in training only: after pool3, pool4 and pool5 ("deeper
            layers", Sec. 4), and after fc6 and fc7 as in the original.
        batch_norm_eps: eps of batch norm.
        weights: of the encoder, fc6 and fc7, see `architectures.vgg.load_vgg16`.
        in_channels: bands of the images.

    Attributes:
        logit_stride: training logits stand on every n-th pixel of the image, from the first.
        loaded_weights: parameter -> tensor it was filled from; empty after He initialisation.
    """

    def __init__(
        self,
        num_classes: int,
        width: int = 64,
        fc_width: int = 1024,
        *,
        pool_strides: Sequence[int] = (2, 2, 1, 2, 1),
        loss_resolution: int = 8,
        dropout: float = 0.5,
        batch_norm_eps: float = BATCH_NORM_EPS,
        weights: str | None = None,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        check_arguments(num_classes, width=width, fc_width=fc_width, in_channels=in_channels)
        if len(pool_strides) != 5 or not set(pool_strides) <= {1, 2}:
            raise ValueError(f"pool_strides={list(pool_strides)}: must be five strides of 1 or 2")
        if loss_resolution not in (1, prod(pool_strides)):
            raise ValueError(
                f"loss_resolution={loss_resolution}: must be 1 (full size) or the product of "
                f"pool_strides, {prod(pool_strides)}"
            )
        self.pool_strides = tuple(pool_strides)
        self.logit_stride = loss_resolution
        self.dropout = nn.Dropout(dropout)
        self.encoder = vgg16_encoder(
            width, batch_norm_eps, in_channels=in_channels, dilations=(1, 1, 1, 1, 2)
        )
        pool5 = vgg16_widths(width)[-1]
        self.fc6 = conv_bn_relu(pool5, fc_width, 3, batch_norm_eps, dilation=12)
        self.fc7 = conv_bn_relu(fc_width, fc_width, 1, batch_norm_eps)
        self.classifier = nn.Conv2d(fc_width, num_classes, 1)
        initialise(self)
        # VGG's 7x7 kernels of 4096 channels: every third tap, every fourth channel.
        self.loaded_weights = load_vgg16(self, weights, channel_step=4, tap_step=3)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) to logits (N, K, H, W), in training to those of `loss_resolution`."""
        size = image_size(x)
        for level, (stage, stride) in enumerate(zip(self.encoder, self.pool_strides, strict=True)):
            x = F.max_pool2d(stage(x), 3, stride, padding=1)  # 360 -> 180 -> 90 -> 90 -> 45 -> 45
            if level >= 2:
                x = self.dropout(x)
        x = F.avg_pool2d(x, 3, 1, padding=1)
        x = self.dropout(self.fc6(x))
        x = self.classifier(self.dropout(self.fc7(x)))
        if self.training and self.logit_stride > 1:
            return x
        return _enlarged(x, prod(self.pool_strides), size)


def _enlarged(scores: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """Enlarges scores (N, K, h, w) that stand on every `stride`-th pixel, from the first, to size.

    Bilinear between them; right of and below the last ones, these are repeated. With one more row
    and column the corners are aligned exactly, as in the released network, whose maps of Caffe's
    sizes (46x61 for 360x480) have that row and column.
    """
    scores = torch.cat((scores, scores[:, :, -1:]), dim=2)
    scores = torch.cat((scores, scores[:, :, :, -1:]), dim=3)
    height, width = image_size(scores)
    whole = stride * (height - 1) + 1, stride * (width - 1) + 1
    return crop(F.interpolate(scores, whole, mode="bilinear", align_corners=True), size)
