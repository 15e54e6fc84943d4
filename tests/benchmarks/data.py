"""What feeding a network costs: images a second of one core at 360x480, memory for 10,000 images.

    OMP_NUM_THREADS=1 python tests/benchmarks/data.py [--camvid FOLDER] [--memory 10000]

Contestants take turns in one run, each a few batches at a time, and are timed by the processor's
clock, so that what else the machine does matters little: a split mapped from its store, the same
split streamed from its files, and the usual pipeline of a Dataset with Pillow under torch's
DataLoader, without workers, whose transport would only slow it down. Without --camvid the pictures
are synthetic scenes, written to a temporary folder. The last line is JSON.
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
from bench.config import Config
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


def composed(root: Path, *overrides: str) -> Config:
    keys = [f"dataset.root='{root}'", "dataset.cache=null", "protocol=paper"]
    return compose_config(["dataset=camvid", *keys, *overrides])


def contestants(root: Path) -> dict[str, Iterator[Any]]:
    """Returns a stream of batches of each contestant."""
    files = composed(root, "dataset.resident=files")
    mapped, streamed = (load_splits(c, ["train"])["train"] for c in (composed(root), files))
    count = len(mapped.names)
    assert (mapped.residence, streamed.residence) == ("mapped from disk", "streamed from files")
    order = [batch_indices(0, i, BATCH, count) for i in range(-(-count // BATCH) + ROUNDS * TURN)]
    plain = DataLoader(
        Plain(pairs_of(files.dataset, "train")),
        batch_sampler=[indices.tolist() for indices in order],
    )
    batches = mapped.batches(order)
    for _ in range(len(order) - ROUNDS * TURN):
        next(batches)  # an epoch, in which checksums are verified
    return {
        "mapped": batches,
        "streamed": streamed.batches(order),
        "DataLoader + Pillow": iter(plain),
    }


def images_per_second(root: Path) -> dict[str, float]:
    """Measures the contestants in turn; the median over the rounds."""
    streams = contestants(root)
    seconds: dict[str, list[float]] = {name: [] for name in streams}
    for _ in range(ROUNDS):
        for name, batches in streams.items():
            start = time.process_time()
            for _ in range(TURN):
                next(batches)
            seconds[name].append(time.process_time() - start)
    return {name: BATCH * TURN / float(np.median(times)) for name, times in seconds.items()}


def memory_of_a_large_set(root: Path, images: int) -> dict[str, float]:
    """Links a few pictures many times, maps them, and returns what that adds, in GB."""
    links = root / "links"
    sources = [pair.files for pair in pairs_of(composed(root).dataset, "train")]
    for folder in ("train", "trainannot"):
        (links / folder).mkdir(parents=True)
    for number in range(images):
        for path, folder in zip(
            sources[number % len(sources)], ("train", "trainannot"), strict=True
        ):
            (links / folder / f"{number:06d}.png").symlink_to(path)
    before = peak_gb()
    config = composed(links, f"dataset.cache='{root}/cache'")
    split = load_splits(config, ["train"])["train"]
    assert split.residence == "mapped from disk"
    written = peak_gb() - before
    for _ in split.batches(batch_indices(0, i, BATCH, images) for i in range(images // BATCH)):
        pass
    decoded = 4 * 360 * 480 * images / 1e9
    return {
        "images": images,
        "decoded_gb": decoded,
        "added_by_decoding_gb": written,
        "added_gb": peak_gb() - before,
    }


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--camvid", type=Path, help="the real set, in the tutorial's layout")
    parser.add_argument(
        "--memory", type=int, metavar="N", help="also map a set of N images; 10000 take minutes"
    )
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
            result["memory"] = memory_of_a_large_set(linked, options.memory)
        result["images_per_second"] = images_per_second(root)
    baseline = result["images_per_second"]["DataLoader + Pillow"]
    for name, rate in result["images_per_second"].items():
        print(f"{name:<22}{rate:>8.0f} images/s{rate / baseline:>8.1f} times the plain pipeline")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
