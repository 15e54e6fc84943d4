"""Training time of SegNet-Basic with 2-bit pooling, as a multiple of that with native indices.

    python tests/benchmarks/pooling.py --size 180 240 --rounds 20

Both networks have the same weights and take turns within one process, each first in every other
round; the figure is the median of the rounds' ratios, with their quartiles. On a CPU the time is
that of the process: what other programs do then counts less. Target on the CPU: at most 1.05.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2]))  # also where the package is not installed

from architectures import basic
from architectures.pooling import PoolingIndices


def native_max_pool(x: Tensor) -> tuple[Tensor, PoolingIndices]:
    """The native pooling; the int64 indices travel where the bits would."""
    pooled, index = F.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
    return pooled, PoolingIndices(index, (x.shape[2], x.shape[3]), False)


def native_max_unpool(x: Tensor, indices: PoolingIndices) -> Tensor:
    """The native unpooling."""
    return F.max_unpool2d(x, indices.bits, 2, 2, output_size=indices.size)


def training_step(network: torch.nn.Module, images: Tensor, labels: Tensor, precision: str) -> None:
    """Forward and backward; the optimiser would be the same for both."""
    network.zero_grad()
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
        loss = F.cross_entropy(network(images), labels)
    loss.backward()
    if images.is_cuda:
        torch.cuda.synchronize()


def seconds(function: Callable[[], None], clock: Callable[[], float]) -> float:
    """Time of one call."""
    start = clock()
    function()
    return clock() - start


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Median seconds of both, median and quartiles of the ratio."""
    layout = torch.channels_last if arguments.channels_last else torch.contiguous_format
    network = basic.SegNetBasic(11).to(arguments.device, memory_format=layout)
    images = torch.randn(arguments.batch, 3, *arguments.size, device=arguments.device)
    images = images.contiguous(memory_format=layout)
    labels = torch.randint(11, (arguments.batch, *arguments.size), device=arguments.device)

    def ours() -> None:
        training_step(network, images, labels, arguments.precision)

    def native() -> None:
        with mock.patch.multiple(basic, max_pool=native_max_pool, max_unpool=native_max_unpool):
            ours()

    clock = time.perf_counter if images.is_cuda else time.process_time
    for function in (ours, native, ours, native):  # warm-up
        function()
    times: dict[Callable[[], None], list[float]] = {native: [], ours: []}
    for turn in range(arguments.rounds):
        for function in (native, ours) if turn % 2 == 0 else (ours, native):
            times[function].append(seconds(function, clock))
    ratios = [b / a for a, b in zip(times[native], times[ours], strict=True)]
    lower, median, upper = statistics.quantiles(ratios, n=4, method="inclusive")
    return {
        "native_s": round(statistics.median(times[native]), 4),
        "two_bit_s": round(statistics.median(times[ours]), 4),
        "ratio": round(median, 3),
        "ratio_quartiles": [round(lower, 3), round(upper, 3)],
    }


def main() -> None:
    """Measure as the flags say; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, nargs=2, default=(180, 240), help="height and width")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20, help="2 or more")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--channels-last", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(json.dumps({**vars(arguments), **measure(arguments)}))


if __name__ == "__main__":
    main()
