"""Every network, at full width, trains on every second pixel of a real CamVid image: 180x240."""

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
SMALLER = {"deconvnet": {"input_size": (180, 240)}}  # its fc6 has the size of what it is given
ONE_PIXEL = ("deconvnet", "deeplabv3_resnet50", "smp_deeplabv3plus")


def first_pair(root: Path) -> tuple[Tensor, Tensor]:
    """The first training image (1, 3, 180, 240), standardised, and its labels (1, 180, 240)."""
    path = min((root / "train").glob("*.png"))
    with Image.open(path) as image, Image.open(root / "trainannot" / path.name) as annotation:
        pixels = torch.from_numpy(np.asarray(image, dtype=np.float32))
        labels = torch.from_numpy(np.asarray(annotation, dtype=np.int64))
    pixels = (pixels - pixels.mean()) / pixels.std()
    return pixels[::2, ::2].permute(2, 0, 1)[None], labels[None, ::2, ::2]


@pytest.mark.slow
def test_three_iterations(build: Callable[..., nn.Module], arch: str, camvid_root: Path) -> None:
    """The loss on one image falls within three iterations; the prediction has its size."""
    torch.manual_seed(0)
    image, labels = first_pair(camvid_root)
    network = build(arch, dropout=0.0, **SMALLER.get(arch, {}))
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
