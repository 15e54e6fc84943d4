"""Cityscapes as it is distributed: a folder for each city, fine labels of 34 ids or of 19 classes.

    ROOT/leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png
    ROOT/gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png         as shipped, or
    ROOT/gtFine/SPLIT/CITY/NAME_gtFine_labelTrainIds.png    as the set's own scripts write them

The labels of the test set are withheld: its files are void, so evaluate on `val`.
"""

from pathlib import Path

from bench.data.files import picture_files, some
from bench.data.label_coding import LabelCoding
from bench.data.pairs import Pair, file_pair, instead

VOID = 255
# The ids of the 19 classes that are scored, in the order of their train ids.
IDS = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
CODINGS = {
    "labelTrainIds": LabelCoding({index: index for index in range(len(IDS))} | {VOID: VOID}),
    "labelIds": LabelCoding(
        dict.fromkeys(range(34), VOID) | {value: index for index, value in enumerate(IDS)}
    ),
}
IMAGE = "_leftImg8bit"


def read(root: str, split: str) -> list[Pair]:
    """Returns the pairs of one split, named CITY_SEQUENCE_FRAME, in sorted order.

    Args:
        root: the folder that holds leftImg8bit and gtFine.
        split: train, val or test.

    Raises:
        ValueError: a folder, the label of an image, or the image of a label is missing.
    """
    images, labels = (Path(root) / part / split for part in ("leftImg8bit", "gtFine"))
    for folder in (images, labels):
        if not folder.is_dir():
            remedy = instead(split, [path.name for path in folder.parent.glob("*/")])
            raise ValueError(
                f"{folder}: no such folder; unpack leftImg8bit_trainvaltest.zip and "
                "gtFine_trainvaltest.zip of cityscapes-dataset.com in dataset.root=PATH"
                f"{', or ' if remedy else ''}{remedy}"
            )
    stored = picture_files(labels).paths
    kind = next((k for k in CODINGS if any(n.endswith(f"_gtFine_{k}") for n in stored)), "labelIds")
    pairs = []
    for below, image in picture_files(images).paths.items():
        name = below.removesuffix(IMAGE)
        label = stored.pop(f"{name}_gtFine_{kind}", None)
        if label is None:
            raise ValueError(
                f"{labels / name}_gtFine_{kind}.png: no such file; complete gtFine, with {kind} "
                f"for all images, or remove {image}"
            )
        pairs.append(file_pair(image, label, CODINGS[kind].read, name.rpartition("/")[2]))
    alone = [name for name in stored if name.endswith(f"_gtFine_{kind}")]
    if alone:
        raise ValueError(
            f"{images}: no image belongs to {some(alone)} of {labels}; complete leftImg8bit, or "
            "remove these labels"
        )
    return pairs
