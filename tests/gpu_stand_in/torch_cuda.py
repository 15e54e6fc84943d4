"""What `torch.cuda` answers for the stand-in: one device, its events, streams and memory."""

import contextlib
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch._dynamo  # torch imports it late, and must not do so while it is deceived
from torch import Tensor
from torch.nn.utils import clip_grad
from torch.optim import optimizer

from gpu_stand_in.capture import Capture
from gpu_stand_in.tensors import CUDA, Gpu, GpuTensor, require_here, target

UUID = "8f3e2a10-0000-4000-8000-0000000000aa"
TOTAL_BYTES = 80 * 10**9
CLOCK_HZ = 2e9


def take_place_of_torch_cuda(patch: pytest.MonkeyPatch, gpu: Gpu) -> None:
    """Has torch find one device, until the patch is undone."""
    for name, value in _answers(gpu).items():
        patch.setattr(torch.cuda, name, value)
    # `set_device` itself stays, with its check of what it is given.
    patch.setattr(torch._C, "_cuda_setDevice", lambda index: require_here(torch.device(index)))
    patch.setattr(torch.accelerator, "is_available", lambda: True)
    patch.setattr(torch.accelerator, "current_accelerator", lambda *_, **__: CUDA)
    patch.setattr(torch.accelerator, "current_device_index", lambda: 0)
    patch.setattr(torch.accelerator, "current_stream", lambda *_: _Stream())
    patch.setattr(torch.accelerator, "set_device_index", lambda _: None)
    patch.setattr(torch, "autocast", _autocast(torch.autocast))
    patch.setattr(
        torch,
        "_has_compatible_shallow_copy_type",
        _movable(torch._has_compatible_shallow_copy_type),
    )
    patch.setattr(Tensor, "to", _to(gpu, Tensor.to), raising=False)
    patch.setattr(Tensor, "cuda", lambda tensor, *_, **how: tensor.to(CUDA, **how), raising=False)
    for maker in (torch.tensor, torch.as_tensor, torch.asarray):
        patch.setattr(torch, maker.__name__, _from_numbers(maker))
    patch.setattr(Tensor, "pin_memory", _pin_memory(gpu), raising=False)
    patch.setattr(Tensor, "is_pinned", lambda tensor, *_: gpu.is_pinned(tensor), raising=False)
    known = [*optimizer._foreach_supported_types, GpuTensor]  # else updates would go one by one
    patch.setattr(optimizer, "_foreach_supported_types", known)
    patch.setattr(clip_grad, "_group_tensors_by_device_and_dtype", _by_device_and_dtype)


def _by_device_and_dtype(lists: list[list[Tensor]]) -> dict[Any, Any]:
    """Groups tensors as clipping wants it; torch's own, in C++, sees where they lie."""
    (tensors,) = lists
    found: dict[Any, Any] = {}
    for number, tensor in enumerate(tensors):
        (group,), numbers = found.setdefault((tensor.device, tensor.dtype), ([[]], []))
        group.append(tensor)
        numbers.append(number)
    return found


def _answers(gpu: Gpu) -> dict[str, Any]:
    properties = SimpleNamespace(
        name="Stand-in GPU", uuid=UUID, total_memory=TOTAL_BYTES, multi_processor_count=1,
        major=9, minor=0,
    )  # fmt: skip

    def reset_peak(*_: Any) -> None:
        gpu.peak_bytes = gpu.allocated_bytes

    return {
        "CUDAGraph": _Graph,
        "Event": type("Event", (_Event,), {"gpu": gpu}),
        "Stream": _Stream,
        "_is_in_bad_fork": lambda: False,
        "_lazy_init": lambda: None,
        "_sleep": lambda cycles: time.sleep(cycles / CLOCK_HZ),
        "current_device": lambda: 0,
        "current_stream": lambda *_: _Stream(),
        "device_count": lambda: 1,
        "empty_cache": lambda: None,
        "graph": _capturing(gpu),
        "get_device_capability": lambda *_: (9, 0),
        "get_device_name": lambda *_: properties.name,
        "get_device_properties": lambda *_: properties,
        "is_available": lambda: True,
        "is_bf16_supported": lambda *_: True,
        "is_current_stream_capturing": lambda: False,
        "is_initialized": lambda: True,
        "manual_seed": lambda _: None,
        "manual_seed_all": lambda _: None,
        "max_memory_allocated": lambda *_: gpu.peak_bytes,
        "max_memory_reserved": lambda *_: gpu.peak_bytes,
        "mem_get_info": lambda *_: (TOTAL_BYTES - gpu.allocated_bytes, TOTAL_BYTES),
        "memory_allocated": lambda *_: gpu.allocated_bytes,
        "memory_reserved": lambda *_: gpu.allocated_bytes,
        "reset_peak_memory_stats": reset_peak,
        "stream": lambda _: contextlib.nullcontext(),
        "synchronize": lambda *_: gpu.wait("synchronize"),
    }


class _Event:
    """A moment in the stream, which is when it was recorded: the stand-in computes at once."""

    gpu: Gpu

    def __init__(self, **_: Any) -> None:
        self.time = 0.0

    def record(self, *_: Any) -> None:
        self.time = time.perf_counter()

    def query(self) -> bool:
        return True

    def wait(self, *_: Any) -> None:
        return

    def synchronize(self) -> None:
        self.gpu.wait("Event.synchronize")

    def elapsed_time(self, later: "_Event") -> float:
        return 1e3 * (later.time - self.time)


class _Graph:
    """A graph; nothing can be replayed before it is captured."""

    capture: Capture

    def replay(self) -> None:
        self.capture.replay()


def _capturing(gpu: Gpu) -> Any:
    @contextlib.contextmanager
    def graph(captured: _Graph) -> Iterator[None]:
        gpu.capture = captured.capture = Capture()
        yield
        gpu.capture = None
        captured.capture.undo()

    return graph


class _Stream:
    """The only stream."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.device = CUDA

    def is_capturing(self) -> bool:
        return False

    def wait_stream(self, _: "_Stream") -> None:
        return


def _autocast(torchs: Any) -> Any:
    """Returns autocast that, asked for CUDA, applies the CPU's rules to the CPU's kernels."""

    class Autocast(torchs):  # type: ignore[misc]
        def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
            super().__init__("cpu" if device_type == "cuda" else device_type, *args, **kwargs)

    return Autocast


def _to(gpu: Gpu, torchs: Any) -> Any:
    def to(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        device, dtype, non_blocking, layout, _ = target(*args, **kwargs)
        if device is None or device.type != "cuda" or isinstance(tensor, GpuTensor):
            moved: Tensor = torchs(tensor, *args, **kwargs)
            return moved
        require_here(device)
        return gpu.take(tensor, dtype, non_blocking, layout)

    return to


def _from_numbers(torchs: Any) -> Any:
    """Makes tensors of numbers of the host there, and then copies them."""

    def make(data: Any, *args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        if device is None or torch.device(device).type != "cuda":
            made: Tensor = torchs(data, *args, device=device, **kwargs)
            return made
        made = torchs(data, *args, **kwargs)
        return made.to(device)

    return make


def _movable(torchs: Any) -> Any:
    """Has a module that moves make new parameters: the old ones cannot become GPU tensors."""

    def same_kind(old: Tensor, new: Tensor) -> bool:
        return isinstance(old, GpuTensor) == isinstance(new, GpuTensor) and torchs(old, new)

    return same_kind


def _pin_memory(gpu: Gpu) -> Any:
    def pin_memory(tensor: Tensor, *_: Any) -> Tensor:
        if gpu.is_pinned(tensor):
            return tensor
        pinned = tensor.clone()
        storage = pinned.untyped_storage()
        gpu.pinned[storage._cdata] = storage
        return pinned

    return pin_memory
