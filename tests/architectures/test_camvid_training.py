"""Every network, at full width, trains on a real CamVid image of 360x480."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

VOID = 11
# They normalise a map of one pixel, which a single image cannot do in training mode.
ONE_PIXEL = ("deconvnet", "deeplabv3_resnet50", "smp_deeplabv3plus")


def first_pair(root: Path) -> tuple[Tensor, Tensor]:
    """The first training image (1, 3, 360, 480), standardised, and its labels (1, 360, 480)."""
    path = min((root / "train").glob("*.png"))
    with Image.open(path) as image, Image.open(root / "trainannot" / path.name) as annotation:
        pixels = torch.from_numpy(np.asarray(image, dtype=np.float32))
        labels = torch.from_numpy(np.asarray(annotation, dtype=np.int64))
    pixels = (pixels - pixels.mean()) / pixels.std()
    return pixels.permute(2, 0, 1)[None], labels[None]


@pytest.mark.slow
def test_three_iterations(build: Callable[..., nn.Module], arch: str, camvid_root: Path) -> None:
    """The loss on one image falls within three iterations; the prediction has its size."""
    torch.manual_seed(0)
    image, labels = first_pair(camvid_root)
    network = build(arch, dropout=0.0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and arch in ONE_PIXEL:
            module.eval()
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
    losses = []
    for _ in range(3):
        logits = network(image)
        small = F.interpolate(labels[None].float(), logits.shape[2:], mode="nearest")[0].long()
        loss = F.cross_entropy(logits, small, ignore_index=VOID)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    with torch.no_grad():
        prediction = network.eval()(image).argmax(dim=1)
    assert prediction.shape == labels.shape
