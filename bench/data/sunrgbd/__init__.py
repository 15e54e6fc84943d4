"""SUN RGB-D, 37 indoor classes, in each of the forms it is passed around in.

    prepared    ROOT/images/SPLIT, ROOT/labels/SPLIT, by `python -m bench.data prepare sunrgbd`
    official    ROOT/SUNRGBD and ROOT/SUNRGBDtoolbox, see bench/data/sunrgbd/official.py
    PNG         ROOT/SUNRGBD-train_images and -test_images, each img-000001.jpg and on, and one
                folder of labels img-000001.png and on, those of the test images first
    lists       ROOT/train37.txt and test37.txt, lines of 'IMAGE DEPTH LABEL'

Stored labels are 0 (ignored) and 1 to 37; they become void and 0 to 36.
"""

from pathlib import Path

from bench.data.label_coding import LabelCoding
from bench.data.pairs import Pair, file_pair, folder_pairs
from bench.data.prepare import is_complete
from bench.data.sunrgbd import official as sunrgbd_official
from bench.data.text_file import numbered_lines, written_path

CLASSES = 37
VOID = 255
CODING = LabelCoding({0: VOID} | {value: value - 1 for value in range(1, CLASSES + 1)})

# Where the labels of the PNG release lie once unpacked depends on who unpacked them.
LABEL_FOLDERS = ("labels", "label37", "train_test_labels", "sunrgbd_train_test_labels")


def read(root: str, split: str) -> list[Pair]:
    """Returns the pairs of one split.

    Args:
        root: the folder that holds one of the forms above.
        split: train or test.

    Raises:
        ValueError: the form is not recognised, or something of it is missing.
    """
    folder = Path(root)
    if split not in ("train", "test"):
        raise ValueError(f"SUN RGB-D has no split {split!r}; it has train and test")
    if (folder / "images").is_dir():
        if not is_complete(folder):
            raise ValueError(
                f"{root}: the preparation did not finish; call `python -m bench.data prepare "
                "sunrgbd ...` again, it goes on where it stopped"
            )
        return folder_pairs(folder / "images" / split, folder / "labels" / split)
    if (folder / "SUNRGBDtoolbox").is_dir():
        return sunrgbd_official.pairs(folder, split, CODING)
    if (folder / "SUNRGBD-train_images").is_dir():
        return _png_pairs(folder, split)
    if (folder / f"{split}37.txt").is_file():
        return _listed_pairs(folder / f"{split}37.txt", split)
    raise ValueError(
        f"dataset.root={root} holds SUN RGB-D in no known form: neither images/, SUNRGBDtoolbox/ "
        "and SUNRGBD/, SUNRGBD-train_images/ nor train37.txt; see bench/data/sunrgbd/__init__.py"
    )


def _png_pairs(folder: Path, split: str) -> list[Pair]:
    """Pairs the PNG release: train picture i has label i + 5,050, after those of the test set."""
    pictures = {s: _numbered(folder / f"SUNRGBD-{s}_images", ".jpg") for s in ("train", "test")}
    places = [folder / name for name in LABEL_FOLDERS if (folder / name).is_dir()]
    if not places:
        raise ValueError(
            f"{folder}: no folder of labels; unpack sunrgbd_train_test_labels.tar.gz into "
            f"{folder / LABEL_FOLDERS[0]}"
        )
    labels = _numbered(places[0], ".png")
    tests, trains = len(pictures["test"]), len(pictures["train"])
    if len(labels) != tests + trains:
        raise ValueError(
            f"{places[0]}: {len(labels)} labels for {tests} test and {trains} training images; "
            "labels count the test images first, so none may be missing"
        )
    offset = tests if split == "train" else 0
    return [
        file_pair(image, labels[offset + index], CODING.read, f"{split}-{index + 1:06d}")
        for index, image in enumerate(pictures[split])
    ]


def _numbered(folder: Path, suffix: str) -> list[Path]:
    """Lists img-000001 and on.

    Raises:
        ValueError: the folder is missing or empty, or a number is.
    """
    paths = sorted(folder.glob(f"img-*{suffix}")) if folder.is_dir() else []
    if not paths:
        raise ValueError(f"{folder}: holds no img-000001{suffix}; unpack the release there")
    for number, path in enumerate(paths, start=1):
        if path.stem != f"img-{number:06d}":
            raise ValueError(f"{folder}: img-{number:06d}{suffix} is missing; fetch it again")
    return paths


def _listed_pairs(listing: Path, split: str) -> list[Pair]:
    pairs: list[Pair] = []
    for number, line in numbered_lines(listing):
        paths = line.split()
        if len(paths) != 3:
            raise ValueError(f"{listing}:{number}: {line!r} is not 'IMAGE DEPTH LABEL'")
        image, label = (written_path(listing.parent, path) for path in (paths[0], paths[2]))
        pairs.append(file_pair(image, label, CODING.read, f"{split}-{len(pairs) + 1:06d}"))
    if not pairs:
        raise ValueError(f"{listing}: lists no image")
    return pairs
