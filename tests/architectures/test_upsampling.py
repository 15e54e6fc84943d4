"""Upsampling by 2: torch's values, and a gradient that equals torch's without its atomics."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from architectures.upsampling import BilinearDouble, _Double

SIZES = [(1, 1), (1, 5), (4, 3), (45, 60)]


def double(x: Tensor) -> Tensor:
    doubled: Tensor = _Double.apply(x, BilinearDouble().stencil)
    return doubled


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradient(size: tuple[int, int], layout: torch.memory_format) -> None:
    ours = torch.randn(2, 3, *size).contiguous(memory_format=layout).requires_grad_()
    torchs = ours.detach().clone().requires_grad_()
    doubled, expected = double(ours), F.interpolate(torchs, scale_factor=2.0, mode="bilinear")
    assert torch.equal(doubled, expected)
    gradient = torch.randn_like(doubled)
    doubled.backward(gradient)
    expected.backward(gradient)
    torch.testing.assert_close(ours.grad, torchs.grad, rtol=1e-5, atol=1e-6)


def test_by_hand() -> None:
    """A gradient of 1 at one pixel of the large map reaches the values it was made of."""
    x = torch.zeros(1, 1, 2, 3, requires_grad=True)
    gradient = torch.zeros(1, 1, 4, 6)
    gradient[0, 0, 0, 1] = 16.0  # the first row; 3/4 of column 0 and 1/4 of column 1
    double(x).backward(gradient)
    assert x.grad is not None
    assert x.grad[0, 0].tolist() == [[12, 4, 0], [0, 0, 0]]


def test_finite_differences() -> None:
    """First and second derivatives."""
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(double, x)
    assert torch.autograd.gradgradcheck(double, x)


def test_nothing_is_saved_with_a_network() -> None:
    assert not BilinearDouble().state_dict()


@pytest.mark.gpu
def test_gpu() -> None:
    """Deterministic, and the CPU's gradient but for rounding."""
    torch.use_deterministic_algorithms(True)
    x = torch.randn(2, 11, 45, 60)
    gradient, module = torch.randn(2, 11, 90, 120), BilinearDouble()
    found = []
    for device in ("cpu", "cuda", "cuda"):
        leaf = x.to(device).requires_grad_()
        module.to(device)(leaf).backward(gradient.to(device))
        assert leaf.grad is not None
        found.append(leaf.grad.cpu())
    assert torch.equal(found[1], found[2])
    torch.testing.assert_close(found[1], found[0])
