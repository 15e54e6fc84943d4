"""The splits of a data set: checked completely, then mapped from a store or streamed from files.

All labels are checked here, before training starts, so that a wrong value is an error that names
its file and not a loss that explodes. A split is decoded once into a store (bench/data/store.py)
that all runs share. Where the disk is too small it is decoded again for every batch, with the very
same result; files that have changed by then are refused.
"""

import importlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.config import Config
from bench.data.ahead import ahead
from bench.data.decoding import Decoder, Progress, decoded
from bench.data.images import UInt8Array
from bench.data.pairs import Pair, pairs_of
from bench.data.schema import DatasetConfig, Residence
from bench.data.staging import staged, widened
from bench.data.store import Store

if TYPE_CHECKING:  # it loads OpenCV, which only protocols with an augmentation need
    from bench.data.augmentation import Augmentation, Draws

# Images (n, C, H, W), uint8 or, with dataset.bands, theirs; labels uint8 (n, H, W).
Batch = tuple[Tensor, Tensor]

IMAGE, TRUTH = range(2)  # the arrays of a record: (C, H, W) as trained on, (h, w) at its own size


class DoesNotFitError(MemoryError, ValueError):
    """A setting asks for more memory than there is: out of memory, with a remedy."""


@dataclass(frozen=True)
class Split:
    """One split of a data set, N images.

    Attributes:
        name: of the split.
        names: of the images.
        digest: a hash of every name, image and label: equal digests mean equal data.
        pixels: of each class in each label at input size, int64 (N, K+1), void last.
        pairs: the images and labels, as files.
        decoder: what reads the pairs.
        store: their arrays, or only the checksums.
        on_device: all images (N, C, H, W) and labels uint8 (N, H, W) on a device, or None.
    """

    name: str
    names: list[str]
    digest: str
    pixels: NDArray[np.int64]
    pairs: list[Pair]
    decoder: Decoder
    store: Store
    on_device: Batch | None = None

    @property
    def residence(self) -> str:
        """Says in words where the data are kept."""
        if self.on_device is not None:
            return f"kept on {self.on_device[0].device}"
        return "mapped from disk" if self.store.holds_arrays else "streamed from files"

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """The H, W of each image as it is kept: protocol.image_size, or its own."""
        shapes = (record[IMAGE][-2:] for record in self.store.known["table"])
        return [(height, width) for height, width in shapes]

    @cached_property
    def truths(self) -> "Truths":
        """The N label maps uint8 (h, w) at their own size, for evaluation."""
        return Truths(self)

    def array(self, index: int, part: int) -> NDArray[Any]:
        """Returns the IMAGE (C, H, W) or the TRUTH (h, w) of an index.

        Where it is mapped it is a read-only view: only rows that are used are read.

        Raises:
            ValueError: a file that has to be read again has changed since it was checked.
        """
        array = self.store.array(index, part)
        if array is None:
            pair = self.pairs[index]
            array = self.decoder.image(pair.image()) if part == IMAGE else pair.label()
            if not self.store.matches(index, part, array):
                source = pair.files[0] if part == IMAGE and pair.files else pair.label_source
                raise ValueError(
                    f"{source}: its pixels are not those that were checked before training; "
                    "restore the file, and the same command goes on"
                )
        return array

    def batches(self, chosen: Iterable[NDArray[np.int64]]) -> Iterator[Batch]:
        """Yields copies of the images and labels of each set of indices, on their device.

        They depend on the indices only. Threads decode what is not mapped, a few images ahead.
        """
        if self.on_device is not None:
            images, labels = self.on_device
            for indices in chosen:
                where = staged(torch.from_numpy(indices), images.device)
                # Copies whole images; indexing by brackets is a sixth as fast.
                yield images.index_select(0, where), labels.index_select(0, where)
            return
        chosen, coming = itertools.tee(chosen)
        flat = itertools.chain.from_iterable(coming)
        pairs = (map if self.store.holds_arrays else ahead)(self._pair, flat)
        for indices in chosen:
            parts = zip(*itertools.islice(pairs, len(indices)), strict=True)
            images, labels = (torch.from_numpy(widened(np.stack(part))) for part in parts)
            yield images, labels

    def crops(
        self, chosen: Iterable[NDArray[np.int64]], drawn: Iterable["Draws"], augment: "Augmentation"
    ) -> Iterator[Batch]:
        """Yields what is cut out of the images of each set of indices, with a draw for each.

        As `batches`; but where images are not on a device, threads always work ahead.
        """
        if self.on_device is not None:
            for (images, labels), draws in zip(self.batches(chosen), drawn, strict=True):
                yield augment.cut_batch(images, labels, draws)
            return

        def cut(item: tuple[int, NDArray[np.float64]]) -> tuple[NDArray[Any], UInt8Array]:
            return augment.cut(*self._pair(item[0]), item[1])

        sets, coming = itertools.tee(zip(chosen, drawn, strict=True))
        pairs = ahead(cut, (item for each in coming for item in zip(*each, strict=True)))
        for indices, _ in sets:
            parts = zip(*itertools.islice(pairs, len(indices)), strict=True)
            images, labels = (torch.from_numpy(widened(np.stack(part))) for part in parts)
            yield images, labels

    def moved(self, device: torch.device) -> "Split":
        """Returns the split with all its images and labels on a device.

        Raises:
            DoesNotFitError: the device is too small.
            ValueError: the images differ in size.
        """
        if len(set(self.sizes)) > 1:
            raise ValueError(
                f"dataset.resident is device, but the images of {self.name} have "
                f"{len(set(self.sizes))} sizes; set dataset.resident=memory, or protocol.image_size"
            )
        one_by_one = self.batches(np.arange(len(self.names)).reshape(-1, 1))
        try:
            moved = [(image.to(device), label.to(device)) for image, label in one_by_one]
            images, labels = (torch.cat(parts) for parts in zip(*moved, strict=True))
        except torch.OutOfMemoryError as error:
            what = f"dataset.resident is device, but {self.name} does not fit on {device}"
            raise DoesNotFitError(f"{what}; set dataset.resident=memory") from error
        return replace(self, on_device=(images, labels))

    def _pair(self, index: int) -> tuple[NDArray[Any], UInt8Array]:
        return self.array(index, IMAGE), self.decoder.label(self.array(index, TRUTH))


class Truths:
    """Label maps at their own size, read when they are asked for."""

    def __init__(self, split: Split) -> None:
        # An evaluation asks several times in a row, for an image or a batch of them.
        self._read = lru_cache(maxsize=128)(partial(split.array, part=TRUTH))

    def __getitem__(self, index: int) -> UInt8Array:
        return self._read(index)


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
            stands in two splits, images differ in type, or the data do not fit where they should be
            kept.
    """
    dataset = config.dataset
    if dataset.download:
        download(dataset)
    progress = progress or (lambda *_: None)
    splits = {name: _load(config, name, progress) for name in dict.fromkeys(names)}
    _require_disjoint(list(splits.values()))
    _require_one_type(list(splits.values()))
    if dataset.resident == Residence.device and device is not None:
        return {name: split.moved(device) for name, split in splits.items()}
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


def _load(config: Config, name: str, progress: Progress) -> Split:
    pairs, decoder = pairs_of(config.dataset, name), Decoder.of(config)
    store = decoded(config, name, pairs, progress)
    progress(f"reading {name}", len(pairs), len(pairs))
    names, pixels = [pair.name for pair in pairs], np.array(store.known["pixels"])
    return Split(name, names, store.known["digest"], pixels, pairs, decoder, store)


def _require_disjoint(splits: list[Split]) -> None:
    """Refuses an image that stands in two splits, by its pixels: a name proves nothing."""
    seen: dict[str, tuple[str, str]] = {}
    for split in splits:
        for name, digest in zip(split.names, split.store.known["digests"], strict=True):
            other_split, other_name = seen.setdefault(digest, (split.name, name))
            if other_split != split.name:
                raise ValueError(
                    f"{split.name}/{name} and {other_split}/{other_name} have the same pixels; "
                    "an image may stand in one split only, so remove one of them"
                )


def _require_one_type(splits: list[Split]) -> None:
    """Refuses images of different types: their values mean different things."""
    first: dict[str, str] = {}
    for split in splits:
        for name, record in zip(split.names, split.store.known["table"], strict=True):
            first.setdefault(record[IMAGE][2], f"{split.name}/{name}")
    if len(first) > 1:
        kinds = " and ".join(f"{np.dtype(kind)} ({name})" for kind, name in first.items())
        raise ValueError(f"images are of {kinds}; save all of them in one type")
