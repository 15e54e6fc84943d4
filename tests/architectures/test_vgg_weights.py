"""VGG-16 weights: what goes where, and what is refused."""

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from architectures.bayesian_segnet import BayesianSegNet
from architectures.deconvnet import DeconvNet
from architectures.deeplab_largefov import DeepLabLargeFOV
from architectures.fcn import FCN
from architectures.segnet import SegNet

POSITIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
WIDTH, FC = 4, 32  # instead of 64 and 4096


def vgg16_state(width: int = WIDTH, fc: int = FC) -> dict[str, Tensor]:
    """Random weights with the names and shapes of torchvision's VGG-16, narrower."""
    state: dict[str, Tensor] = {}
    channels = 3
    factors = (1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 8, 8, 8)
    for position, factor in zip(POSITIONS, factors, strict=True):
        state[f"features.{position}.weight"] = torch.randn(factor * width, channels, 3, 3)
        state[f"features.{position}.bias"] = torch.randn(factor * width)
        channels = factor * width
    for position, inputs, outputs in ((0, 49 * channels, fc), (3, fc, fc), (6, fc, 1000)):
        state[f"classifier.{position}.weight"] = torch.randn(outputs, inputs)
        state[f"classifier.{position}.bias"] = torch.randn(outputs)
    return state


@pytest.fixture
def state() -> dict[str, Tensor]:
    """The narrow state dict of these tests."""
    torch.manual_seed(0)
    return vgg16_state()


@pytest.fixture
def file(tmp_path: Path, state: dict[str, Tensor]) -> str:
    """The same in a file whose name has a space."""
    path = tmp_path / "vgg 16.pth"
    torch.save(state, path)
    return str(path)


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    """Those of the encoder, in order."""
    modules = network.get_submodule("encoder").modules()
    return [module for module in modules if isinstance(module, nn.Conv2d)]


def test_state_has_torchvisions_names_and_shapes() -> None:
    """The state dicts made here are, at full width, those that torchvision makes."""
    with torch.device("meta"):
        theirs = torchvision.models.vgg16().state_dict()
        ours = vgg16_state(64, 4096)
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


@pytest.mark.parametrize(
    "constructor",
    [SegNet, BayesianSegNet, lambda *a, **k: DeconvNet(*a, input_size=(32, 32), **k)],
    ids=["SegNet", "BayesianSegNet", "DeconvNet"],
)
def test_convolutions(constructor: type[SegNet], file: str, state: dict[str, Tensor]) -> None:
    """The 13 convolutions take weight and bias; everything else stays as initialised."""
    network = constructor(5, width=WIDTH, weights=file)
    for convolution, position in zip(convolutions(network), POSITIONS, strict=True):
        assert torch.equal(convolution.weight, state[f"features.{position}.weight"])
        assert convolution.bias is not None
        assert torch.equal(convolution.bias, state[f"features.{position}.bias"])
    assert len(network.loaded_weights) == 26
    assert network.loaded_weights["encoder.2.1.0.bias"] == "features.12.bias"
    assert set(network.loaded_weights) <= {name for name, _ in network.named_parameters()}


def test_a_first_convolution_of_other_bands_gets_those_of_rgb_in_turn(
    file: str, state: dict[str, Tensor]
) -> None:
    """Five equal bands give what three gave, and what was loaded says that it was adapted."""
    network = SegNet(5, width=WIDTH, weights=file, in_channels=5)
    kernel = state["features.0.weight"]
    expected = kernel[:, [0, 1, 2, 0, 1]] * (3 / 5)
    assert torch.equal(network.encoder[0][0][0].weight, expected)
    said = network.loaded_weights["encoder.0.0.0.weight"]
    assert said == "features.0.weight, 3 bands by repeat to 5"
    assert len(network.loaded_weights) == 26


def test_nothing_loaded_by_default() -> None:
    """Without weights the record of what was loaded is empty."""
    assert SegNet(5, 4).loaded_weights == {}


@torch.no_grad()
def test_fcn_computes_what_vgg_computes(file: str, state: dict[str, Tensor]) -> None:
    """On a 7x7 map FCN's fc6 and fc7 are VGG-16's fully connected layers."""
    network = FCN(5, WIDTH, FC, weights=file)
    assert len(network.loaded_weights) == 30
    assert network.loaded_weights["fc6.0.weight"] == "classifier.0.weight"
    x = torch.randn(2, 8 * WIDTH, 7, 7)
    fc6 = x.flatten(1) @ state["classifier.0.weight"].T + state["classifier.0.bias"]
    torch.testing.assert_close(network.fc6[0](x).flatten(1), fc6, rtol=1e-4, atol=1e-3)
    fc7 = fc6 @ state["classifier.3.weight"].T + state["classifier.3.bias"]
    ours = network.fc7[0](fc6[..., None, None]).flatten(1)
    torch.testing.assert_close(ours, fc7, rtol=1e-4, atol=1e-3)


def test_deeplab_takes_every_third_tap_and_fourth_channel(
    file: str, state: dict[str, Tensor]
) -> None:
    """DeepLab's fc6 and fc7 are subsampled from VGG-16's, each value from where it belongs."""
    network = DeepLabLargeFOV(5, WIDTH, FC // 4, weights=file)
    assert len(network.loaded_weights) == 30
    matrix, second = state["classifier.0.weight"], state["classifier.3.weight"]
    for output, channel, row, column in ((0, 0, 0, 0), (3, 5, 1, 2), (7, 31, 2, 0)):
        expected = matrix[4 * output, 49 * channel + 7 * (3 * row) + 3 * column]
        assert network.fc6[0].weight[output, channel, row, column] == expected
    assert torch.equal(network.fc6[0].bias, state["classifier.0.bias"][::4])
    assert network.fc7[0].weight[2, 3, 0, 0] == second[8, 12]
    assert torch.equal(network.fc7[0].bias, state["classifier.3.bias"][::4])


def test_imagenet_comes_from_torchvision(
    monkeypatch: pytest.MonkeyPatch, state: dict[str, Tensor]
) -> None:
    """The name imagenet stands for torchvision's weights, asked for with their checksum."""
    asked: list[object] = []

    def get_state_dict(weights: object, *, check_hash: bool) -> dict[str, Tensor]:
        asked.append((weights, check_hash))
        return state

    enum = torchvision.models.VGG16_Weights
    monkeypatch.setattr(enum, "get_state_dict", get_state_dict)
    network = SegNet(5, WIDTH, weights="imagenet")
    assert asked == [(enum.IMAGENET1K_V1, True)]
    assert torch.equal(convolutions(network)[0].weight, state["features.0.weight"])


def test_missing_file() -> None:
    """A file that does not exist is named."""
    with pytest.raises(ValueError, match=r"weights=nowhere/vgg\.pth: no such file"):
        SegNet(5, WIDTH, weights="nowhere/vgg.pth")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_unreadable_file(tmp_path: Path, content: bytes) -> None:
    """A file that is no checkpoint is named."""
    path = tmp_path / "vgg.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"vgg\.pth: cannot be read as a state dict"):
        SegNet(5, WIDTH, weights=str(path))


def test_no_state_dict(tmp_path: Path) -> None:
    """A file that holds something else is named, with what it holds."""
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"list\.pth: holds a list, not a state dict"):
        SegNet(5, WIDTH, weights=str(tmp_path / "list.pth"))


def test_missing_tensor(tmp_path: Path, state: dict[str, Tensor]) -> None:
    """A missing tensor is named with the shape that was expected."""
    del state["features.12.weight"]
    torch.save(state, tmp_path / "part.pth")
    message = r"part\.pth: features\.12\.weight is missing; expected .* \(16, 16, 3, 3\)"
    with pytest.raises(ValueError, match=message):
        SegNet(5, WIDTH, weights=str(tmp_path / "part.pth"))


def test_wrong_shape(file: str) -> None:
    """A tensor of another shape is named with both shapes."""
    message = r"features\.0\.weight has shape \(4, 3, 3, 3\); expected .* \(8, 3, 3, 3\)"
    with pytest.raises(ValueError, match=message):
        SegNet(5, 8, weights=file)
    message = r"classifier\.0\.weight has shape \(32, 1568\); expected .* \(16, 1568\)"
    with pytest.raises(ValueError, match=message):
        FCN(5, WIDTH, 16, weights=file)


def test_batch_norm_variant(tmp_path: Path) -> None:
    """VGG-16 with batch norm, whose convolutions have other positions, is refused as such."""
    with torch.device("meta"):
        names = torchvision.models.vgg16_bn().state_dict()
    torch.save({name: torch.zeros(1) for name in names}, tmp_path / "vgg16_bn.pth")
    with pytest.raises(ValueError, match=r"vgg16_bn\.pth: .* with batch norm"):
        SegNet(5, WIDTH, weights=str(tmp_path / "vgg16_bn.pth"))
