"""Bayesian SegNet: SegNet whose dropout goes on in evaluation, for uncertainty maps."""

import math

import torch
from torch import Tensor, nn

from architectures.layers import BATCH_NORM_EPS, check_arguments
from architectures.segnet import SegNet


class BayesianSegNet(SegNet):
    """Averages the softmax over several passes with dropout (the paper's future work, Sec. 5).

    Args:
        num_classes: channels of the logits.
        samples: passes in evaluation.
        width: channels of the first stage; 64 gives VGG-16's.
        dropout: probability, in training and in the passes.
        batch_norm_eps: eps of batch norm.
        weights: of the encoder, see `architectures.vgg.load_vgg16`.
        in_channels: bands of the images.
    """

    def __init__(
        self,
        num_classes: int,
        samples: int = 8,
        width: int = 64,
        *,
        dropout: float = 0.5,
        batch_norm_eps: float = BATCH_NORM_EPS,
        weights: str | None = None,
        in_channels: int = 3,
    ) -> None:
        super().__init__(
            num_classes,
            width,
            dropout=dropout,
            batch_norm_eps=batch_norm_eps,
            weights=weights,
            in_channels=in_channels,
        )
        check_arguments(num_classes, samples=samples)
        self.samples = samples

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) to logits; in evaluation the log of the mean softmax, (N, K, H, W).

        While batch norm alone is in training mode its statistics are being estimated: one pass,
        without dropout.
        """
        if self.training:
            return self.logits(x, self.dropout)
        if any(module.training for module in self.modules() if isinstance(module, nn.BatchNorm2d)):
            return self.logits(x, 0.0)
        total = self.logits(x, self.dropout).log_softmax(dim=1)
        for _ in range(self.samples - 1):
            total = torch.logaddexp(total, self.logits(x, self.dropout).log_softmax(dim=1))
        return total - math.log(self.samples)

    def uncertainty(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance over the samples of each class's probability, both (N, K, H, W)."""
        first = self.logits(x, self.dropout).softmax(dim=1)
        mean, squares = first, torch.zeros_like(first)
        for count in range(2, self.samples + 1):  # Welford's update: exact where all agree
            probability = self.logits(x, self.dropout).softmax(dim=1)
            difference = probability - mean
            mean = mean + difference / count
            squares = squares + difference * (probability - mean)
        return mean, squares / self.samples
