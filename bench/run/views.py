"""Several views of an image in evaluation, as `postprocess=test_time_augmentation` has them.

The network is shown every image at several scales and mirrored; the mean of the class probabilities
counts. What that costs is measured as any network is, by cost.measure=true.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from bench.config import Config, variant_of
from bench.protocol import InferenceConfig, InferenceMode
from bench.run.inference import infer, scaled


@dataclass(frozen=True)
class Views:
    """What the network is shown of an image: each scale, each also mirrored where `mirror`."""

    scales: tuple[float, ...]
    mirror: bool

    @classmethod
    def of(cls, settings: dict[str, Any]) -> "Views":
        """Takes the settings of `postprocess`."""
        return cls(tuple(settings["scales"]), settings["mirror"])

    def __len__(self) -> int:
        return len(self.scales) * (1 + self.mirror)

    def probs(self, network: nn.Module, images: Tensor, inference: InferenceConfig) -> Tensor:
        """Returns the mean class probabilities (N, K, H, W) of normalised images (N, 3, H, W).

        A view is resized bilinearly, smoothed where it shrinks; its logits are resized back.
        """
        total, size = images.new_zeros(()), images.shape[2:]
        for scale in self.scales:
            shown = _resized(images, scaled(size, scale))
            for mirrored in (False, True)[: 1 + self.mirror]:
                logits = infer(network, shown.flip(3) if mirrored else shown, inference)
                logits = _resized(logits.flip(3) if mirrored else logits, size)
                total = total + logits.softmax(dim=1)
        return total / len(self)


class AsEvaluated(nn.Module):
    """A network as evaluation uses it, windows and views included, so that its cost is measured."""

    def __init__(self, network: nn.Module, inference: InferenceConfig, views: Views | None) -> None:
        super().__init__()
        self.network, self.inference, self.views = network, inference, views

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) to logits or probabilities (N, K, H, W)."""
        if self.views is None:
            return infer(self.network, images, self.inference)
        return self.views.probs(self.network, images, self.inference)


def as_evaluated(network: nn.Module, config: Config) -> nn.Module:
    """Returns what evaluation computes of an image: the network itself, where it sees it whole."""
    views = Views.of(config.postprocess) if variant_of(config.postprocess) else None
    inference = config.protocol.inference
    if views is None and inference.mode == InferenceMode.whole:
        return network
    return AsEvaluated(network, inference, views)


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resizes (N, C, h, w) to (N, C, H, W); returns maps of that size as they are."""
    if [*maps.shape[2:]] == [*size]:
        return maps
    return F.interpolate(maps, [*size], mode="bilinear", align_corners=False, antialias=True)
