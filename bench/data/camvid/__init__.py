"""CamVid, in the layout of the authors' SegNet tutorial or as originally distributed.

ROOT/train.txt lists `/SegNet/CamVid/train/X.png /SegNet/CamVid/trainannot/X.png`; of these paths
only the file names are usable, the folders being ROOT/train and ROOT/trainannot. Without list
files the folders are read as they are.

The original has pictures X.png and labels X_L.png of 720x960, coloured by 32 classes. Where ROOT
holds no train folder with its trainannot, such files are looked for in all folders under it; they
get the tutorial's splits, and the 32 classes are grouped to 11.
"""

from pathlib import Path

from bench.data.camvid import fetch, original
from bench.data.files import composed
from bench.data.pairs import Pair, folder_pairs
from bench.data.text_file import numbered_lines


def read(root: str, split: str) -> list[Pair]:
    """Returns the pairs of one split, in the order of its list file or sorted by name.

    Args:
        root: the folder that holds train/, trainannot/, train.txt and so on, or the original.
        split: train, val or test.

    Raises:
        ValueError: a folder, a file or one half of a pair is missing, or a name occurs twice.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise ValueError(
            f"dataset.root is {root}, which is no folder; set dataset.root=PATH to the CamVid "
            "folder of the SegNet tutorial (train/, trainannot/, train.txt, ...), or let "
            "dataset.download=true fetch it"
        )
    images, labels = folder / split, folder / f"{split}annot"
    if not labels.is_dir():
        labels_of = original.find(folder)
        if labels_of:
            return original.pairs(labels_of, fetch.released_names(split), root)
    pairs = folder_pairs(images, labels, original.CODING.read)
    listing = folder / f"{split}.txt"
    return _in_listed_order(listing, pairs) if listing.is_file() else pairs


def download(root: str) -> None:
    """Fetches what is missing of the released set; see bench/data/camvid/fetch.py."""
    fetch.download(Path(root))


def changed_files(root: str) -> list[str]:
    """Lists the pictures under root that have a released name and are not the released files."""
    return fetch.changed(Path(root))


def _in_listed_order(listing: Path, pairs: list[Pair]) -> list[Pair]:
    available = {pair.name: pair for pair in pairs}
    listed: dict[str, Pair] = {}
    for number, line in numbered_lines(listing):
        image = _image(line, f"{listing}:{number}")
        name = composed(image.stem, listing)
        if name in listed:
            raise ValueError(f"{listing}:{number}: {name} is listed twice; remove one line")
        if name not in available:
            raise ValueError(
                f"{listing}:{number}: {listing.parent / listing.stem / image.name} does not exist; "
                "complete the folder or remove the line"
            )
        listed[name] = available[name]
    if not listed:
        raise ValueError(f"{listing}: lists no image; restore it or delete it to use the folder")
    return list(listed.values())


def _image(line: str, where: str) -> Path:
    """Returns the image of a line 'IMAGE LABEL'; both end in the same file name."""
    halves = line.replace("\\", "/").split()
    if len(halves) == 2:
        image, label = Path(halves[0]), Path(halves[1])
        if image.name == label.name:
            return image
    raise ValueError(
        f"{where}: {line!r} is not 'IMAGE LABEL' with one file name for both; "
        "the separator is one space"
    )
