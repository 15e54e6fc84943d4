"""Weights of encoders from files: found by name or in order, held to their shapes, adapted."""

import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from architectures.external import segformer, smp_network, torchvision_network
from architectures.pretrained import load_pretrained, repeat

State = dict[str, Tensor]


def encoder(bands: int = 3) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(conv=nn.Conv2d(bands, 4, 3), norm=nn.BatchNorm2d(4), out=nn.Conv2d(4, 2, 1))
    )


def saved(state: object, folder: Path, name: str = "file.pth") -> str:
    torch.save(state, folder / name)
    return str(folder / name)


def plain(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if "num_batches" not in name}


@pytest.mark.parametrize("prefix", ["", "backbone.", "module.encoder."])
@pytest.mark.parametrize("wrapped", [False, True])
def test_tensors_are_found_by_name_below_any_beginning(
    tmp_path: Path, prefix: str, wrapped: bool
) -> None:
    source, target = encoder(), encoder()
    nn.init.uniform_(source.norm.running_mean)
    state = {prefix + name: tensor for name, tensor in plain(source.state_dict()).items()}
    state |= {"head.weight": torch.zeros(9), f"aux.{prefix}conv.weight": torch.zeros(1)}
    path = saved({"state_dict": state, "epoch": 3} if wrapped else state, tmp_path)
    filled = load_pretrained(target, path)
    for name, tensor in plain(source.state_dict()).items():
        assert torch.equal(target.state_dict()[name], tensor)
        assert filled[name] == f"file.pth: {prefix}{name}"


def test_tensors_are_taken_in_order_whatever_they_are_called(tmp_path: Path) -> None:
    source, target = encoder(), encoder()
    tensors = [*source.state_dict().values(), torch.zeros(1000, 2)]  # a classifier at the end
    names = [f"_{n}{'.num_batches_tracked' * (t.ndim == 0)}" for n, t in enumerate(tensors)]
    path = saved(dict(zip(names, tensors, strict=True)), tmp_path)
    load_pretrained(target, path, "order")
    assert all(torch.equal(t, target.state_dict()[n]) for n, t in source.state_dict().items())


def test_what_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    state = plain(encoder().state_dict())
    lacking = {n: t for n, t in state.items() if n != "norm.bias"}
    with pytest.raises(ValueError, match=r"lacks 1 of 8 tensors, .* norm\.bias, .*=order"):
        load_pretrained(encoder(), saved(lacking, tmp_path))
    with pytest.raises(ValueError, match="has 7 tensors, and the network takes 8"):
        load_pretrained(encoder(), saved(lacking, tmp_path), "order")
    swapped = dict(reversed(state.items()))
    with pytest.raises(ValueError, match=r"out\.bias has shape \(2,\), and .* conv\.weight"):
        load_pretrained(encoder(), saved(swapped, tmp_path), "order")
    with pytest.raises(ValueError, match="weights_match=shape: must be one of name, order"):
        load_pretrained(encoder(), saved(state, tmp_path), "shape")
    with pytest.raises(ValueError, match=r"nowhere\.pth: no such file"):
        load_pretrained(encoder(), "/nowhere.pth")
    with pytest.raises(ValueError, match="holds a list, not a state dict"):
        load_pretrained(encoder(), saved([1], tmp_path))


@pytest.mark.parametrize("bands", [1, 2, 4, 7])
def test_a_first_convolution_adapts_to_other_bands_so_that_equal_bands_give_the_same(
    tmp_path: Path, bands: int
) -> None:
    source, target = encoder(), encoder(bands)
    filled = load_pretrained(target, saved(source.state_dict(), tmp_path))
    assert filled["conv.weight"] == f"file.pth: conv.weight, 3 bands by repeat to {bands}"
    grey = torch.randn(1, 1, 5, 5)
    expected = source.conv(grey.expand(1, 3, 5, 5))
    if bands % 3 == 1 and bands > 1:  # its bands have unequal weights
        kernel = repeat(source.conv.weight, bands)
        assert torch.equal(kernel[:, 3], source.conv.weight[:, 0] * (3 / bands))
    elif bands == 1:
        torch.testing.assert_close(target.conv(grey), expected)
    same = nn.Conv2d(3, 4, 3)
    with torch.no_grad():
        same.weight.copy_(source.conv.weight[:, :1].expand(4, 3, 3, 3))
    grey_kernel = repeat(same.weight, bands)
    torch.testing.assert_close(grey_kernel.sum(1), same.weight.sum(1))


def test_a_backbone_of_torchvision_takes_the_file_of_its_classifier(tmp_path: Path) -> None:
    source = torchvision.models.resnet50(weights=None)
    path = saved(source.state_dict(), tmp_path)
    network = torchvision_network(5, "fcn_resnet50", weights=path)
    name = "network.backbone.layer4.2.conv3.weight"
    assert network.loaded_weights[name] == "file.pth: layer4.2.conv3.weight"
    assert torch.equal(network.state_dict()[name], source.layer4[2].conv3.weight)
    assert set(network.loaded_weights) <= set(network.state_dict())
    with pytest.raises(ValueError, match="give one of them, the other null"):
        torchvision_network(5, "fcn_resnet50", "IMAGENET1K_V1", weights=path)


@pytest.mark.filterwarnings("ignore:`timm-` encoders:DeprecationWarning")
@pytest.mark.parametrize("architecture", ["unet", "fpn", "deeplabv3plus"])
def test_an_encoder_of_smp_takes_a_file_by_name_or_in_order(
    tmp_path: Path, architecture: str
) -> None:
    """As its ports of EfficientNet-Lite have the same tensors under names of their own."""
    pytest.importorskip("segmentation_models_pytorch")
    timm = pytest.importorskip("timm")
    source = timm.create_model("tf_efficientnet_lite0").state_dict()
    by_name = saved(source, tmp_path)
    renamed = {
        f"_{number}{'.num_batches_tracked' * (tensor.ndim == 0)}": tensor
        for number, tensor in enumerate(source.values())
    }
    in_order = saved(renamed, tmp_path, "renamed.pth")
    for kind in ("timm-", "tu-"):
        name = f"{kind}tf_efficientnet_lite0"
        one = smp_network(5, architecture, name, weights=by_name, in_channels=4)
        other = smp_network(
            5, architecture, name, weights=in_order, weights_match="order", in_channels=4
        )
        assert len(one.loaded_weights) > 200
        assert one.loaded_weights.keys() == other.loaded_weights.keys()
        for key in one.loaded_weights:
            assert torch.equal(one.state_dict()[key], other.state_dict()[key])
        stem = next(key for key in one.loaded_weights if key.endswith("conv_stem.weight"))
        assert torch.equal(one.state_dict()[stem][:, 3], source["conv_stem.weight"][:, 0] * 0.75)


def test_segformer_says_what_it_took_from_a_checkpoint(tmp_path: Path) -> None:
    """The folder of one; its head, of other classes, is made new."""
    transformers = pytest.importorskip("transformers")
    config = transformers.SegformerConfig(num_labels=7, depths=[1, 1, 1, 1])
    source = transformers.SegformerForSemanticSegmentation(config)
    source.save_pretrained(tmp_path / "checkpoint")
    network = segformer(5, str(tmp_path / "checkpoint"))
    state = network.state_dict()
    new = set(state) - set(network.loaded_weights)
    assert new == {"network.decode_head.classifier.weight", "network.decode_head.classifier.bias"}
    for name, tensor in source.state_dict().items():
        if f"network.{name}" not in new:
            assert torch.equal(state[f"network.{name}"], tensor)
    with pytest.raises(ValueError, match=r"pretrained=/nowhere/at/all: .* or null"):
        segformer(5, "/nowhere/at/all")


def test_safetensors_need_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ValueError, match=r'not installed; .*"segbench\[external\]"'):
        load_pretrained(encoder(), str(tmp_path / "model.safetensors"))


def test_a_file_of_safetensors_is_read_and_a_damaged_one_refused(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    source, target = encoder(), encoder()
    path = tmp_path / "model.safetensors"
    safetensors.save_file(source.state_dict(), path)
    load_pretrained(target, str(path))
    assert torch.equal(target.conv.weight, source.conv.weight)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ValueError, match="cannot be read as a state dict"):
        load_pretrained(target, str(path))
