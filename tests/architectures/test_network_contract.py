"""What the harness relies on, for every network of conf/arch."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hydra.errors import InstantiationException
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

Build = Callable[..., nn.Module]

ODD = (75, 101)  # no multiple of anything
CLASSES = 5
OF_TORCHVISION = ("deeplabv3_", "fcn_resnet", "lraspp_")
OUTSIDE = (*OF_TORCHVISION, "smp_", "segformer")


def small(build: Build, arch: str, dropout: float = 0.5) -> nn.Module:
    """The network, narrow, always with the same weights."""
    torch.manual_seed(0)
    return build(arch, CLASSES, small=True, image_size=ODD, dropout=dropout)


def training_loss(network: nn.Module, images: Tensor) -> Tensor:
    """Cross-entropy with some labels, at the resolution of the logits."""
    logits = network(images)
    labels = torch.arange(logits[:, 0].numel(), device=images.device).view(logits[:, 0].shape)
    return F.cross_entropy(logits, labels % CLASSES)


@torch.no_grad()
def test_evaluation(build: Build, arch: str) -> None:
    """Logits have the input size, and do not depend on the other images of a batch."""
    network = small(build, arch, dropout=0.0).eval()
    images = torch.randn(2, 3, *ODD)
    logits = network(images)
    assert logits.shape == (2, CLASSES, *ODD)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
    torch.testing.assert_close(network(images[:1]), logits[:1], rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_bands(build: Build, arch: str) -> None:
    """Images may have another number of bands, but for torchvision's networks; 3 is the default."""
    arguments = {"small": True, "image_size": ODD, "dropout": 0.0}
    if arch.startswith(OF_TORCHVISION):
        with pytest.raises(InstantiationException, match="in_channels"):
            build(arch, CLASSES, in_channels=5, **arguments)
        return
    logits = build(arch, CLASSES, in_channels=5, **arguments).eval()(torch.randn(1, 5, *ODD))
    assert logits.shape == (1, CLASSES, *ODD)
    torch.manual_seed(0)
    given = build(arch, CLASSES, in_channels=3, **arguments).state_dict()
    torch.manual_seed(0)
    default = build(arch, CLASSES, **arguments).state_dict()
    assert all(torch.equal(given[name], tensor) for name, tensor in default.items())


def test_gradients_reach_all(build: Build, arch: str) -> None:
    """Every trainable parameter gets a gradient, in deterministic mode."""
    network = small(build, arch)
    torch.use_deterministic_algorithms(True)
    loss = training_loss(network, torch.randn(2, 3, *ODD))
    loss.backward()
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            if parameter.ndim > 1 and not arch.startswith(OUTSIDE):  # those may start branches at 0
                assert parameter.grad.any(), name


def test_seed(build: Build, arch: str) -> None:
    """The same seed gives the same weights, the next draw others."""
    torch.manual_seed(0)
    first, second = (build(arch, CLASSES, small=True) for _ in range(2))
    torch.manual_seed(0)
    again = build(arch, CLASSES, small=True)
    first_values, second_values, again_values = (
        torch.cat([parameter.flatten() for parameter in network.parameters()])
        for network in (first, second, again)
    )
    assert torch.equal(first_values, again_values)
    assert not torch.equal(first_values, second_values)


def test_meta_device(build: Build, arch: str) -> None:
    """On the meta device the parameters have the same names and shapes."""
    with torch.device("meta"):
        outline = small(build, arch)
    real = small(build, arch)
    assert [(name, p.shape) for name, p in outline.named_parameters()] == [
        (name, p.shape) for name, p in real.named_parameters()
    ]
    assert all(parameter.is_meta for parameter in outline.parameters())


def test_fake_tensors(build: Build, arch: str) -> None:
    """A training step and an evaluation can be traced without data."""
    with FakeTensorMode():
        network = small(build, arch)
        images = torch.randn(2, 3, *ODD)
        training_loss(network, images).backward()
        assert network.eval()(images).shape == (2, CLASSES, *ODD)


def test_bfloat16(build: Build, arch: str) -> None:
    """Training in bfloat16 and channels-last gives finite gradients."""
    network = small(build, arch).to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, *ODD).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = training_loss(network, images)
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_too_few_classes(build: Build, arch: str) -> None:
    """Fewer than two classes are refused."""
    with pytest.raises(InstantiationException, match="num_classes=1"):
        build(arch, 1, small=True)


def test_no_width(build: Build, arch: str) -> None:
    """A width below one is refused."""
    if arch.startswith(OUTSIDE):
        pytest.skip("a network from outside, which has its own width")
    with pytest.raises(InstantiationException, match="width=0"):
        build(arch, CLASSES, width=0)
