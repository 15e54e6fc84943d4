"""A training iteration on a GPU: milliseconds, launches, host waits, and fraction of the roofline.

    python tests/benchmarks/gpu_step.py
    python tests/benchmarks/gpu_step.py --only segnet_basic --precisions bf16 --iterations 100

Each line is a network at the paper's size in one precision, first as it is, then with one of our
measures switched off, and last compiled and as a CUDA graph. Iterations are those of a run,
bench.run.training, on synthetic images that lie on the device; times are by CUDA events over all
iterations, in which nothing waits. The roofline is the arithmetic of forward and backward pass at
the rate of a matrix product measured here in the same precision, plus the traffic of unfused
operations at the rate of a copy: what the convolutions and all else would take at those rates. The
last line is JSON.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).parents[2]))  # also where the package is not installed

from architectures import pooling, upsampling
from bench.command_line import compose_config
from bench.config import Config
from bench.cost.calibration import Calibration
from bench.cost.work import moved_bytes, multiply_accumulates
from bench.data import normalisation
from bench.data.splits import load_splits
from bench.run import training as loop
from bench.run.device import prepare_device
from bench.run.distributed import training_model
from bench.run.graph import GraphedUpdate
from bench.run.monitor import Monitor
from bench.run.preparation import prepare_training

BATCHES = {"segnet_basic": 12, "fcn_basic": 12, "segnet": 5, "bilinear_interpolation": 12}
TRAINING_WORK = 3  # times the forward pass; see bench/cost/work.py
WAITS = "called a synchronizing CUDA operation"


@contextlib.contextmanager
def filling() -> Iterator[None]:
    """Memory is filled before it is written, as deterministic mode does by default."""
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def rows_loss(
    logits: Tensor, labels: Tensor, weights: Tensor | None, void: int, normaliser: str
) -> Tensor:
    """The loss with a row for each pixel, summed by one operator."""
    rows = logits.float().permute(0, 2, 3, 1).flatten(0, 2)
    targets = labels.flatten().long()
    total = F.cross_entropy(rows, targets, weights, ignore_index=void, reduction="sum")
    return total / (targets != void).sum().clamp(min=1)


def window_mean_by_convolutions(values: Tensor) -> Tensor:
    """The local mean of contrast normalisation as two convolutions of one channel."""
    radius = normalisation.LCN_WINDOW // 2
    window = torch.tensor(normalisation._gaussian(values.dtype), device=values.device)
    mean = F.pad(values.mean(dim=1, keepdim=True), [radius] * 4, mode="reflect")
    return F.conv2d(F.conv2d(mean, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))


def doubled_by_torch(_: nn.Module, x: Tensor) -> Tensor:
    """Bilinear upsampling whose gradient torch sorts in deterministic mode."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear")


VARIANTS: dict[str, Callable[[loop.Training], contextlib.AbstractContextManager[Any]]] = {
    "as it is": lambda _: contextlib.nullcontext(),
    "memory filled": lambda _: filling(),
    "loss by rows": lambda _: mock.patch("bench.run.loss.batch_loss", rows_loss),
    "pooling by operators": lambda _: mock.patch.object(pooling, "_kernels_for", return_value=None),
    "bilinear by sort": lambda _: mock.patch.object(
        upsampling.BilinearDouble, "forward", doubled_by_torch
    ),
    "lcn by convolutions": lambda _: mock.patch.object(
        normalisation, "_window_mean", window_mean_by_convolutions
    ),
    "labels copied in between": lambda _: mock.patch.object(
        loop, "staged", lambda tensor, device: tensor.cpu().to(device)
    ),
    "compiled": lambda training: mock.patch.object(
        training, "model", training_model(training.network, training.device, compiled=True)
    ),
    "cuda graph": lambda training: mock.patch.object(
        training, "graph", GraphedUpdate(training.optimiser)
    ),
}


def applies(variant: str, training: loop.Training) -> bool:
    """Says whether there is what a variant switches off, or on."""
    if variant == "bilinear by sort":
        return any(isinstance(m, upsampling.BilinearDouble) for m in training.network.modules())
    return variant not in ("compiled", "cuda graph") or training.device.type == "cuda"


def configured(arch: str, precision: str, arguments: argparse.Namespace, folder: str) -> Config:
    """A run at the paper's size, with local contrast normalisation as in Table 1."""
    batch = arguments.batch or BATCHES[arch]
    height, width = arguments.size
    return compose_config(
        [f"arch={arch}", "dataset=synthetic", "protocol=table1", f"protocol.precision={precision}",
         f"protocol.batch_size={batch}", f"protocol.image_size=[{height},{width}]",
         f"dataset.reader.counts={{train: {2 * batch}, val: 1, test: 1}}",
         f"dataset.reader.size=[{height},{width}]", "dataset.resident=device",
         "dataset.cache=null", f"device={arguments.device}", f"runs='{folder}'",
         f"protocol.channels_last={precision == 'bf16'}", "max_iterations=1000000"]
    )  # fmt: skip


def iterate(training: loop.Training, iterations: int) -> Tensor:
    """Makes iterations as a run does, without its drains, and returns the last loss."""
    loss = torch.zeros(())
    for number, (images, labels) in enumerate(loop.training_batches(training, range(iterations))):
        loss = loop.step(training, images, labels, number)
    return loss


def milliseconds(training: loop.Training, iterations: int) -> float:
    """Times iterations: by events on a GPU, else by the clock."""
    if training.device.type != "cuda":
        start = time.perf_counter()
        iterate(training, iterations)
        return 1e3 * (time.perf_counter() - start) / iterations
    events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]  # type: ignore[no-untyped-call]
    events[0].record()  # type: ignore[no-untyped-call]
    iterate(training, iterations)
    events[1].record()  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    elapsed: float = events[0].elapsed_time(events[1])  # type: ignore[no-untyped-call]
    return elapsed / iterations


def launches(training: loop.Training) -> float | None:
    """Counts what one iteration has the GPU do: kernels, copies and fills."""
    if training.device.type != "cuda":
        return None
    count = 3
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        iterate(training, count)
        torch.cuda.synchronize()
    return sum(event.device_type == DeviceType.CUDA for event in profiled.events()) / count


def host_waits(training: loop.Training) -> list[str] | None:
    """Lists where the host waits in an iteration, as torch warns of it."""
    if training.device.type != "cuda":
        return None
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            iterate(training, 1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    found = [warning for warning in caught if WAITS in str(warning.message)]
    return [f"{warning.filename}:{warning.lineno}" for warning in found]


def roofline_ms(training: loop.Training, rates: dict[str, float]) -> float:
    """What an iteration would take at the rates of a matrix product and of a copy."""
    protocol, batch = training.config.protocol, training.config.protocol.batch_size
    width = 0.5 if protocol.precision == "bf16" else 1.0  # of a value, against fp32
    flops = 2 * TRAINING_WORK * batch * multiply_accumulates(training.network, protocol.image_size)
    moved = width * TRAINING_WORK * batch * moved_bytes(training.network, protocol.image_size)
    return 1e3 * (flops / rates["matmul_flops"] + moved / rates["copy_bytes_per_second"])


def measured(arch: str, precision: str, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yields a row for the network as it is, and for each measure switched off."""
    with tempfile.TemporaryDirectory() as folder:
        config = configured(arch, precision, arguments, folder)
        device, monitor = prepare_device(config), Monitor(Path(folder))
        splits = load_splits(config, ["train"], device)
        training = prepare_training(config, Path(folder), splits, device, monitor)
        training.model.train()
        calibration = Calibration(config, device)
        rates = max((calibration.sample() for _ in range(3)), key=lambda r: r["matmul_flops"])
        del calibration
        floor = roofline_ms(training, rates)
        for name in arguments.variants:
            if not applies(name, training):
                continue
            with VARIANTS[name](training):
                iterate(training, arguments.warm_up)
                taken = milliseconds(training, arguments.iterations)
                yield {
                    "arch": arch,
                    "precision": precision,
                    "variant": name,
                    "ms": round(taken, 3),
                    "launches": launches(training),
                    "host_waits": host_waits(training),
                    "of_roofline": round(floor / taken, 3),
                }


def main() -> None:
    """Measure as the flags say; the last line is JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=BATCHES, default=list(BATCHES))
    kinds = ("fp32", "tf32", "bf16")
    parser.add_argument("--precisions", nargs="+", choices=kinds, default=list(kinds))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--warm-up", type=int, default=10)
    parser.add_argument("--size", type=int, nargs=2, default=(360, 480), help="height and width")
    parser.add_argument("--batch", type=int, help="default: 12; SegNet 5")
    parser.add_argument("--device", default="cuda", help="on a CPU: no launches, no waits")
    arguments = parser.parse_args()
    rows = []
    for arch in arguments.only:
        for precision in arguments.precisions:
            for row in measured(arch, precision, arguments):
                waits = row["host_waits"]
                print(
                    f"{row['arch']:<13} {row['precision']} {row['variant']:<25} {row['ms']:9.2f} ms"
                    f" {row['launches'] or 'n/a':>6} launches"
                    f" {'n/a' if waits is None else len(waits):>3} waits"
                    f" {100 * row['of_roofline']:5.1f} % of the roofline",
                    flush=True,
                )
                rows.append(row)
    where = torch.cuda.get_device_name() if arguments.device != "cpu" else "CPU"
    print(json.dumps({"device": where, "torch": torch.__version__, "rows": rows}))


if __name__ == "__main__":
    main()
