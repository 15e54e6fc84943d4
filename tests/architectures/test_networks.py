"""The layout of the VGG-based networks and U-Net: sizes, alignment, dropout; bad arguments."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from architectures import segnet
from architectures.basic import FCNBasic, SegNetBasic
from architectures.deconvnet import DeconvNet, WholeMapConvolution, WholeMapDeconvolution
from architectures.deeplab_largefov import DeepLabLargeFOV
from architectures.fcn import FCN
from architectures.segnet import SegNet
from architectures.unet import UNet
from bench.metrics.regions import class_pixels, confusion_matrix, mean_iou
from bench.run.loss import shrink_labels

PAPER_SIZE = (1, 3, 360, 480)


def sizes_of(network: nn.Module, *names: str) -> list[tuple[int, int]]:
    """Output sizes (H, W) of the named modules for a 360x480 image, computed without data."""
    found: list[tuple[int, int]] = []
    for name in names:
        network.get_submodule(name).register_forward_hook(
            lambda _, __, output: found.append((output.shape[2], output.shape[3]))
        )
    network.eval()(torch.empty(PAPER_SIZE, device="meta"))
    return found


def test_segnet_sizes() -> None:
    """SegNet at 360x480: 26 convolutions, pooled to 12x15 and back over the same sizes."""
    with torch.device("meta"):
        network = SegNet(11)
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == 26
    names = [f"{part}.{stage}" for part in ("encoder", "decoder") for stage in range(5)]
    down = [(360, 480), (180, 240), (90, 120), (45, 60), (23, 30)]
    assert sizes_of(network, *names) == [*down, *reversed(down)]


def test_dropout_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """SegNet drops after pool3, pool4, pool5 and after the decoder stages that mirror them."""
    seen: list[tuple[int, ...]] = []

    def dropout(x: Tensor, probability: float) -> Tensor:
        seen.append((*x.shape[1:], round(10 * probability)))
        return x

    monkeypatch.setattr(segnet.F, "dropout", dropout)
    with torch.device("meta"):
        network = SegNet(11, dropout=0.3)
    network(torch.empty((2, *PAPER_SIZE[1:]), device="meta"))
    assert seen == [
        (256, 45, 60, 3),
        (512, 23, 30, 3),
        (512, 12, 15, 3),
        (512, 23, 30, 3),
        (256, 45, 60, 3),
        (128, 90, 120, 3),
    ]


def test_no_dropout_in_evaluation() -> None:
    """Two evaluations agree; two trainings with dropout do not."""
    for network in (
        SegNet(5, 4),
        FCN(5, 4, 8),
        DeepLabLargeFOV(5, 4, 8),
        SegNetBasic(5, 4, dropout=0.5),
    ):
        images = torch.randn(2, 3, 40, 40)
        assert not torch.equal(network(images), network(images))
        network.eval()
        assert torch.equal(network(images), network(images))


def test_fcn_sizes_of_the_original() -> None:
    """With the image padded by 100 FCN-8s has the sizes of the published network."""
    with torch.device("meta"):
        network = FCN(11)
    names = ("encoder.0", "fc6", "upscore_fc7", "upscore_pool4", "upscore_pool3")
    expected = [(558, 678), (12, 16), (26, 34), (54, 70), (440, 568)]
    assert sizes_of(network, *names) == expected


def test_fcn_sizes_without_padding() -> None:
    """With padding 1 sizes are those of the pooled image, and doubling needs cropping by one."""
    with torch.device("meta"):
        network = FCN(11, first_padding=1)
    names = ("encoder.0", "fc6", "upscore_fc7", "upscore_pool4", "upscore_pool3")
    expected = [(360, 480), (12, 15), (24, 30), (46, 60), (360, 480)]
    assert sizes_of(network, *names) == expected


@torch.no_grad()
@pytest.mark.parametrize("first_padding", [1, 100])
@pytest.mark.parametrize(
    ("score", "stride"), [("score_fc7", 32), ("score_pool4", 16), ("score_pool3", 8)]
)
def test_fcn_aligns_its_scores(first_padding: int, score: str, stride: int) -> None:
    """A single lit cell of a score map shines, after all enlarging and cropping, where it lies."""
    network = FCN(2, 4, 8, first_padding=first_padding).eval()
    for name in ("score_fc7", "score_pool4", "score_pool3"):
        nn.init.zeros_(network.get_parameter(f"{name}.weight"))

    def light(_: Any, __: Any, scores: Tensor) -> Tensor:
        middle = scores.shape[2] // 2
        scores[0, 1, middle, middle] = 1.0
        centre = (middle + 0.5) * stride - 0.5  # of the pixels that this cell pools
        border = 3 * 32 if score == "score_fc7" and first_padding == 100 else 0  # fc6 is unpadded
        expected.append(centre + border - (first_padding - 1))
        return scores

    expected: list[float] = []
    network.get_submodule(score).register_forward_hook(light)
    shine = network(torch.zeros(1, 3, 320, 320))[0, 1]
    weights = shine.sum(dim=1) / shine.sum()
    centroid = float((weights * torch.arange(320.0)).sum())
    assert centroid == pytest.approx(expected[0], abs=2.0)


def test_frozen_and_learnt_deconvolution() -> None:
    """FCN's deconvolutions start as the same bilinear filters and learn only where asked."""
    for learnt in (False, True):
        network = FCN(3, 4, 8, learn_deconvolution=learnt)
        trainable = {name for name, p in network.named_parameters() if p.requires_grad}
        deconvolutions = {f"upscore_{part}.weight" for part in ("fc7", "pool4", "pool3")}
        assert trainable & deconvolutions == (deconvolutions if learnt else set())
        assert network.upscore_fc7.weight[0, 0, 0].tolist() == [0.0625, 0.1875, 0.1875, 0.0625]


@pytest.mark.parametrize(
    ("strides", "conv4"), [((2, 2, 1, 2, 1), (90, 120)), ((2, 2, 2, 1, 1), (45, 60))]
)
def test_deeplab_trains_at_an_eighth(strides: tuple[int, ...], conv4: tuple[int, int]) -> None:
    """DeepLab-LargeFOV: both readings of its strides give 45x60 in training, 360x480 evaluated."""
    with torch.device("meta"):
        network = DeepLabLargeFOV(11, pool_strides=strides)
    assert network(torch.empty((2, *PAPER_SIZE[1:]), device="meta")).shape == (2, 11, 45, 60)
    assert sizes_of(network, "encoder.3", "classifier") == [conv4, (45, 60)]
    with torch.device("meta"):
        full = DeepLabLargeFOV(11, pool_strides=strides, loss_resolution=1)
    assert full(torch.empty((2, *PAPER_SIZE[1:]), device="meta")).shape == (2, 11, 360, 480)


@pytest.mark.parametrize("strides", [(2, 2, 1, 2, 1), (2, 2, 2, 1, 1)])
def test_a_score_of_deeplab_is_centred_on_every_eighth_pixel(strides: tuple[int, ...]) -> None:
    """With convolutions that look at one pixel, pixel 8i lights scores evenly around score i."""
    network = DeepLabLargeFOV(2, 4, 8, pool_strides=strides).eval()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.zeros_(layer.weight)
            middle = layer.kernel_size[0] // 2
            nn.init.ones_(layer.weight[:, :, middle, middle])
    network.training = True  # of the network alone: scores as they are
    image = torch.zeros(1, 3, 1, 160)
    image[..., 80] = 1.0
    score = network(image)[0, 1, 0].detach()
    assert len(score) == 20
    assert score[10] == score.max() > 0
    assert float((score * torch.arange(20)).sum() / score.sum()) == pytest.approx(10)


@pytest.mark.parametrize("size", [(360, 480), (90, 120), (45, 71), (8, 8)])
def test_deeplab_is_evaluated_on_the_grid_it_is_trained_on(size: tuple[int, int]) -> None:
    """The enlarged scores are the training logits on every eighth pixel, and linear between."""
    torch.manual_seed(0)
    network = DeepLabLargeFOV(3, 2, 4).eval()
    image = torch.randn(1, 3, *size)
    with torch.inference_mode():
        enlarged = network(image)
        network.training = True  # of the network alone: dropout and batch norm evaluate
        scores = network(image)
    assert enlarged.shape[2:] == size
    assert scores.shape[2:] == (-(-size[0] // 8), -(-size[1] // 8))
    torch.testing.assert_close(enlarged[:, :, ::8, ::8], scores)
    between = (scores[:, :, :-1] + scores[:, :, 1:]) / 2
    torch.testing.assert_close(enlarged[:, :, 4::8, ::8][:, :, : between.shape[2]], between)
    last = enlarged[:, :, 8 * (scores.shape[2] - 1) :, ::8]
    torch.testing.assert_close(last, scores[:, :, -1:].expand_as(last))


def test_what_an_eighth_of_the_labels_can_say_is_scored_as_such(camvid_root: Path) -> None:
    """Labels as DeepLab is trained on, enlarged as its scores: mIoU 0.80, and not 0.72.

    The lower figure is that of scores which stand on pixel 8i and are enlarged from 8i + 3.5. Both
    are of the whole test set; here are 16 of its images.
    """
    network = DeepLabLargeFOV(12, 1, 1).eval()
    shown: list[Tensor] = []
    network.classifier.register_forward_hook(lambda *_: shown[-1])
    found = {name: np.zeros((12, 12), np.int64) for name in ("ours", "half")}
    for path in sorted((camvid_root / "testannot").glob("*.png"))[::15]:
        label = torch.from_numpy(np.array(Image.open(path)))[None]
        picked = shrink_labels(label, torch.empty(1, 1, 45, 60), network)
        shown.append(nn.functional.one_hot(picked.long(), 12).permute(0, 3, 1, 2).float())
        half = nn.functional.interpolate(shown[-1], (360, 480), mode="bilinear")
        with torch.inference_mode():
            ours = network(torch.zeros(1, 3, 360, 480))
        for name, scores in (("ours", ours), ("half", half)):
            prediction = scores[0, :11].argmax(dim=0).numpy()
            found[name] += confusion_matrix(prediction, label[0].numpy(), num_classes=11, void=11)
    score = {name: float(mean_iou(class_pixels(total))) for name, total in found.items()}
    assert score["ours"] == pytest.approx(0.80, abs=0.02)
    assert score["half"] == pytest.approx(0.72, abs=0.02)


def test_deconvnet_sees_the_whole_map() -> None:
    """DeconvNet's fc6 leaves one pixel at the configured size, and more for larger images."""
    network = DeconvNet(5, (75, 101), 4, 8).eval()
    assert network.kernel == (3, 4)
    for size, left in (((75, 101), (1, 1)), ((65, 97), (1, 1)), ((130, 101), (3, 1))):
        seen: list[Any] = []
        handle = network.fc6.register_forward_hook(
            lambda _, __, y, seen=seen: seen.append(tuple(y.shape[2:]))
        )
        assert network(torch.randn(1, 3, *size)).shape == (1, 5, *size)
        handle.remove()
        assert seen == [left]
    with pytest.raises(ValueError, match=r"64x101 is too small.*at least 65x97"):
        network(torch.randn(1, 3, 64, 101))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("ours", "native", "size"),
    [
        (WholeMapConvolution, nn.Conv2d, (3, 4)),
        (WholeMapConvolution, nn.Conv2d, (5, 4)),
        (WholeMapDeconvolution, nn.ConvTranspose2d, (1, 1)),
        (WholeMapDeconvolution, nn.ConvTranspose2d, (3, 1)),
    ],
)
def test_whole_map_layers_are_those_of_torch(
    ours: Any, native: Any, size: tuple[int, int], layout: torch.memory_format
) -> None:
    """Values and gradients, where the kernel covers the map and where it does not."""
    first = ours(6, 7, (3, 4)).double().to(memory_format=layout)
    second = native(6, 7, (3, 4)).double().to(memory_format=layout)
    second.load_state_dict(first.state_dict())
    x = torch.randn(2, 6, *size).double()
    results = []
    for layer in (first, second):
        given = x.clone().requires_grad_()
        maps = layer(given)
        (maps * torch.arange(maps.numel()).view_as(maps)).sum().backward()
        results.append((maps, given.grad, layer.weight.grad, layer.bias.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_unet_concatenates_whole_maps() -> None:
    """U-Net's decoder stages are given twice the channels they return."""
    with torch.device("meta"):
        network = UNet(11)
    shapes: list[tuple[int, ...]] = []
    for stage in network.decoder:
        stage.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape[1:])))
    network.eval()(torch.empty(PAPER_SIZE, device="meta"))
    assert shapes == [(1024, 45, 60), (512, 90, 120), (256, 180, 240), (128, 360, 480)]


@pytest.mark.parametrize(
    ("constructor", "arguments", "message"),
    [
        (SegNetBasic, {"unpooling": "index"}, "unpooling=index: must be one of indices"),
        (SegNetBasic, {"unpooling": "none", "encoder_addition": True}, "there is no decoder"),
        (FCNBasic, {"upsampling": "nearest"}, "upsampling=nearest: must be one of learnt"),
        (FCN, {"first_padding": 50}, "first_padding=50"),
        (FCN, {"fc_width": 0}, "fc_width=0"),
        (DeepLabLargeFOV, {"pool_strides": (2, 2, 2)}, r"pool_strides=\[2, 2, 2\]"),
        (DeepLabLargeFOV, {"pool_strides": (2, 2, 1, 1, 1)}, "product of pool_strides, 4"),
        (DeepLabLargeFOV, {"loss_resolution": 2}, "loss_resolution=2"),
        (DeconvNet, {"input_size": (0, 480)}, "input_size=0"),
    ],
)
def test_impossible_arguments(
    constructor: type[nn.Module], arguments: dict[str, Any], message: str
) -> None:
    """An argument that no network can be built with is named together with its remedy."""
    with pytest.raises(ValueError, match=message):
        constructor(11, **arguments)
