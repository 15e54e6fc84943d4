"""What a data set's reader returns: named pairs of image and label, not yet read."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from bench.data.bands import Array, read_bands
from bench.data.files import composed, paired, picture_files, short_names
from bench.data.images import UInt8Array, read_image, read_label
from bench.data.label_coding import LabelReader
from bench.data.schema import DatasetConfig
from bench.target import build

log = logging.getLogger("bench")


@dataclass(frozen=True)
class Pair:
    """One image and its label.

    Attributes:
        name: unique within the split, with folders where it needs them (`berlin/0000`);
            predictions are stored under it.
        image: reads the image, uint8 (H, W, 3), or with `dataset.bands` any type (H, W, bands).
        label: reads the label, uint8 (H, W).
        label_source: the file or place to name when a label is wrong.
        files: all that image and label are read from; none where they are painted.
    """

    name: str
    image: Callable[[], Array]
    label: Callable[[], UInt8Array]
    label_source: str
    files: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        path = PurePosixPath(self.name)
        if path.is_absolute() or ".." in path.parts or "\0" in self.name or not self.name:
            raise ValueError(
                f"{self.label_source}: {self.name!r} cannot name an image: predictions are stored "
                "under it, below the run; give it a plain name"
            )


def file_pair(
    image: Path,
    label: Path,
    read: LabelReader = read_label,
    name: str | None = None,
    bands: int | None = None,
) -> Pair:
    """Makes the pair of two files, named after the image without its suffix by default."""
    return Pair(
        name=composed(image.stem, image.parent) if name is None else name,
        image=partial(image_reader(bands), image),
        label=partial(read, label),
        label_source=str(label),
        files=(image, label),
    )


def image_reader(bands: int | None) -> Callable[[Path], Array]:
    """Returns what reads an image: 8-bit RGB, or where `dataset.bands` gives their number these."""
    return read_image if bands is None else partial(read_bands, count=bands)


def folder_pairs(
    images: Path, labels: Path, read: LabelReader = read_label, bands: int | None = None
) -> list[Pair]:
    """Pairs the pictures in and below two folders by their paths without suffix, in sorted order.

    A pair is named after its file alone, or, where these names repeat, after its path.

    Raises:
        ValueError: a folder is missing or has no image, or an image or a label stands alone.
    """
    files, partners = picture_files(images), picture_files(labels)
    for pictures in (files, partners):
        if pictures.skipped:
            log.warning(pictures.note())
    names, found = short_names(files.paths), paired(files, partners)
    return [
        file_pair(image, label, read, names[path], bands) for path, (image, label) in found.items()
    ]


def pairs_of(dataset: DatasetConfig, split: str) -> list[Pair]:
    """Returns the unread pairs of a split, as many as `dataset.limit` allows.

    Raises:
        ValueError: there are none, or whatever else the reader refuses.
    """
    arguments = {"split": split}
    if dataset.root is not None:
        arguments["root"] = dataset.root
    pairs: list[Pair] = build("dataset.reader", dataset.reader, **arguments)
    if not pairs:
        raise ValueError(
            f"dataset.root={dataset.root}: {dataset.name} has no image in the split {split!r}; "
            "complete its folder or list, or name another split"
        )
    return pairs[: dataset.limit]


def instead(split: str, known: Iterable[str]) -> str:
    """Says what to set where a split is missing and others are there; empty where none helps."""
    others = sorted((name for name in known if not name.startswith("train")), reverse=True)
    if split.startswith("train") or not others:
        return ""
    validating = ", and protocol.validation.every=null if the protocol validates on it"
    return (
        f"to evaluate on {others[0]} instead, set protocol.evaluation_splits=[{others[0]}]"
        f"{validating if split == 'val' else ''}"
    )
