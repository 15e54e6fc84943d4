"""A user's own data: pictures and labels in folders, or named by list files.

    ROOT/images/SPLIT/NAME.*  with  ROOT/labels/SPLIT/NAME.*      paired by name, or
    ROOT/SPLIT.txt            lines of 'IMAGE LABEL', paths relative to ROOT, one space

NAME may have folders in it. Labels are pictures of class values (grey or palette) or of class
colours, in any size; image and label of a pair have one size. Which value or colour means which
class is an argument.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.data.files import composed, short_names, some
from bench.data.label_coding import LabelReader, label_coding, threshold_reader
from bench.data.pairs import Pair, file_pair, folder_pairs, instead
from bench.data.text_file import numbered_lines, written_path


def read(
    root: str,
    split: str,
    *,
    colours: Sequence[Sequence[int] | None],
    void: int,
    values: list[int] | None = None,
    void_values: list[int] | None = None,
    void_colours: list[list[int]] | None = None,
    palette: str | None = None,
    threshold: int | None = None,
    names: list[str] | None = None,
    bands: int | None = None,
) -> list[Pair]:
    """Returns the pairs of one split, in the order of its list file or sorted by name.

    Args:
        root: the folder of the data.
        split: the name of the split.
        colours: of the K classes, RGB, in coloured labels; None for each if there are none.
        void: the index that void gets.
        values: of the K classes, in labels of values; None: 0 to K-1.
        void_values: values that mean void; None: `void` itself.
        void_colours: colours that mean void.
        palette: what counts in palette labels, `indices` or `colours`; None: indices, unless the
            palette contradicts them, which is refused.
        threshold: of two-valued masks that hold other levels too: grey levels from here up are
            the second class, all others the first.
        names: of the classes, for messages.
        bands: of TIFF images of any depth; None: images are 8-bit RGB.

    Raises:
        ValueError: a folder, file or half of a pair is missing, a list is malformed, or an argument
            cannot be.
    """
    if threshold is not None:
        masks = threshold_reader(threshold, len(colours), values, void_values)
        return _pairs(root, split, masks, bands)
    coding = label_coding(
        colours,
        void,
        values=values,
        void_values=void_values,
        void_colours=void_colours,
        palette=palette,
        names=names,
    )
    return _pairs(root, split, coding.read, bands)


def _pairs(root: str, split: str, reader: LabelReader, bands: int | None) -> list[Pair]:
    folder = Path(root)
    if not folder.is_dir():
        raise ValueError(f"dataset.root is {root}, which is no folder; set dataset.root=PATH")
    listing = folder / f"{split}.txt"
    if listing.is_file():
        return listed_pairs(listing, reader, bands)
    images, labels = folder / "images" / split, folder / "labels" / split
    if not images.is_dir():
        raise ValueError(_without_split(folder, split))
    return folder_pairs(images, labels, reader, bands)


def _without_split(folder: Path, split: str) -> str:
    """Says that there is no such split, which others there are, and what to do."""
    lists = {path.stem for path in folder.glob("*.txt")} & {"train", "val", "test"}
    known = lists | {path.name for path in folder.glob("images/*") if path.is_dir()}
    remedy = instead(split, known) or "see bench/data/folder.py"
    there = f"; there is {some(known)}" if known else ""
    return (
        f"dataset.root={folder} has neither images/{split} nor {split}.txt{there}: the split "
        f"{split!r} needs a folder of images or a list; {remedy}"
    )


def listed_pairs(listing: Path, read: LabelReader, bands: int | None = None) -> list[Pair]:
    """Returns the pairs that a list file names, in its order.

    Raises:
        ValueError: a line is malformed, names a missing file, or repeats an image.
    """
    files: dict[str, tuple[Path, Path]] = {}
    for number, line in numbered_lines(listing):
        where, halves = f"{listing}:{number}", line.split()
        if len(halves) != 2:
            raise ValueError(
                f"{where}: {line!r} is not 'IMAGE LABEL'; the separator is one space, and paths "
                "must have none"
            )
        image, label = (written_path(listing.parent, half) for half in halves)
        for path in (image, label):
            if not path.is_file():
                raise ValueError(f"{where}: {path} does not exist; correct the line")
        name = composed(
            Path(os.path.normpath(image.absolute())).with_suffix("").as_posix(), listing
        )
        if name in files:
            raise ValueError(f"{where}: the image {halves[0]} is listed twice; remove one line")
        files[name] = image, label
    if not files:
        raise ValueError(f"{listing}: lists no image; restore it, or delete it to use folders")
    names = names_below(files)
    return [file_pair(*files[path], read, name, bands) for path, name in names.items()]


def names_below(paths: Iterable[str]) -> dict[str, str]:
    """Returns what each path is called: its last part, or where these repeat the path.

    It begins below the folder that all of them share.
    """
    parents = {path: Path(path).parent for path in paths}
    shared = os.path.commonpath(parents.values())
    below = {path: Path(path).relative_to(shared).as_posix() for path in parents}
    names = short_names(below.values())
    return {path: names[below[path]] for path in parents}
