"""What a data set's reader returns: named pairs of image and label, not yet read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from bench.data.images import UInt8Array, read_image, read_label

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".ppm"}


@dataclass(frozen=True)
class Pair:
    """One image and its label.

    Attributes:
        name: unique within the split; predictions are stored under it.
        image: reads the image, uint8 (H, W, 3).
        label: reads the label, uint8 (H, W).
        label_source: the file or place to name when a label is wrong.
        files: all that image and label are read from; none where they are painted.
    """

    name: str
    image: Callable[[], UInt8Array]
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


# Turns a label file into class indices uint8 (H, W).
LabelReader = Callable[[Path], UInt8Array]


def file_pair(
    image: Path, label: Path, read: LabelReader = read_label, name: str | None = None
) -> Pair:
    """Makes the pair of two files, named after the image without its suffix by default."""
    return Pair(
        name=image.stem if name is None else name,
        image=partial(read_image, image),
        label=partial(read, label),
        label_source=str(label),
        files=(image, label),
    )


def folder_pairs(images: Path, labels: Path, read: LabelReader = read_label) -> list[Pair]:
    """Pairs two folders by file name without suffix, in sorted order.

    Raises:
        ValueError: a folder is missing or has no image, or an image or a label stands alone.
    """
    by_name = _images_by_stem(images), _images_by_stem(labels)
    for missing, folder, other in (
        (by_name[0].keys() - by_name[1].keys(), labels, images),
        (by_name[1].keys() - by_name[0].keys(), images, labels),
    ):
        if missing:
            raise ValueError(
                f"{folder}: nothing pairs with {some(missing)} of {other}; every image needs a "
                "label of the same name"
            )
    return [file_pair(by_name[0][stem], by_name[1][stem], read) for stem in sorted(by_name[0])]


def _images_by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; set dataset.root to where the data lies")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise ValueError(f"{path} and {found[path.stem].name} share one name; remove one")
        found[path.stem] = path
    if not found:
        raise ValueError(f"{folder}: holds no image; set dataset.root to where the data lies")
    return found


def some(names: Iterable[str]) -> str:
    """Names the first three, and how many more there are."""
    ordered = sorted(names)
    rest = f" and {len(ordered) - 3} more" if len(ordered) > 3 else ""
    return ", ".join(ordered[:3]) + rest
