"""Networks of Table 1: what the decoder keeps, how maps grow, what is added, and first weights."""

import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from architectures import basic
from architectures.basic import FCNBasic, SegNetBasic
from architectures.layers import initialise, initialise_bilinear
from architectures.pooling import PoolingIndices


def input_of(network: nn.Module, name: str, images: Tensor) -> Tensor:
    """What the named module is given for the images."""
    given: list[Tensor] = []
    network.get_submodule(name).register_forward_pre_hook(lambda _, args: given.append(args[0]))
    network.eval()(images)
    return given[0]


class LiveTensors(TorchDispatchMode):
    """Remembers every tensor made inside, without keeping it alive."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[weakref.ref[Tensor]] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run the operator and note what it returned."""
        result = function(*args, **(kwargs or {}))
        outputs = result if isinstance(result, tuple) else (result,)
        self.made += [weakref.ref(output) for output in outputs if isinstance(output, Tensor)]
        return result

    def bytes_besides(self, *excepted: Tensor) -> int:
        """Bytes of the tensors that are still alive, each storage counted once."""
        alive = [tensor for made in self.made if (tensor := made()) is not None]
        storages = {
            tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in alive
        }
        for tensor in excepted:
            storages.pop(tensor.untyped_storage().data_ptr(), None)
        return sum(storage.nbytes() for storage in storages.values())


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        # Pooled 40x56, 20x28, 10x14; 8 channels, 5 classes, 4 bytes a value.
        (SegNetBasic(5, 8), 8 * (40 * 56 + 20 * 28 + 10 * 14) // 4),
        (SegNetBasic(5, 8, single_channel_decoder=True), 8 * (40 * 56 + 20 * 28 + 10 * 14) // 4),
        # pool3 is what the deepest stage works on, and is not counted as kept.
        (
            SegNetBasic(5, 8, encoder_addition=True),
            8 * (40 * 56 + 20 * 28 + 10 * 14) // 4 + 8 * 4 * (40 * 56 + 20 * 28),
        ),
        (SegNetBasic(5, 8, unpooling="replication"), 0),
        (FCNBasic(5, 8), 5 * 4 * (40 * 56 + 20 * 28 + 10 * 14)),
        (FCNBasic(5, 8, dim_reduction=False), 8 * 4 * (40 * 56 + 20 * 28)),
        (FCNBasic(5, 8, addition=False), 0),
        (FCNBasic(5, 8, addition=False, upsampling="bilinear"), 0),
    ],
)
def test_kept_bytes(network: nn.Module, expected: int) -> None:
    """Entering the deepest stage, exactly what the decoder needs is alive."""
    counted: list[int] = []
    encoder = network.get_submodule("encoder")
    assert isinstance(encoder, nn.ModuleList)
    with torch.no_grad(), LiveTensors() as live:
        images = torch.randn(1, 3, 80, 112)
        encoder[-1].register_forward_pre_hook(
            lambda _, args: counted.append(live.bytes_besides(images, args[0]))
        )
        network.eval()(images)
    assert counted == [expected]


def test_native_pooling_gives_the_same_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """SegNet-Basic's logits and gradients are those it has with torch's own operators."""
    network = SegNetBasic(5, 4)
    images = torch.randn(2, 3, 45, 61)
    parameters = list(network.parameters())
    logits = network(images)
    gradients = torch.autograd.grad(logits.square().sum(), parameters)

    def pool(x: Tensor) -> tuple[Tensor, PoolingIndices]:
        pooled, index = F.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
        return pooled, PoolingIndices(index, (x.shape[2], x.shape[3]), False)

    def unpool(x: Tensor, indices: PoolingIndices) -> Tensor:
        return F.max_unpool2d(x, indices.bits, 2, 2, output_size=indices.size)

    monkeypatch.setattr(basic, "max_pool", pool)
    monkeypatch.setattr(basic, "max_unpool", unpool)
    native = network(images)
    assert torch.equal(logits, native)
    for ours, theirs in zip(
        gradients, torch.autograd.grad(native.square().sum(), parameters), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@torch.no_grad()
def test_generic_unpooling() -> None:
    """Replication fills 2x2 with each value, fixed indices its top left cell; odd edges are cut."""
    images = torch.randn(1, 3, 45, 61)  # pooled 23x31, 12x16, 6x8, 3x4
    for unpooling in ("replication", "fixed"):
        network = SegNetBasic(5, 4, unpooling=unpooling)
        deepest: list[Tensor] = []
        network.encoder[-1].register_forward_hook(lambda _, __, y, into=deepest: into.append(y))
        given = input_of(network, "decoder.0", images)
        pooled = F.max_pool2d(deepest[0], 2, 2, ceil_mode=True)
        assert given.shape == (1, 4, 6, 8)
        assert torch.equal(given[..., ::2, ::2], pooled)
        other_cells = given[..., 1::2, 1::2]
        assert torch.equal(other_cells, pooled if unpooling == "replication" else pooled * 0)


@torch.no_grad()
def test_encoder_addition_is_of_pooled_maps() -> None:
    """What enters decoder stages 2 to 4 is unpooled from (decoder output + pooled encoder map)."""
    network = SegNetBasic(5, 4, encoder_addition=True).eval()
    x = images = torch.randn(1, 3, 44, 60)
    pooled, indices = [], []
    for stage in network.encoder:
        x, index = F.max_pool2d(stage(x), 2, 2, ceil_mode=True, return_indices=True)
        pooled.append(x)
        indices.append(index)
    for level in (3, 2, 1, 0):
        size = list(pooled[level - 1].shape[2:]) if level > 0 else [44, 60]
        x = network.decoder[3 - level](F.max_unpool2d(x, indices[level], 2, 2, output_size=size))
        x = x + pooled[level - 1] if level > 0 else x
    torch.testing.assert_close(network(images), network.classifier(x))


@torch.no_grad()
def test_fcn_basic_adds_reduced_maps() -> None:
    """FCN-Basic: pool1 to pool3, reduced to K channels, join the doubled maps of their size."""
    network = FCNBasic(5, 4).eval()
    x = images = torch.randn(1, 3, 48, 64)  # divisible by 16: nothing to crop
    reduced = []
    for stage, reduce in zip(network.encoder, network.reductions, strict=True):
        x = F.max_pool2d(stage(x), 2)
        reduced.append(reduce(x))
    y = reduced[3]
    for depth in range(3):
        y = network.norms[depth](network.decoder[depth](y)) + reduced[2 - depth]
    torch.testing.assert_close(network(images), network.decoder[3](y))


@torch.no_grad()
def test_bilinear_interpolation_has_no_learnt_decoder() -> None:
    """Away from the border, doubling four times is torch's interpolation of the scores."""
    network = FCNBasic(5, 4, addition=False, upsampling="bilinear")
    scores: list[Tensor] = []
    network.reductions[0].register_forward_hook(lambda _, __, output: scores.append(output))
    logits = network.eval()(torch.randn(1, 3, 48, 64))
    for _ in range(4):
        scores[0] = F.interpolate(scores[0], scale_factor=2, mode="bilinear")
    assert torch.equal(logits, scores[0])


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(4, 2, 1), (8, 2, 3), (16, 8, 4)])
def test_bilinear_start(kernel: int, stride: int, padding: int) -> None:
    """A fresh deconvolution is torch's bilinear upsampling in the interior, channel by channel."""
    deconvolution = nn.ConvTranspose2d(3, 3, kernel, stride=stride, padding=padding, bias=False)
    initialise_bilinear(deconvolution)
    x = torch.randn(1, 3, 9, 11)
    expected = F.interpolate(x, scale_factor=stride, mode="bilinear", align_corners=False)
    inside = (..., slice(2 * stride, -2 * stride), slice(2 * stride, -2 * stride))
    torch.testing.assert_close(deconvolution(x)[inside], expected[inside])


def test_he_initialisation() -> None:
    """Weights have variance 2 / fan-in, biases are 0, batch norm is the identity."""
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(32, 64, 7), nn.ConvTranspose2d(64, 32, 8, stride=2), nn.BatchNorm2d(32)
    )
    initialise(layers)
    assert layers[0].weight.std().item() == pytest.approx((2 / (32 * 49)) ** 0.5, rel=0.02)
    assert layers[1].weight.std().item() == pytest.approx((2 / (64 * 16)) ** 0.5, rel=0.02)
    assert not layers[0].bias.any()
    assert not layers[1].bias.any()
    assert layers[2].weight.eq(1).all()
