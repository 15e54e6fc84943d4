"""The adapter for networks of other libraries."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from architectures.external import External, segformer, smp_network, torchvision_network


class Coarse(nn.Module):
    """Gives the input back at half size in a wrapper, and insists on multiples of 8."""

    def forward(self, x: Tensor) -> SimpleNamespace:
        """(N, C, H, W) to an object with .logits of half the size."""
        assert x.shape[2] % 8 == x.shape[3] % 8 == 0
        return SimpleNamespace(logits=x[:, :, ::2, ::2])


def test_adapter_pads_enlarges_and_cuts() -> None:
    """The network sees the image with its edge repeated; the logits come back at image size."""
    network = External(Coarse(), lambda output: output.logits, size_multiple=8)
    rows = torch.arange(13.0)[:, None].expand(13, 21)[None, None]
    logits = network(rows)
    assert logits.shape == rows.shape
    # Doubling 0, 2, 4, ... bilinearly gives 2i +- 1/2 between; the last rows see the repeated edge.
    assert torch.equal(logits[0, 0, 1:11, 0], torch.arange(0.5, 10.0))


def test_adapter_refuses_small_images() -> None:
    """An image below the network's minimum is refused with both sizes."""
    network = External(Coarse(), lambda output: output.logits, size_multiple=8, smallest=16)
    with pytest.raises(ValueError, match="12x40 is too small for Coarse: it needs at least 16x16"):
        network(torch.zeros(1, 1, 12, 40))


@pytest.mark.parametrize(
    ("module", "function", "arguments"),
    [
        ("segmentation_models_pytorch", smp_network, ("unet", "tu-resnet34")),
        ("transformers", segformer, ()),
    ],
)
def test_missing_extra(
    monkeypatch: pytest.MonkeyPatch, module: str, function: object, arguments: tuple[str, ...]
) -> None:
    """Without the library the message says what to install."""
    monkeypatch.setitem(sys.modules, module, None)
    assert callable(function)
    with pytest.raises(ValueError, match=rf'{module} is not installed.*"segbench\[external\]"'):
        function(11, *arguments)


def test_a_checkpoint_of_rgb_is_refused_for_other_bands() -> None:
    with pytest.raises(ValueError, match="its first convolution is of 3 bands and the images have"):
        segformer(11, "nvidia/mit-b0", in_channels=4)


def test_torchvision_downloads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights are fetched unless asked for, and then those of that name."""
    asked: list[str] = []

    def get_state_dict(weights: object, **_: object) -> dict[str, Tensor]:
        asked.append(str(weights))
        raise ConnectionError

    from torchvision.models import ResNet50_Weights

    monkeypatch.setattr(ResNet50_Weights, "get_state_dict", get_state_dict)
    with torch.device("meta"):
        torchvision_network(11, "fcn_resnet50")
        assert asked == []
        with pytest.raises(ConnectionError):
            torchvision_network(11, "fcn_resnet50", "IMAGENET1K_V1")
    assert asked == ["ResNet50_Weights.IMAGENET1K_V1"]


def test_torchvision_unknown_names() -> None:
    """A model or weights that torchvision does not have are named."""
    with pytest.raises(ValueError, match="fcn_resnet5"):
        torchvision_network(11, "fcn_resnet5")
    with pytest.raises(ValueError, match="weights_backbone=cityscapes"):
        torchvision_network(11, "fcn_resnet50", "cityscapes")


def test_smp_unknown_names() -> None:
    """What segmentation-models-pytorch does not have is named."""
    pytest.importorskip("segmentation_models_pytorch")
    with pytest.raises(ValueError, match="architecture=unest"):
        smp_network(11, "unest", "tu-resnet34")
    with pytest.raises(ValueError, match="encoder_name=tu-resnet35"):
        smp_network(11, "unet", "tu-resnet35")


def test_segformer_minimum() -> None:
    """SegFormer's attention shrinks a quarter of the image by 8: from 29 pixels on it fits."""
    pytest.importorskip("transformers")
    network = segformer(5, depths=[1, 1, 1, 1]).eval()
    assert network(torch.randn(1, 3, 29, 40)).shape == (1, 5, 29, 40)
    with pytest.raises(ValueError, match="28x40 is too small"):
        network(torch.randn(1, 3, 28, 40))
