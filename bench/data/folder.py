"""A user's own data: pictures and labels in folders, or named by list files.

    ROOT/images/SPLIT/NAME.*  with  ROOT/labels/SPLIT/NAME.*      paired by name, or
    ROOT/SPLIT.txt            lines of 'IMAGE LABEL', paths relative to ROOT, one space

Labels are pictures of class values (grey or palette) or of class colours, in any size; image and
label of a pair have one size. Which value or colour means which class is an argument.
"""

from pathlib import Path

from bench.data.label_coding import LabelCoding
from bench.data.pairs import Pair, file_pair, folder_pairs


def read(
    root: str,
    split: str,
    *,
    colours: list[list[int]],
    void: int,
    values: list[int] | None = None,
    void_values: list[int] | None = None,
    void_colours: list[list[int]] | None = None,
) -> list[Pair]:
    """Returns the pairs of one split, in the order of its list file or sorted by name.

    Args:
        root: the folder of the data.
        split: the name of the split.
        colours: of the K classes, RGB, in coloured labels.
        void: the index that void gets.
        values: of the K classes, in labels of values; None: 0 to K-1.
        void_values: values that mean void; None: `void` itself.
        void_colours: colours that mean void.

    Raises:
        ValueError: a folder, file or half of a pair is missing, a list is malformed, or two
            classes share a value.
    """
    coding = label_coding(colours, void, values, void_values, void_colours)
    folder = Path(root)
    if not folder.is_dir():
        raise ValueError(f"dataset.root is {root}, which is no folder; set dataset.root=PATH")
    listing = folder / f"{split}.txt"
    if listing.is_file():
        return listed_pairs(listing, coding)
    images, labels = folder / "images" / split, folder / "labels" / split
    if not images.is_dir():
        raise ValueError(
            f"dataset.root={root} has neither {images.relative_to(folder)} nor {listing.name}: "
            f"the split {split!r} needs a folder of images or a list; see bench/data/folder.py"
        )
    return folder_pairs(images, labels, coding.read)


def label_coding(
    colours: list[list[int]],
    void: int,
    values: list[int] | None = None,
    void_values: list[int] | None = None,
    void_colours: list[list[int]] | None = None,
) -> LabelCoding:
    """Makes the coding of K classes; the arguments are those of `read`.

    Raises:
        ValueError: two classes share a value, or the number of values is not K.
    """
    values = list(range(len(colours))) if values is None else values
    if len(values) != len(colours) or len({*values}) != len(values):
        raise ValueError(
            f"dataset.reader.values is {values}; it must be {len(colours)} different label values, "
            "one a class"
        )
    if not all(0 <= value <= 255 for value in [*values, *(void_values or [])]):
        raise ValueError(f"dataset.reader.values is {values}; label values are 0..255")
    # Classes come last: a value that is both a class and void is the class.
    by_value = dict.fromkeys([void] if void_values is None else void_values, void)
    by_value |= {value: index for index, value in enumerate(values)}
    by_colour = {(r, g, b): void for r, g, b in void_colours or []}
    by_colour |= {(r, g, b): index for index, (r, g, b) in enumerate(colours)}
    return LabelCoding(by_value, by_colour)


def listed_pairs(listing: Path, coding: LabelCoding) -> list[Pair]:
    """Returns the pairs that a list file names, in its order.

    Raises:
        ValueError: a line is malformed, names a missing file, or repeats a name.
    """
    pairs: dict[str, Pair] = {}
    for number, line in enumerate(listing.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if not line.strip():
            continue
        where, halves = f"{listing}:{number}", line.split()
        if len(halves) != 2:
            raise ValueError(
                f"{where}: {line.strip()!r} is not 'IMAGE LABEL'; the separator is one space, and "
                "paths must have none"
            )
        image, label = (listing.parent / half for half in halves)
        for path in (image, label):
            if not path.is_file():
                raise ValueError(f"{where}: {path} does not exist; correct the line")
        if image.stem in pairs:
            raise ValueError(f"{where}: the name {image.stem} is listed twice; remove one line")
        pairs[image.stem] = file_pair(image, label, coding.read)
    if not pairs:
        raise ValueError(f"{listing}: lists no image; restore it, or delete it to use folders")
    return list(pairs.values())
