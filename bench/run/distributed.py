"""One run by several processes: who is who, sums over all, batch norm over the global batch.

Losses, gradients and batch statistics are sums over the global batch, divided once, so that a
result does not depend on how many processes share the work. Alone, every function here is a no-op.
"""

import copy
import itertools
import json
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.launch.processes import MEETING
from bench.seeds import derive_seed

T = TypeVar("T")


def join(minutes: float) -> None:
    """Joins the processes that the environment names, as `python -m bench` and torchrun set it.

    Decisions travel between CPUs (gloo), tensors of a GPU between GPUs (nccl).

    Args:
        minutes: how long one process may keep the others waiting.
    """
    if size() > 1 and not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        patience, meeting = timedelta(minutes=minutes), os.environ.get(MEETING)
        # torch's own meeting point would listen to the whole network. torchrun brings its own.
        store = None if meeting is None else dist.FileStore(meeting, size())  # type: ignore[attr-defined]
        dist.init_process_group(
            backend, timeout=patience, store=store, rank=rank(), world_size=size()
        )


def local_rank() -> int:
    """Returns the number of this process on its machine, which is that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def local_size() -> int:
    """Returns how many processes of the run share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def rank() -> int:
    """Returns the number of this process; 0 writes the record."""
    return int(os.environ.get("RANK", "0"))


def size() -> int:
    """Returns how many processes share the run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Says whether this process writes the record."""
    return rank() == 0


def share(values: NDArray[Any]) -> NDArray[Any]:
    """Returns the part of a batch that this process computes; 5 over 2 are 3 and 2."""
    return np.array_split(values, size())[rank()]


def total(value: Tensor) -> Tensor:
    """Sums a tensor over the processes, in place and without a gradient."""
    if size() > 1:
        dist.all_reduce(value)
    return value


def own_seed(seed: int, purpose: str, number: int) -> int:
    """Derives a seed of this process's own, so that no two draw the same dropout."""
    return derive_seed(seed, purpose if is_first() else f"{purpose} of process {rank()}", number)


def largest(values: list[float]) -> list[float]:
    """Returns the largest of each value over the processes, so that all decide alike."""
    if size() == 1:
        return values
    tensor = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(tensor, dist.ReduceOp.MAX)
    maxima: list[float] = tensor.tolist()
    return maxima


def agreed(value: T) -> T:
    """Returns the first process's value: what it read from the disk decides for all.

    Args:
        value: what JSON can say; torch's own way would have the others unpickle what comes.
    """
    if size() == 1:
        return value
    text = torch.tensor(list(json.dumps(value).encode()), dtype=torch.uint8)
    length = torch.tensor([len(text)])
    dist.broadcast(length, 0)
    text = text if is_first() else torch.empty(int(length), dtype=torch.uint8)
    dist.broadcast(text, 0)
    first: T = json.loads(bytes(text.tolist()))
    return first


def wait_for_all() -> None:
    """Returns when every process has come here."""
    if size() > 1:
        dist.barrier()


def first_alone(work: Callable[[], T]) -> T:
    """Does something that leaves files behind in the first process, then in the others."""
    if is_first():
        done = work()
        wait_for_all()
        return done
    wait_for_all()
    return work()


def training_model(network: nn.Module, device: torch.device, *, compiled: bool) -> nn.Module:
    """Returns what is called in training: the network itself, or a twin that shares its tensors.

    The twin normalises over the global batch and sums its gradients over the processes; the network
    stays as it is for checkpoints and evaluation.
    """
    if not compiled and size() == 1:
        return network
    tensors = itertools.chain(network.parameters(), network.buffers())
    model = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})
    if size() > 1:
        model = _with_global_batch_norm(model)
    if compiled:
        model.compile()
    if size() > 1:
        places = [device] if device.type == "cuda" else None
        # Gradients lie in the buckets in which they travel, instead of once more beside them.
        model = nn.parallel.DistributedDataParallel(model, places, gradient_as_bucket_view=True)
        # Running statistics are those of the global batch everywhere. As an argument this is called
        # forward_sync_buffers from torch 2.14 on and unknown before; the attribute is in both.
        model.broadcast_buffers = False
    return model


def _with_global_batch_norm(model: nn.Module) -> nn.Module:
    if isinstance(model, _BatchNorm):
        return GlobalBatchNorm(model)
    for name, child in model.named_children():
        setattr(model, name, _with_global_batch_norm(child))
    return model


class GlobalBatchNorm(nn.Module):
    """Batch norm over the global batch, on CPUs and GPUs alike.

    As torch's SyncBatchNorm, but it computes on a CPU too, never makes the host wait for a GPU, and
    shares the parameters and running statistics of the layer it stands for.
    """

    def __init__(self, layer: _BatchNorm) -> None:
        super().__init__()
        self.layer = layer

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # sums over processes are not traced
    def forward(self, x: Tensor) -> Tensor:
        """Normalises (N, C, ...), over all processes in training mode."""
        layer = self.layer
        if not layer.training:
            out: Tensor = layer(x)
            return out
        mean, variance, count = _global_statistics(x)
        if layer.running_mean is not None and layer.running_var is not None:
            self._follow(mean, variance * count / (count - 1))
        normalised: Tensor = _Normalisation.apply(
            x, layer.weight, layer.bias, mean, variance, count, layer.eps
        )
        return normalised

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Moves the running statistics as torch's batch norm does; momentum None averages."""
        layer = self.layer
        assert layer.running_mean is not None
        assert layer.running_var is not None
        assert layer.num_batches_tracked is not None
        layer.num_batches_tracked.add_(1)
        if layer.momentum is None:
            momentum = 1 / layer.num_batches_tracked.float()  # stays on the device
        else:
            momentum = torch.full_like(mean, layer.momentum)
        layer.running_mean.lerp_(mean, momentum)
        layer.running_var.lerp_(variance, momentum)


@torch.no_grad()
def _global_statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns mean (C,), biased variance (C,) and number of samples of all processes, in float32.

    Each process contributes its own mean and variance instead of sums of squares, which would lose
    the variance of channels far from 0.
    """
    channels = x.shape[1]
    unused = torch.zeros(2, channels, device=x.device)  # running statistics; they set the precision
    mean, variance = torch.batch_norm_update_stats(x, unused[0], unused[1], 0.0)
    samples = mean.new_full((1,), x.numel() // channels)
    rows = mean.new_zeros(size(), 2 * channels + 1)
    rows[rank()] = torch.cat([mean, variance, samples])
    rows = total(rows)
    means, variances, counts = rows[:, :channels], rows[:, channels:-1], rows[:, -1:]
    count = counts.sum()
    mean = (counts * means).sum(0) / count
    variance = (counts * (variances + (means - mean).square())).sum(0) / count
    return mean, variance, count


class _Normalisation(torch.autograd.Function):
    """Batch norm by statistics over all processes, through which gradients flow too."""

    @staticmethod
    def forward(  # noqa: PLR0917 - torch gives them by position
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: Tensor,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, variance, count)
        ctx.eps = eps
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Takes the gradient of this process's own means, then adds what the others' change."""
        x, weight, mean, variance, count = ctx.saved_tensors
        inverse = torch.rsqrt(variance + ctx.eps)
        for_x, for_weight, for_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, None, None, mean, inverse, True, ctx.eps, [True, True, True]
        )
        own = torch.cat([for_weight, for_bias])
        means = own * (x.shape[1] / x.numel()) - total(own.clone()) / count
        scale, shift = means.view(2, -1) * (inverse if weight is None else weight * inverse)
        for_x = for_x + F.batch_norm(x, mean, variance, scale, shift, training=False, eps=ctx.eps)
        affine = weight is not None
        return for_x, for_weight if affine else None, for_bias if affine else None, *[None] * 4
