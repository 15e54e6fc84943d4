"""FCN-8s with batch norm: the paper's FCN (frozen bilinear) and FCN (learnt deconv)."""

from torch import Tensor, nn

from architectures.layers import (
    BATCH_NORM_EPS,
    check_arguments,
    conv_bn_relu,
    crop,
    image_size,
    initialise,
    initialise_bilinear,
)
from architectures.pooling import max_pool_values
from architectures.vgg import load_vgg16, vgg16_encoder, vgg16_widths


class FCN(nn.Module):
    """Scores of fc7, pool4 and pool3, summed from coarse to fine and enlarged by deconvolutions.

    The original pads the image by 100, crops at fixed offsets, and costs twice the work; padding 1
    keeps sizes instead. The paper's training memory (Table 6: 9,735 MB) fits 100.

    Args:
        num_classes: channels of the logits.
        width: channels of the first stage; 64 gives VGG-16's.
        fc_width: channels of fc6 and fc7; VGG-16's 4096.
        learn_deconvolution: train the deconvolutions; otherwise they stay bilinear.
        first_padding: of the first convolution, 100 or 1.
        dropout: probability, active in training only: after pool3, pool4 and pool5 ("deeper
            layers", Sec. 4), and after fc6 and fc7 as in the original.
        batch_norm_eps: eps of batch norm, which follows every layer but scores and deconvolutions.
        weights: of the encoder, fc6 and fc7, see `architectures.vgg.load_vgg16`.
        in_channels: bands of the images.

    Attributes:
        loaded_weights: parameter -> tensor it was filled from; empty after He initialisation.
    """

    def __init__(
        self,
        num_classes: int,
        width: int = 64,
        fc_width: int = 4096,
        *,
        learn_deconvolution: bool = False,
        first_padding: int = 100,
        dropout: float = 0.5,
        batch_norm_eps: float = BATCH_NORM_EPS,
        weights: str | None = None,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        check_arguments(num_classes, width=width, fc_width=fc_width, in_channels=in_channels)
        if first_padding not in (1, 100):
            raise ValueError(f"first_padding={first_padding}: must be 100 (the original) or 1")
        self.padded = first_padding == 100
        self.dropout = nn.Dropout(dropout)
        self.encoder = vgg16_encoder(
            width, batch_norm_eps, in_channels=in_channels, first_padding=first_padding
        )
        _, _, pool3, pool4, pool5 = vgg16_widths(width)
        fc6_padding = 0 if self.padded else 3
        self.fc6 = conv_bn_relu(pool5, fc_width, 7, batch_norm_eps, padding=fc6_padding)
        self.fc7 = conv_bn_relu(fc_width, fc_width, 1, batch_norm_eps)
        self.score_fc7 = nn.Conv2d(fc_width, num_classes, 1)
        self.score_pool4 = nn.Conv2d(pool4, num_classes, 1)
        self.score_pool3 = nn.Conv2d(pool3, num_classes, 1)
        self.upscore_fc7 = self._deconvolution(num_classes, 2)
        self.upscore_pool4 = self._deconvolution(num_classes, 2)
        self.upscore_pool3 = self._deconvolution(num_classes, 8)
        initialise(self)
        for deconvolution in (self.upscore_fc7, self.upscore_pool4, self.upscore_pool3):
            initialise_bilinear(deconvolution)
            deconvolution.requires_grad_(learn_deconvolution)
        self.loaded_weights = load_vgg16(self, weights, channel_step=1)

    def _deconvolution(self, channels: int, stride: int) -> nn.ConvTranspose2d:
        padding = 0 if self.padded else stride // 2  # with it, the size is multiplied exactly
        return nn.ConvTranspose2d(
            channels, channels, 2 * stride, stride=stride, padding=padding, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) to logits (N, K, H, W). Sizes in remarks: 360, padded by 100 or 1."""
        size = image_size(x)
        scores = {2: self.score_pool3, 3: self.score_pool4}
        skips = []
        for level, stage in enumerate(self.encoder):
            x = max_pool_values(stage(x))  # 558 -> 279 140 70 35 18, or 360 -> 180 90 45 23 12
            if level >= 2:
                x = self.dropout(x)
            if level in scores:
                skips.append(scores[level](x))
        x = self.dropout(self.fc6(x))  # 12
        x = self.score_fc7(self.dropout(self.fc7(x)))
        x = self._add(self.upscore_fc7(x), skips.pop(), offset=5)  # 26, or 24 cut to 23
        x = self._add(self.upscore_pool4(x), skips.pop(), offset=9)  # 54, or 46 cut to 45
        return crop(self.upscore_pool3(x), size, offset=31 if self.padded else 0)

    def _add(self, upscored: Tensor, skip: Tensor, offset: int) -> Tensor:
        """Where the image was padded the skip is the larger map; otherwise it has the true size."""
        if self.padded:
            return upscored + crop(skip, image_size(upscored), offset)
        return crop(upscored, image_size(skip)) + skip
