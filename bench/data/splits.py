"""The splits of a data set: checked completely, then mapped from a store or streamed from files.

All labels are checked here, before training starts, so that a wrong value is an error that names
its file and not a loss that explodes. A split is decoded once into a store (bench/data/store.py)
that all runs share. Where the disk is too small it is decoded again for every batch, with the very
same result; files that have changed by then are refused.
"""

import hashlib
import importlib
import importlib.util
import itertools
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.config import Config
from bench.data.ahead import ahead
from bench.data.class_weights import pixel_counts
from bench.data.decoding import Decoder
from bench.data.images import UInt8Array
from bench.data.pairs import Pair, pairs_of
from bench.data.schema import NOT_IN_FINGERPRINT, DatasetConfig, Residence
from bench.data.staging import staged
from bench.data.store import FOLDER, Store, build, opened
from bench.typed import hashed

log = logging.getLogger("bench")

Batch = tuple[Tensor, Tensor]  # images uint8 (n, 3, H, W), labels uint8 (n, H, W)
Progress = Callable[[str, int, int], None]  # phase, done, total

IMAGE, TRUTH = range(2)  # the arrays of a record: (3, H, W) at input size, (h, w) at its own size
WORTH_BYTES = 32e6  # smaller splits are decoded in less time than their files are looked after


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
        on_device: all images uint8 (N, 3, H, W) and labels uint8 (N, H, W) on a device, or None.
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
    def truths(self) -> "Truths":
        """The N label maps uint8 (h, w) at their own size, for evaluation."""
        return Truths(self)

    def array(self, index: int, part: int) -> NDArray[Any]:
        """Returns the IMAGE (3, H, W) or the TRUTH (h, w) of an index.

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
            images, labels = (torch.from_numpy(np.stack(part)) for part in parts)
            yield images, labels

    def moved(self, device: torch.device) -> "Split":
        """Returns the split with all its images and labels on a device.

        Raises:
            ValueError: the device is too small.
        """
        one_by_one = self.batches(np.arange(len(self.names)).reshape(-1, 1))
        try:
            moved = [(image.to(device), label.to(device)) for image, label in one_by_one]
            images, labels = (torch.cat(parts) for parts in zip(*moved, strict=True))
        except torch.OutOfMemoryError as error:
            what = f"dataset.resident is device, but {self.name} does not fit on {device}"
            raise ValueError(f"{what}; set dataset.resident=memory") from error
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
            stands in two splits, or the data do not fit where they should be kept.
    """
    dataset = config.dataset
    if dataset.download:
        download(dataset)
    progress = progress or (lambda *_: None)
    splits = {name: _load(config, name, progress) for name in dict.fromkeys(names)}
    _require_disjoint(list(splits.values()))
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
    store = _store(config, name, pairs, progress)
    progress(f"reading {name}", len(pairs), len(pairs))
    names, pixels = [pair.name for pair in pairs], np.array(store.known["pixels"])
    return Split(name, names, store.known["digest"], pixels, pairs, decoder, store)


def _store(config: Config, name: str, pairs: list[Pair], progress: Progress) -> Store:
    """Opens the store of a split, or decodes the split into one."""
    fill, key = partial(_decoded, config, name, pairs, progress), _key(config, pairs)
    mapped, known = (key and key.with_suffix(suffix) for suffix in (".store", ".index"))
    places = [(mapped, True), (None, True), (known, False)]
    for path, arrays in places[2 if config.dataset.resident == Residence.files else 0 :]:
        try:
            return (path and opened(path)) or build(path, len(pairs), fill, arrays=arrays)
        except OSError as error:
            log.warning(
                f"{path or 'temporary file'}: {error.strerror}; {name} will be decoded again "
                f"{'next time' if path else 'for every batch'}, unless dataset.cache has room"
            )
    return build(None, len(pairs), fill, arrays=False)


def _decoded(
    config: Config, name: str, pairs: list[Pair], progress: Progress, known: dict[str, Any]
) -> Iterator[tuple[NDArray[Any], ...]]:
    """Yields image, label and truth of every pair, and finds out what is known of them."""
    decoder, total = Decoder.of(config), hashlib.sha256()
    digests, pixels = [], []
    for index, (image, truth, digest) in enumerate(ahead(decoder.decode, pairs)):
        progress(f"reading {name}", index, len(pairs))
        digests.append(digest)
        pixels.append(pixel_counts(decoder.label(truth), decoder.num_classes).tolist())
        total.update(f"{pairs[index].name} {digest} {truth.shape}".encode() + truth.tobytes())
        yield image, truth
    about = f"{config.dataset.name} {name}, {len(pairs)} images at {decoder.width}x{decoder.height}"
    known |= {"about": about, "digests": digests, "pixels": pixels}
    known["digest"] = total.hexdigest()[:16]


def _key(config: Config, pairs: list[Pair]) -> Path | None:
    """Returns a path that stands for all that decides a decoded split; None: it is not kept."""
    dataset, (height, width) = config.dataset, config.protocol.image_size
    painted = not all(pair.files for pair in pairs)
    if dataset.cache is None or painted or 4 * len(pairs) * height * width < WORTH_BYTES:
        return None
    module = importlib.util.find_spec(dataset.reader["_target_"].rpartition(".")[0])
    code = [*sorted(Path(__file__).parent.rglob("*.py"))]
    code += [Path(module.origin)] if module is not None and module.origin is not None else []
    files = list(dict.fromkeys(file for pair in pairs for file in pair.files))
    digests = dict(zip(files, ahead(_file_digest, files), strict=True))
    content = [
        PIL.__version__,
        list(map(_file_digest, code)),
        {k: v for k, v in hashed(dataset).items() if k not in NOT_IN_FINGERPRINT},
        config.protocol.image_size,
        [[pair.name, *(digests[file] for file in pair.files)] for pair in pairs],
    ]
    key = hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=12).hexdigest()
    return Path(dataset.cache).expanduser() / FOLDER / key


def _file_digest(path: Path) -> str:
    """Hashes a file, or raises ValueError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()[:32]
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from error


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
