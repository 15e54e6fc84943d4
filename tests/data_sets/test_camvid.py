"""The CamVid reader, on small copies of its layout and on the real set."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.command_line import compose_config
from bench.config import Config
from bench.data.camvid import read
from bench.data.class_weights import class_weights
from bench.data.splits import load_splits

# The 367 training labels; the weights follow from them (median of 11 classes, void in the
# denominator).
TRAIN_PIXELS = [
    10682767, 14750079, 623349, 20076880, 2845085, 6166762, 743859, 714595, 3719877, 405385, 184967,
]  # fmt: skip
MEDIAN_FREQUENCY = [
    0.2793, 0.2017, 4.7865, 0.1490, 1, 0.4217, 3.8467, 1.9736, 0.7889, 6.3747, 8.8587,
]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small CamVid whose path has a space and letters outside ASCII."""
    root = tmp_path / "Straßen daten"
    rng = np.random.default_rng(0)
    for split, names in {"train": "abcd", "val": "ef", "test": "gh"}.items():
        (root / split).mkdir(parents=True)
        (root / f"{split}annot").mkdir()
        for name in names:
            image = rng.integers(0, 255, (24, 32, 3), np.uint8)
            label = rng.integers(0, 12, (24, 32), np.uint8)
            Image.fromarray(image).save(root / split / f"{name}.png")
            Image.fromarray(label).save(root / f"{split}annot" / f"{name}.png")
    return root


def listing(root: Path, split: str, names: str, end: str = "\n") -> None:
    lines = [
        f"/SegNet/CamVid/{split}/{n}.png /SegNet/CamVid/{split}annot/{n}.png{end}" for n in names
    ]
    (root / f"{split}.txt").write_text("".join(lines), newline="")


def config(root: Path, *overrides: str) -> Config:
    composed = compose_config(["dataset=camvid", "protocol.image_size=[24, 32]", *overrides])
    composed.dataset.root = str(root)
    return composed


def test_bare_folders_are_read_in_sorted_order(root: Path) -> None:
    assert [pair.name for pair in read(str(root), "train")] == list("abcd")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_a_list_file_gives_order_and_selection(root: Path, end: str) -> None:
    listing(root, "train", "cab", end)
    pairs = read(str(root), "train")
    assert [pair.name for pair in pairs] == list("cab")
    expected = np.asarray(Image.open(root / "trainannot" / "c.png"))
    assert (pairs[0].label() == expected).all()


def test_labels_stay_integers_and_images_are_resized(root: Path) -> None:
    splits = load_splits(config(root, "protocol.image_size=[12, 16]"), ["train"])
    train = splits["train"]
    images, labels = next(iter(train.batches([np.arange(4)])))
    assert images.shape == (4, 3, 12, 16)
    assert labels.shape == (4, 12, 16)
    assert labels.dtype == torch.uint8
    assert train.truths[0].shape == (24, 32)


def test_limit_takes_the_first_images(root: Path) -> None:
    splits = load_splits(config(root, "dataset.limit=2"), ["train", "test"])
    assert [splits[s].names for s in splits] == [["a", "b"], ["g", "h"]]


def duplicate_in_list(root: Path) -> None:
    listing(root, "train", "aab")


def listed_but_missing(root: Path) -> None:
    listing(root, "train", "ax")


def malformed_list(root: Path) -> None:
    (root / "train.txt").write_text("train/a.png\n")


def empty_list(root: Path) -> None:
    (root / "train.txt").write_text("\n")


def no_root(root: Path) -> None:
    shutil.rmtree(root)


def empty_split(root: Path) -> None:
    for path in (root / "train").iterdir():
        path.unlink()


def image_without_label(root: Path) -> None:
    (root / "trainannot" / "b.png").unlink()


def label_without_image(root: Path) -> None:
    (root / "train" / "b.png").unlink()


def two_images_of_one_name(root: Path) -> None:
    shutil.copy(root / "train" / "a.png", root / "train" / "a.jpg")


def other_size(root: Path) -> None:
    Image.fromarray(np.zeros((20, 32), np.uint8)).save(root / "trainannot" / "b.png")


def value_out_of_range(root: Path) -> None:
    Image.fromarray(np.full((24, 32), 12, np.uint8)).save(root / "trainannot" / "b.png")


def coloured_label(root: Path) -> None:
    Image.fromarray(np.full((24, 32, 3), 77, np.uint8)).save(root / "trainannot" / "b.png")


def zero_bytes(root: Path) -> None:
    (root / "train" / "b.png").write_bytes(b"")


def same_picture_in_two_splits(root: Path) -> None:
    shutil.copy(root / "train" / "a.png", root / "test" / "z.png")
    shutil.copy(root / "trainannot" / "a.png", root / "testannot" / "z.png")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (duplicate_in_list, r"train\.txt:2: a is listed twice"),
        (listed_but_missing, r"train\.txt:2: .*x\.png does not exist"),
        (malformed_list, r"train\.txt:1: 'train/a\.png' is not 'IMAGE LABEL'"),
        (empty_list, r"train\.txt: lists no image"),
        (no_root, r"dataset\.root is .*Straßen daten, which is no folder"),
        (empty_split, r"train: holds no "),
        (image_without_label, r"trainannot: nothing pairs with b"),
        (label_without_image, r"train: nothing pairs with b"),
        (two_images_of_one_name, r"a\.png and a\.jpg share one name"),
        (other_size, r"b\.png: the label is 32x20 and its image 32x24"),
        (value_out_of_range, r"b\.png: label value 12 is neither a class \(0\.\.10\) nor void"),
        (coloured_label, r"b\.png: colour \[77, 77, 77\] belongs to no class"),
        (zero_bytes, r"b\.png: the file is empty"),
        (same_picture_in_two_splits, r"test/z and train/a have the same pixels"),
    ],
)
def test_bad_data_is_one_clear_sentence(root: Path, spoil: Any, message: str) -> None:
    spoil(root)
    with pytest.raises(ValueError, match=message):
        load_splits(config(root), ["train", "test"])


def test_the_digest_sees_one_changed_pixel(root: Path) -> None:
    before = load_splits(config(root), ["train"])["train"].digest
    image = np.asarray(Image.open(root / "train" / "c.png")).copy()
    image[5, 5, 0] ^= 1
    Image.fromarray(image).save(root / "train" / "c.png")
    assert load_splits(config(root), ["train"])["train"].digest != before


def test_the_real_set_has_the_known_counts_and_weights(camvid_root: Path) -> None:
    composed = compose_config(["dataset=camvid", f"dataset.root={camvid_root}"])
    splits = load_splits(composed, ["train", "val", "test"])
    assert [len(split.names) for split in splits.values()] == [367, 101, 233]
    # As every record of ours on the real set has them.
    assert {name: split.digest for name, split in splits.items()} == {
        "train": "01d5b565274dde33", "val": "6be929cb80f41b7c", "test": "1cdbd6058287cf91",
    }  # fmt: skip
    pixels = splits["train"].pixels
    assert pixels[:, :11].sum(axis=0).tolist() == TRAIN_PIXELS
    weights = class_weights("median_frequency", pixels, composed.dataset)
    assert weights.round(4).tolist() == MEDIAN_FREQUENCY
