"""What augmentation costs: images a second of one core, 512x512 crops from pictures of 1024x2048.

    OMP_NUM_THREADS=1 python tests/benchmarks/augmentation.py

Scale 0.5 to 2, crop, mirror, brightness, contrast and saturation, as protocols of today have them.
Contestants take turns in one run, a few batches at a time, and are timed by the processor's clock,
so that what else the machine does matters little: ours from the mapped store, and a DataLoader
without workers that has torchvision.transforms.v2 do the same to the same mapped arrays; with
--decode also to the PNG files, as a data set without a store has it. The last line is JSON.
"""

import argparse
import json
import sys
import tempfile
import time
import warnings
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
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from bench.command_line import compose_config
from bench.config import Config
from bench.data.augmentation import Augmentation, draws
from bench.data.order import batch_indices, mirrored
from bench.data.splits import IMAGE, TRUTH, Split, load_splits

SIZE, CROP, VOID = [1024, 2048], [512, 512], 11
BATCH, ROUNDS, TURN, IMAGES = (
    8,
    9,
    2,
    16,
)  # images a batch, turns, batches a turn, images of the set
Batches = Iterator[tuple[Tensor, Tensor]]


class Transformed(Dataset[tuple[Tensor, Tensor]]):
    """The same by torchvision: the windows that we draw, then flips and colours of its own."""

    def __init__(self, split: Split, augment: Augmentation, decode: bool) -> None:
        self.split, self.augment, self.decode = split, augment, decode
        self.rng = np.random.default_rng(0)
        self.change = v2.Compose(
            [
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(brightness=0.5, contrast=0.5, saturation=0.5),
            ]
        )

    def __len__(self) -> int:
        return len(self.split.names)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if self.decode:
            picture, label = (np.array(Image.open(path)) for path in self.split.pairs[index].files)
            image = picture.transpose(2, 0, 1)
        else:
            image, label = self.split.array(index, IMAGE), self.split.array(index, TRUTH)
        window = self.augment.window(self.rng.random(6), label.shape)
        parts = (
            functional.resized_crop(
                torch.from_numpy(array), *window, CROP, interpolation=mode, antialias=False
            )
            for array, mode in (
                (image, v2.InterpolationMode.BILINEAR),
                (label[None], v2.InterpolationMode.NEAREST_EXACT),
            )
        )
        image, label = self.change(tv_tensors.Image(next(parts)), tv_tensors.Mask(next(parts)))
        return image, label[0]


def composed(root: Path) -> Config:
    return compose_config(
        ["dataset=camvid", f"dataset.root='{root}'", "dataset.cache=null", "protocol=paper",
         "protocol.image_size=null", f"protocol.augmentation.crop={CROP}", "protocol.mirror=true",
         "protocol.augmentation.scale=[0.5,2]", "protocol.augmentation.brightness=0.5",
         "protocol.augmentation.contrast=0.5", "protocol.augmentation.saturation=0.5"]
    )  # fmt: skip


def ours(split: Split, augment: Augmentation, order: list[Any]) -> Batches:
    """Cuts in this thread alone, and mirrors as the training does."""
    for number, indices in enumerate(order):
        drawn = draws(0, number, BATCH)
        parts = zip(
            *(
                augment.cut(split.array(index, IMAGE), split.array(index, TRUTH), draw)
                for index, draw in zip(indices, drawn, strict=True)
            ),
            strict=True,
        )
        images, labels = (torch.from_numpy(np.stack(part)) for part in parts)
        flip = torch.from_numpy(mirrored(0, number, BATCH))[:, None, None]
        images = torch.where(flip[..., None], images.flip(3), images)
        yield images, torch.where(flip, labels.flip(2), labels)


def contestants(root: Path, decode: bool) -> dict[str, Batches]:
    """Returns a stream of batches of each contestant, warm."""
    config = composed(root)
    split = load_splits(config, ["train"])["train"]
    assert split.residence == "mapped from disk"
    for index in range(IMAGES):  # checksums are verified
        split.array(index, IMAGE), split.array(index, TRUTH)
    order = [batch_indices(0, i, BATCH, IMAGES) for i in range(ROUNDS * TURN + 1)]
    sampler = [indices.tolist() for indices in order]
    augment = Augmentation.of(config, split.sizes[0])
    streams: dict[str, Batches] = {"ours": ours(split, augment, order)}
    names = {"DataLoader + v2": False} | ({"DataLoader + v2, from PNG": True} if decode else {})
    for name, files in names.items():
        streams[name] = iter(DataLoader(Transformed(split, augment, files), batch_sampler=sampler))
    for stream in streams.values():
        next(stream)
    return streams


def measure(root: Path, decode: bool) -> dict[str, Any]:
    """Measures the contestants in turn; ratios are those of neighbours."""
    streams = contestants(root, decode)
    seconds: dict[str, list[float]] = {name: [] for name in streams}
    for _ in range(ROUNDS):
        for name, batches in streams.items():
            start = time.process_time()
            for _ in range(TURN):
                images, labels = next(batches)
                assert images.shape == (BATCH, 3, *CROP)
                assert labels.shape == (BATCH, *CROP)
            seconds[name].append(time.process_time() - start)
    own = np.array(seconds.pop("ours"))
    quartiles = np.quantile(BATCH * TURN / own, [0.5, 0.25, 0.75]).round().tolist()
    found: dict[str, Any] = {"images_per_second": quartiles}
    for name, times in seconds.items():
        ratios = np.quantile(np.array(times) / own, [0.5, 0.25, 0.75]).round(2).tolist()
        found[f"times as fast as {name}"] = ratios
    return found


def main() -> None:
    """Measures as the flags say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decode", action="store_true", help="also a DataLoader that decodes PNG")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "The given NumPy array is not writable")
    with tempfile.TemporaryDirectory() as folder:
        write_camvid(Path(folder), {"train": IMAGES}, SIZE)
        found = measure(Path(folder), options.decode)
    for name, (middle, low, high) in found.items():
        print(f"{name:<42}{middle:>8g} (quartiles {low:g} to {high:g})")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
