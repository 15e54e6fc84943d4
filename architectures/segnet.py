"""SegNet: the VGG-16 encoder, and a decoder that mirrors it by unpooling."""

import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers import BATCH_NORM_EPS, check_arguments, conv_bn_relu, initialise
from architectures.pooling import PoolingIndices, max_pool, max_unpool
from architectures.vgg import LAYERS, load_vgg16, vgg16_encoder, vgg16_widths

FIRST_DROPOUT = 2  # "deeper layers" (Sec. 4): dropout from the third stage on


class SegNet(nn.Module):
    """26 convolutions (paper, Sec. 3; layers as in the authors' segnet_train.prototxt).

    Each decoder stage unpools with the indices of its encoder stage and convolves, with batch norm
    and ReLU. The last convolution is the classifier: 3x3, with bias, bare. Dropout stands where the
    authors' SUN RGB-D network has it: after pool3, pool4 and pool5, and after the decoder stages
    that mirror them.

    Args:
        num_classes: channels of the logits.
        width: channels of the first stage; 64 gives VGG-16's.
        dropout: probability, active in training only.
        batch_norm_eps: eps of batch norm.
        weights: of the encoder, see `architectures.vgg.load_vgg16`.
        in_channels: bands of the images.

    Attributes:
        loaded_weights: parameter -> tensor it was filled from; empty after He initialisation.
    """

    def __init__(
        self,
        num_classes: int,
        width: int = 64,
        *,
        dropout: float = 0.5,
        batch_norm_eps: float = BATCH_NORM_EPS,
        weights: str | None = None,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        check_arguments(num_classes, width=width, in_channels=in_channels)
        self.dropout = dropout
        self.encoder = vgg16_encoder(width, batch_norm_eps, in_channels=in_channels)
        self.decoder = unpooling_decoder(width, batch_norm_eps, last_layers=1)
        self.classifier = nn.Conv2d(width, num_classes, 3, padding=1)
        initialise(self)
        self.loaded_weights = load_vgg16(self, weights)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) to logits (N, K, H, W)."""
        return self.logits(x, self.dropout if self.training else 0.0)

    def logits(self, x: Tensor, dropout: float) -> Tensor:
        """The same with dropout given, whatever the mode; see `BayesianSegNet`."""
        x, indices = encode(self.encoder, x, dropout)
        classified: Tensor = self.classifier(decode(self.decoder, x, indices, dropout))
        return classified


def unpooling_decoder(width: int, eps: float, last_layers: int) -> nn.ModuleList:
    """Decoder stages, deepest first: the encoder's backwards, each ending in the next one's width.

    512 512 512 | 512 512 256 | 256 256 128 | 128 64 | then ``last_layers`` of 64.
    """
    widths = vgg16_widths(width)
    stages = nn.ModuleList()
    for level in reversed(range(1, 5)):
        stage = nn.Sequential()
        for _ in range(LAYERS[level] - 1):
            stage.append(conv_bn_relu(widths[level], widths[level], 3, eps))
        stages.append(stage.append(conv_bn_relu(widths[level], widths[level - 1], 3, eps)))
    last = (conv_bn_relu(width, width, 3, eps) for _ in range(last_layers))
    return stages.append(nn.Sequential(*last))


def encode(stages: nn.ModuleList, x: Tensor, dropout: float) -> tuple[Tensor, list[PoolingIndices]]:
    """Five times convolve and pool: (N, C, H, W) to (N, 512, H/32, W/32) and all indices."""
    kept = []
    for level, stage in enumerate(stages):
        x, indices = max_pool(stage(x))  # 360 -> 180 -> 90 -> 45 -> 23 -> 12
        if level >= FIRST_DROPOUT:
            x = F.dropout(x, dropout)
        kept.append(indices)
    return x, kept


def decode(
    stages: nn.ModuleList, x: Tensor, indices: list[PoolingIndices], dropout: float
) -> Tensor:
    """Five times unpool and convolve, to the size before the first pooling."""
    for stage, level in zip(stages, reversed(range(5)), strict=True):
        x = stage(max_unpool(x, indices[level]))  # 12 -> 23 -> 45 -> 90 -> 180 -> 360
        if level >= FIRST_DROPOUT:
            x = F.dropout(x, dropout)
    return x
