"""A small network with a batch norm worth folding: what tests of exporting export."""

import torch
from torch import Tensor, nn

SIZE = (32, 48)


class Layers(nn.Module):
    """Two convolutions with batch norm, which has seen something: folding changes all weights."""

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
            nn.Conv2d(4, num_classes, 3, padding=1), nn.BatchNorm2d(num_classes),
        )  # fmt: skip
        self.body(5 + 2 * torch.randn(8, 3, *SIZE))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.body(images)
        return logits
