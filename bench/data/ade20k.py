"""ADE20K as its scene parsing benchmark of 2016 has it: 150 classes, 0 for all else.

    ROOT/ADEChallengeData2016/images/training/NAME.jpg
    ROOT/ADEChallengeData2016/annotations/training/NAME.png    and the same with validation

The labels of the test images are withheld.
"""

from pathlib import Path

from bench.data.label_coding import LabelCoding
from bench.data.pairs import Pair, folder_pairs

CLASSES, VOID = 150, 255
CODING = LabelCoding({0: VOID} | {value: value - 1 for value in range(1, CLASSES + 1)})
FOLDERS = {"train": "training", "val": "validation"}


def read(root: str, split: str) -> list[Pair]:
    """Returns the pairs of one split in sorted order.

    Args:
        root: ADEChallengeData2016, or the folder that holds it.
        split: train or val.

    Raises:
        ValueError: there is no such split, or a folder or one half of a pair is missing.
    """
    if split not in FOLDERS:
        raise ValueError(
            f"ADE20K has no split {split!r} with labels; it has train and val, so set "
            "protocol.evaluation_splits=[val]"
        )
    places = [Path(root) / part for part in ("", "ADEChallengeData2016")]
    base = next((place for place in places if (place / "annotations").is_dir()), None)
    if base is None:
        raise ValueError(
            f"dataset.root={root} holds no ADEChallengeData2016; unpack ADEChallengeData2016.zip "
            "of sceneparsing.csail.mit.edu and set dataset.root=PATH"
        )
    folder = FOLDERS[split]
    return folder_pairs(base / "images" / folder, base / "annotations" / folder, CODING.read)
