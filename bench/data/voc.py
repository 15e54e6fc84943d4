"""Pascal VOC 2012, segmentation: lists of names, palette labels, borders of objects void.

VOC2012/ImageSets/Segmentation/SPLIT.txt    a name a line; train, val, trainval
VOC2012/JPEGImages/NAME.jpg
VOC2012/SegmentationClass/NAME.png          0 background, 1 to 20, border 255
VOC2012/SegmentationClassAug/NAME.png       of lists that end in aug, where somebody added them
"""

from pathlib import Path

from bench.data.label_coding import label_coding
from bench.data.pairs import Pair, file_pair, instead
from bench.data.text_file import numbered_lines, written_path

LISTS = Path("ImageSets/Segmentation")
BORDER = [224, 224, 192]  # the palette's colour of 255


def read(root: str, split: str, *, colours: list[list[int]], void: int) -> list[Pair]:
    """Returns the pairs of one split, in the order of its list.

    Args:
        root: VOC2012, or a folder that holds it or VOCdevkit.
        split: the name of a list, such as train, val or trainaug.
        colours: of the 21 classes.
        void: the value of borders, and the index that they get.

    Raises:
        ValueError: a folder or file is missing.
    """
    places = [Path(root) / part for part in ("", "VOC2012", "VOCdevkit/VOC2012")]
    base = next((place for place in places if (place / LISTS).is_dir()), None)
    if base is None:
        raise ValueError(
            f"dataset.root={root} holds no {LISTS}; unpack VOCtrainval_11-May-2012.tar of "
            "host.robots.ox.ac.uk/pascal/VOC/voc2012 and set dataset.root=PATH"
        )
    listing = base / LISTS / f"{split}.txt"
    if not listing.is_file():
        known = sorted(path.stem for path in (base / LISTS).glob("*.txt"))
        remedy = instead(split, known) or "give the name of one of them"
        raise ValueError(
            f"{listing}: no such file, so there is no split {split!r}; it has "
            f"{', '.join(known) or 'none'}: {remedy}"
        )
    coding = label_coding(colours, void, void_colours=[BORDER])
    labels = base / ("SegmentationClassAug" if split.endswith("aug") else "SegmentationClass")
    pairs: dict[str, Pair] = {}
    for number, line in numbered_lines(listing):
        name = Path(line.split()[0]).stem
        image = written_path(base, f"JPEGImages/{name}.jpg")
        label = written_path(labels, f"{name}.png")
        for path in (image, label):
            if not path.is_file():
                raise ValueError(f"{listing}:{number}: {path} does not exist; complete the folder")
        if name in pairs:
            raise ValueError(f"{listing}:{number}: {name} is listed twice; remove one line")
        pairs[name] = file_pair(image, label, coding.read)
    return list(pairs.values())
