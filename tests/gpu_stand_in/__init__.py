"""One CUDA device for tests, on a machine that has none.

    with one_gpu() as gpu:
        x = torch.zeros(3, device="cuda")       # computed on the CPU, and x.device is cuda:0
        x + torch.zeros(3)                      # RuntimeError, as on a GPU
        x.sum().item()
        assert gpu.waits[0].line == "tests/example.py:4"

Its tensors lie in the CPU's memory and CPU kernels compute them, so that a result equals the CPU's
bit for bit wherever the code does the same for both. What it holds the code to is what a GPU would:
tensors of two devices do not mix, operations without a deterministic CUDA kernel are refused in
deterministic mode, and everything that makes the host wait for the device is listed with the
source line that asked for it. It computes nothing as a GPU would and measures no time.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gpu_stand_in.tensors import CUDA, Gpu, GpuTensor, Placing, Wait
from gpu_stand_in.torch_cuda import UUID, take_place_of_torch_cuda

__all__ = ["CUDA", "UUID", "Gpu", "GpuTensor", "Wait", "one_gpu"]


@contextmanager
def one_gpu() -> Iterator[Gpu]:
    """Gives torch one CUDA device until the block is left."""
    gpu = Gpu()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GpuTensor, "gpu", gpu, raising=False)
        take_place_of_torch_cuda(patch, gpu)
        with Placing(gpu):
            yield gpu
