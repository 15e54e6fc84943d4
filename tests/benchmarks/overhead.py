"""What a run costs beside the network: bench.run.training.train against a bare loop, as a ratio.

    python tests/benchmarks/overhead.py --width 16 --rounds 10
    python tests/benchmarks/overhead.py --protocol modern_short

Both train the same SegNet-Basic on the same batches, the bare loop with `F.cross_entropy`, and with
torch's own clipping and a rate set by hand where the protocol asks for them, and take turns within
one process; which of them goes first alternates. Crops and colours are made anew in both; what they
cost is in augmentation.py. The bare loop has no losses on disk, no progress, no heartbeat, no
seeds, and asks for no signals. The figure is the median of the ratios of neighbouring turns;
target: at most 1.02. Checkpoints, every ten minutes in a run, are timed by themselves. The last
line is JSON.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2]))  # also where the package is not installed

from bench.command_line import compose_config
from bench.data.order import batch_indices
from bench.data.splits import load_splits
from bench.run import checkpoints
from bench.run.device import prepare_device
from bench.run.monitor import Monitor
from bench.run.network import network_input
from bench.run.preparation import prepare_training
from bench.run.training import Training, train, training_batches


def prepared(folder: Path, protocol: str, width: int, threads: int) -> Training:
    """Prepares a run as bench/run/run.py does."""
    config = compose_config(
        ["arch=segnet_basic", f"arch.width={width}", "dataset=synthetic", f"protocol={protocol}",
         "dataset.reader.counts={train: 100, val: 4, test: 4}", "dataset.cache=null",
         "protocol.dice_weight=0",
         f"threads={threads}", f"runs='{folder}'", "max_iterations=1000000"]
    )  # fmt: skip
    device, monitor = prepare_device(config), Monitor(folder)
    splits = load_splits(config, ["train"], device, monitor.beat)
    return prepare_training(config, folder, splits, device, monitor)


def bare_loop(training: Training, iterations: int) -> Callable[[], None]:
    """Returns a loop over the same batches that does nothing but train, as people write it."""
    protocol, void = training.config.protocol, training.config.dataset.void
    optimiser, device = training.optimiser, training.device
    kept = None if protocol.augmentation.is_on else uint8_batches(training, iterations)
    poly = protocol.schedule == "poly"

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        if kept is None:
            yield from training_batches(training, range(iterations))
        else:
            for images, labels in kept:
                yield network_input(images, training.config, device), labels.to(device)

    def loop() -> None:
        training.network.train()
        for iteration, (images, labels) in enumerate(batches()):
            loss = F.cross_entropy(
                training.network(images), labels.long(), training.class_weights, ignore_index=void
            )
            if poly:
                for group in optimiser.param_groups:
                    warm = min(1, (iteration + 1) / (protocol.warm_up_iterations or 1))
                    group["lr"] = protocol.lr * warm * (1 - iteration / 1_000_000) ** 0.9
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if protocol.clip_norm is not None:
                nn.utils.clip_grad_norm_(training.network.parameters(), protocol.clip_norm)
            optimiser.step()
        loss.item()

    return loop


def uint8_batches(training: Training, iterations: int) -> list[tuple[Tensor, Tensor]]:
    """Returns the batches of the first iterations, in memory."""
    split, size = training.split, training.config.protocol.batch_size
    indices = [
        batch_indices(training.config.seed, i, size, len(split.names)) for i in range(iterations)
    ]
    return [(images.clone(), labels.clone()) for images, labels in split.batches(indices)]


def seconds(function: Callable[[], None]) -> tuple[float, float]:
    """Wall time and CPU time of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Times both in turns; the ratios are those of neighbours."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        ours, bare = (
            prepared(Path(scratch), arguments.protocol, arguments.width, arguments.threads)
            for _ in range(2)
        )
        plain = bare_loop(bare, arguments.iterations)

        def whole() -> None:
            ours.iteration = 0  # the same batches every turn
            train(ours, arguments.iterations)

        pairs = []
        with mock.patch.object(checkpoints, "save_checkpoint"):
            for function in (plain, whole, plain, whole):  # warm-up
                function()
            for number in range(arguments.rounds):
                order = (plain, whole) if number % 2 else (whole, plain)
                taken = {function: seconds(function) for function in order}
                pairs.append((taken[plain], taken[whole]))
        saving, _ = seconds(lambda: checkpoints.save_checkpoint(Path(scratch), ours.state()))
    walls = sorted(theirs[0] / mine[0] for mine, theirs in pairs)
    bare_s = statistics.median(mine[0] for mine, _ in pairs)
    lower, _, upper = statistics.quantiles(walls, n=4)
    return {
        "bare_ms": round(1000 * bare_s / arguments.iterations, 2),
        "ratio": round(statistics.median(walls), 4),
        "ratio_quartiles": [round(lower, 4), round(upper, 4)],
        "cpu_ratio": round(statistics.median(t[1] / m[1] for m, t in pairs), 4),
        "checkpoint_s": round(saving, 3),
        "checkpoint_share": round(saving / 600, 5),
    }


def main() -> None:
    """Measure as the flags say; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--protocol", default="short", choices=["short", "modern_short"])
    parser.add_argument("--width", type=int, default=16, help="channels; SegNet-Basic has 64")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--iterations", type=int, default=20, help="a turn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where a run would write; a temporary folder")
    arguments = parser.parse_args()
    found = measure(arguments)
    print(json.dumps({**vars(arguments), **found}, default=str))


if __name__ == "__main__":
    main()
