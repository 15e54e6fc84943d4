"""What feeding a network costs: images a second at 360x480, and memory for a set of 10,000.

    OMP_NUM_THREADS=1 python tests/benchmarks/data.py [--camvid FOLDER] [--memory 10000]

Contestants take turns in one run, each a few batches at a time, so that what else the machine does
touches all alike: a split kept in memory, the same split streamed, and the usual pipeline of a
Dataset with Pillow under torch's DataLoader, both with the same number of workers. Without --camvid
the pictures are synthetic scenes, written to a temporary folder. The last line is JSON.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # also where the package is not installed
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from PIL import Image
from synthetic_files import write_camvid
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench.command_line import compose_config
from bench.data.order import batch_indices
from bench.data.pairs import Pair, pairs_of
from bench.data.splits import load_splits

BATCH, ROUNDS, TURN = 8, 7, 10  # images a batch, turns of each contestant, batches a turn


class Plain(Dataset[tuple[Tensor, Tensor]]):
    """The pipeline that everybody writes: open with Pillow, convert to float, once per access."""

    def __init__(self, pairs: list[Pair]) -> None:
        self.files = [pair.files for pair in pairs]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, label = (np.array(Image.open(path)) for path in self.files[index])
        return torch.from_numpy(image).permute(2, 0, 1).float() / 255, torch.from_numpy(label)


def composed(root: Path, *overrides: str) -> dict[str, Any]:
    keys = [f"dataset.root='{root}'", "dataset.cache=null", "protocol=paper"]
    return compose_config(["dataset=camvid", *keys, *overrides])


def contestants(root: Path, workers: int) -> dict[str, Iterator[Any]]:
    """Returns an endless stream of batches of each contestant."""
    memory = composed(root, "dataset.memory_budget_gb=4")
    stream = composed(root, "dataset.memory_budget_gb=0", f"dataset.workers={workers}")
    resident, streamed = (load_splits(config, ["train"])["train"] for config in (memory, stream))
    order = [
        batch_indices(0, i, BATCH, len(resident.names)) for i in range(2 + ROUNDS * (TURN + 1))
    ]
    plain = DataLoader(
        Plain(pairs_of(memory["dataset"], "train")),
        batch_sampler=[indices.tolist() for indices in order],
        num_workers=workers,
    )
    return {
        "memory": resident.batches(order),
        "streamed": streamed.batches(order),
        "DataLoader + Pillow": iter(plain),
    }


def images_per_second(root: Path, workers: int) -> dict[str, float]:
    """Measures the contestants in turn; the median over the rounds."""
    streams = contestants(root, workers)
    seconds: dict[str, list[float]] = {name: [] for name in streams}
    for batches in streams.values():
        next(batches)  # workers start, memory is touched
    for _ in range(ROUNDS):
        for name, batches in streams.items():
            start = time.perf_counter()
            for _ in range(TURN):
                next(batches)
            seconds[name].append(time.perf_counter() - start)
    # Workers fill their queue of two batches while others have their turn, both contestants alike.
    return {name: BATCH * TURN / float(np.median(times)) for name, times in seconds.items()}


def memory_of_a_large_set(root: Path, images: int, budget_gb: float) -> dict[str, float]:
    """Links a few pictures many times, streams them, and returns what that adds, in GB."""
    links = root / "links"
    sources = [pair.files for pair in pairs_of(composed(root)["dataset"], "train")]
    for folder in ("train", "trainannot"):
        (links / folder).mkdir(parents=True)
    for number in range(images):
        for path, folder in zip(
            sources[number % len(sources)], ("train", "trainannot"), strict=True
        ):
            (links / folder / f"{number:06d}.png").symlink_to(path)
    before = peak_gb(resource.RUSAGE_SELF)
    workers = 2
    config = composed(links, f"dataset.memory_budget_gb={budget_gb}", f"dataset.workers={workers}")
    split = load_splits(config, ["train"])["train"]
    for _ in split.batches(batch_indices(0, i, BATCH, images) for i in range(50)):
        pass
    own, largest_worker = peak_gb(resource.RUSAGE_SELF), peak_gb(resource.RUSAGE_CHILDREN)
    added = own - before + workers * max(0.0, largest_worker - own)
    decoded = 4 * 360 * 480 * images / 1e9
    return {"images": images, "decoded_gb": decoded, "budget_gb": budget_gb, "added_gb": added}


def peak_gb(whose: int) -> float:
    return resource.getrusage(whose).ru_maxrss * 1024 / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--camvid", type=Path, help="the real set, in the tutorial's layout")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument(
        "--memory", type=int, metavar="N", help="also stream a set of N images; 10000 take minutes"
    )
    parser.add_argument("--budget", type=float, default=1.0, help="its memory budget in GB")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        root = options.camvid or Path(temporary)
        if options.camvid is None:
            write_camvid(root, {"train": 32}, [360, 480])
        result: dict[str, Any] = {}
        if options.memory:  # first: a peak is only ever raised
            linked = Path(temporary) / "large"
            write_camvid(linked, {"train": 8}, [360, 480])
            result["memory"] = memory_of_a_large_set(linked, options.memory, options.budget)
        result["images_per_second"] = images_per_second(root, options.workers)
    baseline = result["images_per_second"]["DataLoader + Pillow"]
    for name, rate in result["images_per_second"].items():
        print(f"{name:<22}{rate:>8.0f} images/s{rate / baseline:>8.1f} times the plain pipeline")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
