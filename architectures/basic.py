"""The small networks of Table 1: an encoder of four 7x7 convolutions, and the decoders tried on it.

Paper, Sec. 3.1: neither biases nor a ReLU in any decoder. Each kind of decoder is one
constructor whose arguments give the variants. Table 1 has no dropout; where a protocol has it, it
stands in the two deepest stages, as in the authors' Bayesian SegNet-Basic.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from architectures.layers import (
    BATCH_NORM_EPS,
    check_arguments,
    check_choice,
    conv_bn,
    crop,
    image_size,
    initialise,
    initialise_bilinear,
)
from architectures.pooling import PoolingIndices, max_pool, max_pool_values, max_unpool
from architectures.upsampling import BilinearDouble

LEVELS = 4
DEEP = 2  # the number of deepest stages, of encoder and decoder, that a dropout follows


class SegNetBasic(nn.Module):
    """SegNet-Basic, and the other decoders that unpool and then convolve 7x7 with batch norm.

    Args:
        num_classes: channels of the logits.
        width: channels of every layer; 64 in the paper.
        unpooling: "indices" (of max-pooling), or one of the generic decoders that the text
            mentions: "replication" (of each value to 2x2), "fixed" (into the top left cell) and
            "none" (neither pooling nor decoder).
        encoder_addition: add the pooled encoder maps to the decoder's maps of the same size.
        single_channel_decoder: each decoder kernel sees one channel.
        conv_bias: the paper has no biases, the authors' released file has.
        dropout: probability, active in training only.
        batch_norm_eps: eps of batch norm.
        in_channels: bands of the images.
    """

    def __init__(
        self,
        num_classes: int,
        width: int = 64,
        *,
        unpooling: str = "indices",
        encoder_addition: bool = False,
        single_channel_decoder: bool = False,
        conv_bias: bool = False,
        dropout: float = 0.0,
        batch_norm_eps: float = BATCH_NORM_EPS,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        check_arguments(num_classes, width=width, in_channels=in_channels)
        check_choice("unpooling", unpooling, ("indices", "replication", "fixed", "none"))
        if unpooling == "none" and (encoder_addition or single_channel_decoder):
            raise ValueError(
                "unpooling=none: there is no decoder to which encoder_addition or "
                "single_channel_decoder could apply; set both to false"
            )
        self.unpooling = unpooling
        self.encoder_addition = encoder_addition
        self.dropout = nn.Dropout(dropout)
        self.encoder = _encoder(width, batch_norm_eps, conv_bias, in_channels)
        groups = width if single_channel_decoder else 1
        self.decoder = nn.ModuleList(  # deepest first
            conv_bn(width, width, 7, batch_norm_eps, groups=groups, bias=conv_bias)
            for _ in range(0 if unpooling == "none" else LEVELS)
        )
        self.classifier = nn.Conv2d(width, num_classes, 1, bias=conv_bias)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) to logits (N, K, H, W)."""
        memory, skips = [], []
        for level, stage in enumerate(self.encoder):
            x, kept = self._pool(stage(x))  # 360 -> 180 -> 90 -> 45 -> 23
            memory.append(kept)
            if level >= LEVELS - DEEP:
                x = self.dropout(x)
            if self.encoder_addition and level < LEVELS - 1:
                skips.append(x)
        for depth, stage in enumerate(self.decoder):
            x = stage(self._unpool(x, memory.pop()))  # 23 -> 45 -> 90 -> 180 -> 360
            if depth < DEEP:
                x = self.dropout(x)
            if skips:
                x = x + skips.pop()
        logits: Tensor = self.classifier(x)
        return logits

    def _pool(self, x: Tensor) -> tuple[Tensor, PoolingIndices | tuple[int, int]]:
        """The pooled map, and what unpooling needs: indices, or the size alone."""
        if self.unpooling == "indices":
            return max_pool(x)
        return x if self.unpooling == "none" else max_pool_values(x), image_size(x)

    def _unpool(self, x: Tensor, kept: PoolingIndices | tuple[int, int]) -> Tensor:
        if isinstance(kept, PoolingIndices):
            return max_unpool(x, kept)
        if self.unpooling == "replication":
            return crop(F.interpolate(x, scale_factor=2.0, mode="nearest"), kept)
        sparse = x.new_zeros(*x.shape[:2], *kept)
        sparse[..., ::2, ::2] = x
        return sparse


class FCNBasic(nn.Module):
    """FCN-Basic, and the other decoders that four times double the size by interpolation.

    Args:
        num_classes: channels of the logits.
        width: channels of the encoder; 64 in the paper.
        addition: add the pooled encoder maps to the decoder's maps of the same size.
        dim_reduction: reduce the encoder maps to K channels by 1x1 convolutions, as soon as they
            are pooled, so that only K channels are kept for the decoder. Otherwise the decoder
            has the encoder's width and ends in a classifier.
        upsampling: "learnt" (dense 8x8 deconvolutions that start as bilinear) or "bilinear".
        conv_bias: the paper has no biases.
        dropout: probability, active in training only.
        batch_norm_eps: eps of batch norm, which follows every learnt layer but the one that
            gives the logits.
        in_channels: bands of the images.
    """

    def __init__(
        self,
        num_classes: int,
        width: int = 64,
        *,
        addition: bool = True,
        dim_reduction: bool = True,
        upsampling: str = "learnt",
        conv_bias: bool = False,
        dropout: float = 0.0,
        batch_norm_eps: float = BATCH_NORM_EPS,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        check_arguments(num_classes, width=width, in_channels=in_channels)
        check_choice("upsampling", upsampling, ("learnt", "bilinear"))
        self.dropout = nn.Dropout(dropout)
        self.encoder = _encoder(width, batch_norm_eps, conv_bias, in_channels)
        self.reductions = nn.ModuleList(  # of pool1 to pool4, or of pool4 alone
            conv_bn(width, num_classes, 1, batch_norm_eps, bias=conv_bias)
            if dim_reduction
            else nn.Identity()
            for _ in range(LEVELS if addition else 1)
        )
        channels = num_classes if dim_reduction else width
        learnt = upsampling == "learnt"
        self.decoder = nn.ModuleList(  # deepest first
            _deconvolution(channels, conv_bias) if learnt else BilinearDouble()
            for _ in range(LEVELS)
        )
        norms = LEVELS - dim_reduction if learnt else 0  # reduced, the last one gives the logits
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(channels, batch_norm_eps) if depth < norms else nn.Identity()
            for depth in range(LEVELS)
        )
        self.classifier = (
            nn.Identity() if dim_reduction else nn.Conv2d(width, num_classes, 1, bias=conv_bias)
        )
        initialise(self)
        if learnt:
            for deconvolution in self.decoder:
                initialise_bilinear(deconvolution)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) to logits (N, K, H, W)."""
        sizes, skips = [], []
        *reductions, reduce_deepest = self.reductions
        for level, stage in enumerate(self.encoder):
            x = stage(x)
            sizes.append(image_size(x))
            x = max_pool_values(x)  # 360 -> 180 -> 90 -> 45 -> 23
            if level >= LEVELS - DEEP:
                x = self.dropout(x)
            if level < len(reductions):
                skips.append(reductions[level](x))
        x = reduce_deepest(x)
        for upsample, norm in zip(self.decoder, self.norms, strict=True):
            x = norm(crop(upsample(x), sizes.pop()))  # 23 -> 45 -> 90 -> 180 -> 360
            if skips:
                x = x + skips.pop()
        logits: Tensor = self.classifier(x)
        return logits


def _encoder(width: int, eps: float, bias: bool, in_channels: int) -> nn.ModuleList:
    """Four stages of 7x7 convolution, batch norm and ReLU; pooling is not here."""
    return nn.ModuleList(
        conv_bn(channels, width, 7, eps, bias=bias).append(nn.ReLU(inplace=True))
        for channels in (in_channels, width, width, width)
    )


def _deconvolution(channels: int, bias: bool) -> nn.ConvTranspose2d:
    """Doubles the size exactly. Dense 8x8: grouped or 4x4 kernels miss Table 1's counts."""
    return nn.ConvTranspose2d(channels, channels, 8, stride=2, padding=3, bias=bias)
