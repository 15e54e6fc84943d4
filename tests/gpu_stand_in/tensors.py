"""Tensors that say they are on `cuda:0`, and what a GPU would refuse or wait for."""

import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from gpu_stand_in.capture import Capture

CUDA = torch.device("cuda", 0)
ROOT = Path(__file__).parents[2]
aten = torch.ops.aten

# How many elements a result has, or what a number is, is known on the device alone.
ASKING = {
    aten._local_scalar_dense, aten.bincount, aten.equal, aten.is_nonzero, aten.masked_select,
    aten.nonzero, aten._unique, aten._unique2, aten.unique_consecutive, aten.unique_dim,
    aten.unique_dim_consecutive,
}  # fmt: skip
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
# torch refuses these on CUDA tensors while deterministic algorithms are demanded.
NOT_DETERMINISTIC = {
    aten._adaptive_avg_pool2d_backward, aten.adaptive_max_pool2d_backward,
    aten.grid_sampler_2d_backward, aten.histc, aten.max_unpool2d, aten.put_,
    aten.reflection_pad2d_backward, aten.replication_pad2d_backward,
    aten.upsample_bicubic2d_backward, aten.upsample_bilinear2d_backward,
}  # fmt: skip


class Wait(NamedTuple):
    """The host waited for the device: where in the sources, in which function, and for what."""

    line: str
    function: str
    what: str


class GpuTensor(Tensor):
    """A CPU tensor that says it is on `cuda:0`; its operations and gradients are such tensors."""

    gpu: "Gpu"  # set while there is one
    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        cls.gpu.check(func, args, kwargs or {})
        if cls.gpu.capture is not None:
            cls.gpu.capture.remember(args, kwargs)
        with torch._C._DisableTorchDispatch():
            result = func(*args, **(kwargs or {}))
            if func is aten.copy_.default and not isinstance(args[0], GpuTensor):
                return result
            return cls.gpu.noted(
                func, args, kwargs or {}, tree_map_only(Tensor, cls.gpu.put, result)
            )

    @property
    def device(self) -> torch.device:
        return CUDA

    @property
    def is_cuda(self) -> bool:
        return True

    @property
    def is_cpu(self) -> bool:
        return False

    def get_device(self) -> int:
        return 0

    def cpu(self, *_: Any) -> Tensor:
        return self.to("cpu")

    def cuda(self, *_: Any, **__: Any) -> Tensor:
        return self

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        device, dtype, non_blocking, layout, copy = target(*args, **kwargs)
        if device is not None and device.type == "cpu":
            if not non_blocking:
                self.gpu.wait("copy to the host")
            return plain(self).to(dtype=dtype, copy=True)
        if device is not None and device.type == "cuda":
            require_here(device)
        elif device is not None:
            return plain(self).to(device, dtype)
        how = {} if layout is None else {"memory_format": layout}
        return super().to(dtype or self.dtype, copy=copy, **how)

    def new_tensor(self, data: Any, **how: Any) -> Tensor:
        return torch.tensor(data, **{"dtype": self.dtype, "device": CUDA, **how})

    def tolist(self) -> Any:
        self.gpu.wait("tolist")
        return plain(self).tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError(
            "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the "
            "tensor to host memory first."
        )

    def __array__(self, *_: Any) -> Any:
        return self.numpy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) not in memo:
            twin = self.gpu.put(plain(self).clone()).requires_grad_(self.requires_grad)
            twin.__dict__.update(self.__dict__)  # whether it is a parameter
            memo[id(self)] = twin
        copied: Tensor = memo[id(self)]
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        self.gpu.wait("pickling")
        return plain(self).__reduce_ex__(protocol)


class Gpu:
    """The device: what the host waited for, and the bytes of its tensors.

    Attributes:
        waits: in order.
        allocated_bytes: of all tensors that live; `peak_bytes` is the most there were.
        pinned: storages of host memory that is pinned, held so that no address is used twice.
    """

    def __init__(self) -> None:
        self.waits: list[Wait] = []
        self.allocated_bytes = self.peak_bytes = 0
        self.pinned: dict[int, Any] = {}
        self.capture: Capture | None = None  # under way
        self._users: dict[int, int] = {}  # storage -> tensors

    def put(self, tensor: Tensor) -> Tensor:
        """Returns a tensor of the device with the memory of this one."""
        if isinstance(tensor, GpuTensor):
            return tensor
        with torch._C._DisableTorchDispatch():
            made = Tensor._make_subclass(GpuTensor, tensor)
            self._count(made)
        return made

    def wait(self, what: str) -> None:
        """Writes down that the host waits."""
        if self.capture is not None:
            raise RuntimeError(f"operation not permitted when stream is capturing: {what}")
        frame = sys._getframe(1)
        here = str(Path(__file__).parent)
        inside = [str(ROOT / name) for name in ("architectures", "bench", "tests")]
        while frame.f_back is not None:
            path = frame.f_code.co_filename
            if path.startswith(tuple(inside)) and not path.startswith(here):
                break
            frame = frame.f_back
        path = frame.f_code.co_filename.removeprefix(f"{ROOT}/")
        self.waits.append(Wait(f"{path}:{frame.f_lineno}", frame.f_code.co_name, what))

    def noted(self, func: Any, args: Any, kwargs: dict[str, Any], result: Any) -> Any:
        """Returns a result; of an operation under capture, the graph gets to know."""
        if self.capture is not None:
            self.capture.operations.append((func, args, kwargs, result))
        return result

    def is_pinned(self, tensor: Tensor) -> bool:
        """Says whether a tensor of the host lies in pinned memory."""
        return tensor.untyped_storage()._cdata in self.pinned

    def take(self, tensor: Tensor, dtype: Any, non_blocking: bool, layout: Any) -> Tensor:
        """Copies a tensor of the host to the device."""
        assert tensor.is_leaf or not torch.is_grad_enabled(), "a gradient would have to go back"
        if not (non_blocking and self.is_pinned(tensor)):
            self.wait("copy from the host")
        how = {} if layout is None else {"memory_format": layout}
        copied = tensor.detach().to(dtype=dtype or tensor.dtype, copy=True, **how)
        return self.put(copied).requires_grad_(tensor.requires_grad)

    def check(self, func: Any, args: Any, kwargs: dict[str, Any]) -> None:
        """Refuses what a GPU refuses, and writes down what the host waits for."""
        operation = func.overloadpacket
        if operation is aten.copy_:
            self._check_copy(*args, **kwargs)
            return
        strangers = [t for t in _tensors(args, kwargs) if not isinstance(t, GpuTensor)]
        if operation in INDEXING:
            self._check_indexing(operation, *args, **kwargs)
            strangers = [t for t in (args[0], *args[2:3]) if not isinstance(t, GpuTensor)]
        written = operation.__name__.endswith("_") and strangers and args[0] is strangers[0]
        if written or any(t.dim() > 0 for t in strangers):
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"cuda:0 and {strangers[0].device}! ({func})"
            )
        if operation in ASKING or _sums_repeats(func, kwargs):
            self.wait(operation.__name__)
        _check_determinism(operation, args)

    def _check_copy(self, to: Tensor, source: Tensor, non_blocking: bool = False) -> None:
        here = [isinstance(tensor, GpuTensor) for tensor in (to, source)]
        pinned = [on_gpu or self.is_pinned(t) for on_gpu, t in zip(here, (to, source), strict=True)]
        if not all(here) and not (non_blocking and all(pinned)):
            self.wait("copy between host and device")

    def _check_indexing(
        self, operation: Any, _: Tensor, indices: Any, values: Any = None, *more: Any
    ) -> None:
        given = [index for index in indices if index is not None]
        if any(not isinstance(index, GpuTensor) for index in given):
            self.wait("index copied from the host")
        masks = [index for index in given if index.dtype in (torch.bool, torch.uint8)]
        fills = operation is not aten.index and values.numel() == 1  # a masked_fill
        if masks and not fills:
            self.wait("boolean index")

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._users:
            self.allocated_bytes += size
            self.peak_bytes = max(self.peak_bytes, self.allocated_bytes)
        self._users[key] = self._users.get(key, 0) + 1
        weakref.finalize(tensor, self._release, key, size).atexit = False

    def _release(self, key: int, size: int) -> None:
        self._users[key] -= 1
        if not self._users[key]:
            del self._users[key]
            self.allocated_bytes -= size


class Placing(TorchDispatchMode):
    """Gives the device to what makes tensors there."""

    def __init__(self, gpu: Gpu) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        device = kwargs.get("device")
        if device is None or device.type != "cuda":
            return func(*args, **kwargs)
        require_here(device)
        kwargs = {**kwargs, "device": torch.device("cpu")}
        return self.gpu.noted(func, args, kwargs, self.gpu.put(func(*args, **kwargs)))


def plain(tensor: Tensor) -> Tensor:
    """Returns the tensor of the host that shares the memory of one of the device."""
    with torch._C._DisableTorchDispatch():
        return tensor.detach()


def target(*args: Any, copy: bool = False, **kwargs: Any) -> tuple[Any, Any, bool, Any, bool]:
    """Reads the arguments of `Tensor.to`: device, dtype, non_blocking, memory format, copy."""
    if args and isinstance(args[0], Tensor):
        return args[0].device, args[0].dtype, False, None, copy
    return *torch._C._nn._parse_to(*args, **kwargs), copy


def require_here(device: torch.device) -> None:
    """Refuses a second GPU."""
    if device.index not in (None, 0):
        raise RuntimeError("CUDA error: invalid device ordinal")


def _tensors(*tree: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def _sums_repeats(func: Any, kwargs: dict[str, Any]) -> bool:
    """Says whether the length of a result is the sum of a tensor, which nobody gave."""
    return func is aten.repeat_interleave.Tensor and kwargs.get("output_size") is None


def _check_determinism(operation: Any, args: Any) -> None:
    if not torch.are_deterministic_algorithms_enabled():
        return
    sums = operation is aten.nll_loss2d_forward and args[3] != 0  # of atomic additions
    weighted = operation is aten.bincount and len(args) > 1 and args[1] is not None
    if sums or weighted or operation in NOT_DETERMINISTIC:
        raise RuntimeError(f"{operation.__name__} does not have a deterministic implementation")
