"""Pooling with two bits a window equals the native operators, and keeps nothing but the bits."""

from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from architectures import pooling
from architectures.pooling import PoolingIndices, max_pool, max_pool_values, max_unpool

# The form of unpooling for a CPU, and that for other devices, which a CPU can compute as well.
both_forms = pytest.mark.parametrize("addresses", [True, False])


def form(addresses: bool) -> AbstractContextManager[Any]:
    """The context in which unpooling and its gradient have that form."""

    def uses_addresses(_: Tensor) -> bool:
        return addresses

    return mock.patch.object(pooling, "_uses_addresses", uses_addresses)


# Few values, so that ties are the rule; the special ones in every combination.
VALUES = [-1.0, 0.0, -0.0, 1.0, 2.5, float("inf"), float("-inf"), float("nan")]


@st.composite
def maps(draw: st.DrawFn) -> Tensor:
    """Small maps of every parity, layout and floating type, full of ties and special values."""
    shape = [draw(st.integers(1, limit)) for limit in (3, 3, 9, 9)]
    choice = st.lists(st.sampled_from(VALUES), min_size=1, max_size=len(VALUES))
    values = torch.tensor(draw(choice))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    x = values[torch.randint(len(values), shape, generator=generator)]
    dtype = draw(st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]))
    layout = draw(st.sampled_from([torch.contiguous_format, torch.channels_last]))
    return x.to(dtype).contiguous(memory_format=layout)


def native_pool(x: Tensor) -> tuple[Tensor, Tensor]:
    """The maxima and their int64 indices."""
    pooled, index = F.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
    return pooled, index


def native_unpool(x: Tensor, index: Tensor, size: tuple[int, int]) -> Tensor:
    """By scatter; `max_unpool2d` itself takes no half precision everywhere."""
    large = torch.zeros(*x.shape[:2], size[0] * size[1], dtype=x.dtype)
    return large.scatter(2, index.flatten(2), x.flatten(2)).view(*x.shape[:2], *size)


def assert_same(left: Tensor, right: Tensor) -> None:
    """Equal, and of equal sign: -0.0 is not 0.0. A NaN equals a NaN."""
    torch.testing.assert_close(left, right, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(left.signbit() & ~left.isnan(), right.signbit() & ~right.isnan())


@both_forms
@settings(max_examples=200, deadline=None)
@given(x=maps())
def test_values(addresses: bool, x: Tensor) -> None:
    """Pooled and unpooled values equal the native ones, the sign of zeros included."""
    pooled, indices = max_pool(x)
    native, index = native_pool(x)
    assert_same(pooled, native)
    assert_same(max_pool_values(x), native)
    size = (x.shape[2], x.shape[3])
    assert indices.size == size
    other = torch.randn_like(pooled)
    with form(addresses):
        unpooled, other_unpooled = max_unpool(pooled, indices), max_unpool(other, indices)
    assert_same(unpooled, native_unpool(native, index, size))
    assert_same(other_unpooled, native_unpool(other, index, size))
    if x.dtype in (torch.float32, torch.float64):
        assert_same(other_unpooled, F.max_unpool2d(other, index, 2, 2, output_size=size))


@both_forms
@settings(max_examples=200, deadline=None)
@given(x=maps())
def test_gradients(addresses: bool, x: Tensor) -> None:
    """Gradients through pooling and unpooling equal the native ones."""
    ours, native = (x.clone().requires_grad_() for _ in range(2))
    pooled, indices = max_pool(ours)
    native_pooled, index = native_pool(native)
    native_unpooled = native_unpool(native_pooled * 2, index, indices.size)
    gradient = torch.randn_like(native_unpooled)
    with form(addresses):
        unpooled = max_unpool(pooled * 2, indices)
        ours_gradient, middle = torch.autograd.grad(unpooled, (ours, pooled), gradient)
    native_gradient, native_middle = torch.autograd.grad(
        native_unpooled, (native, native_pooled), gradient
    )
    assert torch.equal(middle, native_middle)
    assert torch.equal(ours_gradient, native_gradient)


@both_forms
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("width", [*range(254, 260), 513, 1025])
def test_wide_maps(addresses: bool, layout: torch.memory_format, width: int) -> None:
    """Rows longer than a byte can count, in several images."""
    x = torch.randn(3, 2, 5, width).contiguous(memory_format=layout)
    with form(addresses):
        unpooled = max_unpool(*max_pool(x))
    native, index = native_pool(x)
    assert torch.equal(unpooled, native_unpool(native, index, (5, width)))


def test_byte() -> None:
    """A byte holds four windows."""
    x = torch.zeros(1, 1, 2, 8)
    x[0, 0, [0, 0, 1, 1], [0, 3, 4, 7]] = 1.0  # codes 0, 1, 2, 3, the first in the lowest bits
    _, indices = max_pool(x)
    assert indices.bits.tolist() == [0b11_10_01_00]
    assert indices.bits.dtype == torch.uint8


def test_ties() -> None:
    """The first maximum of a tie wins, and the last NaN."""
    tie = torch.tensor([[3.0, 3.0], [3.0, 3.0]])
    nan = torch.tensor([[float("nan"), 3.0], [float("nan"), 4.0]])
    infinite = torch.full((2, 2), float("-inf"))
    _, indices = max_pool(torch.cat((tie, nan, infinite), dim=1)[None, None])
    assert [indices.bits.item() >> shift & 3 for shift in (0, 2, 4)] == [0, 2, 0]


@pytest.mark.parametrize("size", [(45, 60), (23, 30), (7, 5)])
def test_retained_bytes(size: tuple[int, int]) -> None:
    """Between forward and backward, autograd keeps two bits a window and nothing else."""
    kept: dict[int, Tensor] = {}

    def remember(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor
        return tensor

    x = torch.randn(2, 3, *size, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        pooled, indices = max_pool(x)
        max_unpool(pooled, indices).sum().backward()
    assert [tensor.dtype for tensor in kept.values()] == [torch.uint8]
    windows = 2 * 3 * ((size[0] + 1) // 2) * ((size[1] + 1) // 2)
    assert sum(tensor.nbytes for tensor in kept.values()) == (windows + 3) // 4


def test_finite_differences() -> None:
    """First and second derivatives agree with finite differences."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randperm(2 * 5 * 7, generator=generator).double()  # no ties: differentiable
    x = values.view(1, 2, 5, 7).requires_grad_()

    def function(x: Tensor) -> Tensor:
        pooled, indices = max_pool(x)
        return max_unpool(pooled * pooled, indices)

    assert torch.autograd.gradcheck(function, x)
    assert torch.autograd.gradgradcheck(function, x)


@both_forms
def test_deterministic_algorithms(addresses: bool) -> None:
    """Deterministic algorithms suffice, where the native unpooling refuses."""
    x = torch.randn(1, 2, 5, 6, requires_grad=True)
    torch.use_deterministic_algorithms(True)
    with form(addresses):
        max_unpool(*max_pool(x)).sum().backward()
    with pytest.raises(RuntimeError, match="deterministic"):
        F.max_unpool2d(*native_pool(x), 2, 2, output_size=(5, 6))
    assert x.grad is not None


def test_autocast() -> None:
    """Under autocast the bfloat16 output of a convolution is pooled as it is."""
    convolution = torch.nn.Conv2d(3, 4, 3, padding=1)
    x = torch.randn(2, 3, 9, 10)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = convolution(x)
        pooled, indices = max_pool(features)
        unpooled = max_unpool(pooled, indices)
    assert pooled.dtype == unpooled.dtype == torch.bfloat16
    native, index = native_pool(features)
    assert_same(unpooled, native_unpool(native, index, (9, 10)))
    unpooled.float().sum().backward()
    assert convolution.weight.grad is not None


def test_fake_tensors() -> None:
    """Shapes, bytes and gradients are known without data."""
    with FakeTensorMode():
        x = torch.randn(2, 64, 45, 60, requires_grad=True)
        pooled, indices = max_pool(x)
        unpooled = max_unpool(pooled, indices)
        unpooled.sum().backward()
        assert pooled.shape == (2, 64, 23, 30)
        assert indices.bits.nbytes == 2 * 64 * 23 * 30 // 4
        assert x.grad is not None
        assert unpooled.shape == x.grad.shape == x.shape


@both_forms
def test_channels_last(addresses: bool) -> None:
    """A channels-last map stays in its layout, and layouts may mix."""
    x = torch.randn(2, 3, 6, 8).contiguous(memory_format=torch.channels_last)
    pooled, indices = max_pool(x)
    with form(addresses):
        unpooled = max_unpool(pooled, indices)
        mixed = max_unpool(pooled.contiguous(), indices)
    assert unpooled.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(mixed, unpooled)


def test_values_alone() -> None:
    """Without use for the indices, the backward pass still gets along with two bits."""
    kept: list[Tensor] = []
    x = torch.randn(1, 4, 9, 9, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        max_pool_values(x)
    assert [tensor.dtype for tensor in kept] == [torch.uint8]


@pytest.mark.parametrize("shape", [(1, 2, 3, 4), (1, 3, 3, 3), (2, 2, 3, 3)])
def test_foreign_indices(shape: tuple[int, ...]) -> None:
    """A map of a shape other than that of the indices is refused."""
    _, indices = max_pool(torch.randn(1, 2, 6, 6))
    with pytest.raises(ValueError, match=r"6x6 pixels pooled to 3x3 windows"):
        max_unpool(torch.randn(shape), indices)


@both_forms
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled(backend: str, addresses: bool) -> None:
    """Compiling makes one graph of it, which equals eager mode."""

    def step(x: Tensor) -> tuple[Tensor, Tensor]:
        pooled, indices = max_pool(x)
        return pooled, max_unpool(pooled.exp(), indices)

    x = torch.randn(2, 3, 9, 301).round()
    gradients: list[Any] = []
    outputs: list[Any] = []
    torch.compiler.reset()  # or the other form would be remembered
    for function in (step, torch.compile(step, backend=backend, fullgraph=True)):
        leaf = x.clone().requires_grad_()
        with form(addresses):
            outputs.append(function(leaf))
            outputs[-1][1].square().sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(outputs[1], outputs[0])
    torch.testing.assert_close(gradients[1], gradients[0])


@pytest.mark.gpu
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gpu(layout: torch.memory_format, dtype: torch.dtype) -> None:
    """A GPU gives what the CPU gives."""
    x = torch.randn(2, 8, 45, 61).round().to(dtype).contiguous(memory_format=layout)
    results: list[tuple[Tensor, PoolingIndices, Tensor]] = []
    for device in ("cpu", "cuda"):
        leaf = x.to(device).requires_grad_()
        pooled, indices = max_pool(leaf)
        unpooled = max_unpool(pooled * 2, indices)
        (gradient,) = torch.autograd.grad(unpooled, leaf, unpooled.detach())
        results.append((unpooled, indices, gradient))
    (cpu, cpu_indices, cpu_gradient), (gpu, gpu_indices, gpu_gradient) = results
    assert torch.equal(gpu.cpu(), cpu)
    assert torch.equal(gpu_indices.bits.cpu(), cpu_indices.bits)
    assert torch.equal(gpu_gradient.cpu(), cpu_gradient)
