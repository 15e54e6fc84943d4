"""The splits of a data set: checked completely, then kept in memory or streamed from their files.

All labels are checked here, before training starts, so that a wrong value is an error that names
its file and not a loss that explodes. A set within the memory budget is decoded once and kept as
uint8; a larger one is decoded again for every batch, with the very same result.
"""

import hashlib
import importlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.config import Config
from bench.data import cache
from bench.data.ahead import ahead, cores
from bench.data.class_weights import pixel_counts
from bench.data.decoding import Decoder
from bench.data.images import UInt8Array
from bench.data.pairs import Pair, pairs_of
from bench.data.schema import DatasetConfig
from bench.data.staging import staged
from bench.data.streaming import stream

Batch = tuple[Tensor, Tensor]  # images uint8 (n, 3, H, W), labels uint8 (n, H, W)
Progress = Callable[[str, int, int], None]  # phase, done, total


@dataclass(frozen=True)
class Split:
    """One split of a data set, N images, streamed from its files.

    Attributes:
        name: of the split.
        names: of the images.
        truths: N label maps uint8 (h, w) at their own size, for evaluation.
        digests: N hashes of the image pixels as stored.
        digest: a hash of every name, image and label: equal digests mean equal data.
        pixels: of each class in each label at input size, int64 (N, K+1), void last.
        decoder: what reads the pairs.
        workers: how many processes decode ahead.
    """

    name: str
    names: list[str]
    truths: "Truths"
    digests: list[str]
    digest: str
    pixels: NDArray[np.int64]
    decoder: Decoder
    workers: int

    @property
    def residence(self) -> str:
        """Says in words where the data are kept."""
        return "streamed from files"

    def batches(self, chosen: Iterable[NDArray[np.int64]]) -> Iterator[Batch]:
        """Yields images and labels, at the size of the network's input, of each set of indices."""
        return stream(self.truths.pairs, self.decoder, chosen, self.workers)

    def subset(self, indices: list[int]) -> "Split":
        """Returns the split of these images only."""
        return replace(
            self,
            names=[self.names[index] for index in indices],
            truths=self.truths.subset(indices),
            digests=[self.digests[index] for index in indices],
            digest=hashlib.sha256(f"{self.digest} {indices}".encode()).hexdigest()[:16],
            pixels=self.pixels[indices],
        )


@dataclass(frozen=True)
class ResidentSplit(Split):
    """A split kept in memory.

    Attributes:
        images: uint8 (N, 3, H, W), RGB, at the size of the network's input.
        labels: uint8 (N, H, W), likewise.
    """

    images: Tensor
    labels: Tensor

    @property
    def residence(self) -> str:
        """Says in words where the data are kept."""
        return f"kept on {self.images.device}"

    def batches(self, chosen: Iterable[NDArray[np.int64]]) -> Iterator[Batch]:
        """Yields copies of the images and labels of each set of indices, on their device."""
        for indices in chosen:
            where = staged(torch.from_numpy(indices), self.images.device)
            # Copies whole images; indexing by brackets is a sixth as fast.
            yield self.images.index_select(0, where), self.labels.index_select(0, where)

    def subset(self, indices: list[int]) -> "ResidentSplit":
        """Returns the split of these images only, copied."""
        part = super().subset(indices)
        assert isinstance(part, ResidentSplit)
        return replace(part, images=self.images[indices], labels=self.labels[indices])


class Truths:
    """Label maps at their own size.

    Those of the network's input size are the split's labels; the others are read when they are
    asked for.
    """

    def __init__(self, pairs: list[Pair], labels: Tensor | None, own_size: NDArray[np.bool_]):
        self.pairs, self._labels, self._own_size = pairs, labels, own_size
        # An evaluation asks several times in a row, for an image or a batch of them.
        self._read = lru_cache(maxsize=128)(lambda index: self.pairs[index].label())

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> UInt8Array:
        if self._labels is None or self._own_size[index]:
            return self._read(index)
        truth: UInt8Array = self._labels[index].cpu().numpy()
        return truth

    def __iter__(self) -> Iterator[UInt8Array]:
        return (self[index] for index in range(len(self)))

    def subset(self, indices: list[int]) -> "Truths":
        """Returns these label maps only."""
        labels = None if self._labels is None else self._labels[indices]
        return Truths([self.pairs[index] for index in indices], labels, self._own_size[indices])


def load_splits(
    config: Config,
    names: list[str],
    device: torch.device | None = None,
    progress: Progress | None = None,
) -> dict[str, Split]:
    """Reads and checks the named splits of a resolved configuration.

    Args:
        config: the configuration.
        names: of the splits; one that is named twice is read once.
        device: where `dataset.resident=device` keeps the data.
        progress: hears how far the reading is.

    Raises:
        ValueError: a pair cannot be read, its sizes differ, a label value has no class, one image
            stands in two splits, or the data do not fit where they should be kept.
    """
    dataset = config.dataset
    if dataset.download:
        download(dataset)
    pairs = {name: pairs_of(dataset, name) for name in dict.fromkeys(names)}
    place = _residence(config, sum(map(len, pairs.values())), device)
    splits = {}
    for name, some in pairs.items():
        splits[name] = _load(config, name, some, place, progress or (lambda *_: None))
    _require_disjoint(list(splits.values()))
    return splits


def download(dataset: DatasetConfig) -> None:
    """Has the module of the data set's reader fetch what is missing under its root.

    Raises:
        ValueError: the module has no `download`, or it failed.
    """
    module = importlib.import_module(dataset.reader["_target_"].rpartition(".")[0])
    if not hasattr(module, "download"):
        raise ValueError(
            f"dataset.download is true, but {dataset.name} cannot be downloaded; fetch it by "
            "hand and set dataset.root to where it lies"
        )
    module.download(dataset.root)


def _residence(config: Config, images: int, device: torch.device | None) -> torch.device | None:
    """Says where the data are kept; None: nowhere, they are streamed.

    Raises:
        ValueError: they should be on the device and exceed the budget.
    """
    dataset, (height, width) = config.dataset, config.protocol.image_size
    size, budget = 4 * images * height * width / 1e9, dataset.memory_budget_gb  # RGB and label
    if size <= budget:
        on_device = dataset.resident == "device" and device is not None
        return device if on_device else torch.device("cpu")
    if dataset.resident == "device":
        raise ValueError(
            f"dataset.resident is device, but {images} images of {width}x{height} need {size:.1f} "
            f"GB and dataset.memory_budget_gb is {budget}; raise it, or set dataset.resident=memory"
        )
    return None


def _load(
    config: Config,
    name: str,
    pairs: list[Pair],
    place: torch.device | None,
    progress: Progress,
) -> Split:
    path = cache.path_of(config, pairs, whole=place is not None)
    content = cache.load(path)
    if content is None:
        content = _read(config, name, pairs, place is not None, progress)
        cache.save(path, content)
    progress(f"reading {name}", len(pairs), len(pairs))
    labels = None if place is None else torch.from_numpy(content["labels"]).to(place)
    workers = config.dataset.workers
    split = Split(
        name=name,
        names=[pair.name for pair in pairs],
        truths=Truths(pairs, labels, content["own_size"]),
        digests=content["digests"].tolist(),
        digest=str(content["digest"]),
        pixels=content["pixels"],
        decoder=Decoder.of(config),
        workers=min(cores(), 8) if workers is None else workers,
    )
    if place is None or labels is None:
        return split
    return ResidentSplit(
        **vars(split), images=torch.from_numpy(content["images"]).to(place), labels=labels
    )


def _read(
    config: Config, name: str, pairs: list[Pair], whole: bool, progress: Progress
) -> dict[str, NDArray[Any]]:
    """Decodes every pair once; keeps the pictures if `whole`, and what is known of them."""
    decoder, count = Decoder.of(config), len(pairs)
    kept = count if whole else 0
    images = np.empty((kept, 3, decoder.height, decoder.width), np.uint8)
    labels = np.empty((kept, decoder.height, decoder.width), np.uint8)
    digests, pixels, own_size = [], [], []
    total = hashlib.sha256()
    for index, decoded in enumerate(ahead(decoder.decode, pairs)):
        progress(f"reading {name}", index, count)
        if whole:
            images[index], labels[index] = decoded.image, decoded.label
        digests.append(decoded.digest)
        pixels.append(pixel_counts(decoded.label, decoder.num_classes))
        own_size.append(decoded.truth.shape != decoded.label.shape)
        text = f"{pairs[index].name} {decoded.digest} {decoded.truth.shape}"
        total.update(text.encode() + decoded.truth.tobytes())
    known = {
        "digests": np.array(digests),
        "digest": np.array(total.hexdigest()[:16]),
        "pixels": np.stack(pixels),
        "own_size": np.array(own_size),
    }
    return known | ({"images": images, "labels": labels} if whole else {})


def _require_disjoint(splits: list[Split]) -> None:
    """Refuses an image that stands in two splits, by its pixels: a name proves nothing."""
    seen: dict[str, tuple[str, str]] = {}
    for split in splits:
        for name, digest in zip(split.names, split.digests, strict=True):
            other_split, other_name = seen.setdefault(digest, (split.name, name))
            if other_split != split.name:
                raise ValueError(
                    f"{split.name}/{name} and {other_split}/{other_name} have the same pixels; "
                    "an image may stand in one split only, so remove one of them"
                )
