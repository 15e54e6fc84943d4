"""The Triton kernels of pooling, interpreted on the CPU, equal the form for a CPU bit by bit."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from test_pooling import assert_same, maps
from torch import Tensor

from architectures import pooling
from architectures.pooling import PoolingIndices, max_pool, max_unpool

kernels = pytest.importorskip("architectures.pooling_kernels")
if not kernels.triton.knobs.runtime.interpret:
    pytest.skip("Triton compiles here, for a real GPU", allow_module_level=True)


def everything(x: Tensor, by_kernels: bool) -> list[Tensor]:
    """Maxima, codes, unpooled map, and the gradients of first and second order."""

    def kernels_for(_: Tensor) -> Any:
        return kernels if by_kernels else None

    leaf = x.clone().requires_grad_()
    with mock.patch.object(pooling, "_kernels_for", kernels_for):
        pooled, indices = max_pool(leaf)
        factor = torch.linspace(-1, 2, pooled.numel()).to(x.dtype).view_as(pooled).requires_grad_()
        unpooled = max_unpool(pooled * factor, indices)
        weights = torch.linspace(3, -2, x.numel()).to(x.dtype).view_as(x).requires_grad_()
        first = torch.autograd.grad(unpooled, (leaf, factor), weights, create_graph=True)
        second = torch.autograd.grad(first[1].sum(), (leaf, weights))
    assert isinstance(indices, PoolingIndices)
    return [pooled, indices.bits, unpooled, *first, *second]


@settings(max_examples=30, deadline=None)
@given(x=maps())
def test_values_codes_and_gradients(x: Tensor) -> None:
    """Ties, NaN, infinities, signs of zeros, odd sizes, both layouts, every floating type."""
    for ours, expected in zip(everything(x, True), everything(x, False), strict=True):
        if ours.is_floating_point():
            assert_same(ours.detach(), expected.detach())
            assert ours.stride() == expected.stride()
        else:
            assert torch.equal(ours, expected)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_several_programs(dtype: torch.dtype, layout: torch.memory_format) -> None:
    """More windows than one program has, which do not fill the last byte of the last one."""
    x = torch.randn(3, 5, 45, 61).round().to(dtype).contiguous(memory_format=layout)
    assert x.numel() / 16 > 2 * kernels.BYTES
    for ours, expected in zip(everything(x, True), everything(x, False), strict=True):
        assert torch.equal(ours, expected)


def test_layouts_mix() -> None:
    """Codes of one layout and a map of the other."""
    x = torch.randn(2, 3, 6, 7).contiguous(memory_format=torch.channels_last)
    pooled, indices = max_pool(x)
    with mock.patch.object(pooling, "_kernels_for", return_value=kernels):
        small = pooled.contiguous().requires_grad_()
        unpooled = max_unpool(small, indices)
        (gradient,) = torch.autograd.grad(unpooled, small, x.contiguous())
    assert torch.equal(unpooled, max_unpool(pooled, indices))
    assert torch.equal(gradient, pooled)


def test_an_empty_map() -> None:
    """No launch of no program."""
    with mock.patch.object(pooling, "_kernels_for", return_value=kernels):
        pooled, indices = max_pool(torch.zeros(0, 3, 4, 4))
        assert max_unpool(pooled, indices).shape == (0, 3, 4, 4)


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from architectures import pooling_kernels as kernels

for capability, width, kind in ((80, "*i32", "float32"), (90, "*i16", "bfloat16")):
    for kernel in (kernels._pool, kernels._place, kernels._pick):
        given = {"block": kernels.BYTES, "kind": getattr(kernels.tl, kind)}
        constants = {name: given[name] for name in kernel.arg_names if name in given}
        types = {name: "i32" for name in kernel.arg_names}
        types |= {name: width for name in ("x", "pooled", "large") if name in types}
        types |= {"bits": "*u8"} | dict.fromkeys(constants, "constexpr")
        source = ASTSource(kernel, types, constexprs=constants)
        assert triton.compile(source, target=GPUTarget("cuda", capability, 32)).asm["cubin"]
"""


@pytest.mark.slow
def test_the_kernels_compile_for_a_gpu(tmp_path: Path) -> None:
    """Down to machine code, for which no GPU is needed; interpreted, more would be allowed."""
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], capture_output=True, text=True, check=False,
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
