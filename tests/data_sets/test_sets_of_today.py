"""Cityscapes, Pascal VOC and ADE20K in the layouts in which they are distributed."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import SIZE, image, save
from PIL import Image

from bench.config import Config
from bench.data.cityscapes import IDS
from bench.data.images import UInt8Array
from bench.data.splits import load_splits

Configured = Callable[..., Config]
NAMES = ["aachen_000000_000019", "aachen_000001_000019", "bonn_000000_000019"]


def indices(seed: int, classes: int) -> UInt8Array:
    """Draws classes at random, and void (255) in the first row."""
    drawn = np.random.default_rng(seed).integers(0, classes, SIZE).astype(np.uint8)
    drawn[0] = 255
    return drawn


def write_cityscapes(root: Path, kind: str) -> None:
    """Two cities; of the 34 ids those that are not scored stand for void."""
    for seed, name in enumerate(NAMES):
        city = name.split("_")[0]
        for split, shift in (("train", 0), ("val", 10)):
            save(
                root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", image(seed + shift)
            )
            drawn = indices(seed + shift, 19)
            table = np.full(256, 4, np.uint8)  # "static", which is not scored
            table[:19] = IDS
            stored = table[drawn] if kind == "labelIds" else drawn
            folder = root / "gtFine" / split / city
            save(folder / f"{name}_gtFine_{kind}.png", stored)
            save(folder / f"{name}_gtFine_color.png", image(0))
            save(folder / f"{name}_gtFine_instanceIds.png", stored.astype(np.uint16) * 1000)


def write_voc(root: Path) -> None:
    """Labels with the palette of VOC, whose entries are made from the bits of their index."""
    palette = np.zeros((256, 3), np.uint8)
    for index in range(256):
        for bit in range(8):
            for channel in range(3):
                palette[index, channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
    for split, shift in (("train", 0), ("val", 10)):
        for number in range(3):
            seed = shift + number
            for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
                (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image(seed)).save(root / f"JPEGImages/2007_{seed:06d}.jpg", quality=95)
            label = Image.fromarray(indices(seed, 21))
            label.putpalette(palette.tobytes())
            label.save(root / f"SegmentationClass/2007_{seed:06d}.png")
        lines = "".join(f"2007_{shift + number:06d}\n" for number in (2, 0))
        (root / f"ImageSets/Segmentation/{split}.txt").write_text(lines)


def write_ade20k(root: Path) -> None:
    for split, folder, shift in (("train", "training", 0), ("val", "validation", 10)):
        for number in range(3):
            name = f"ADE_{split}_{number + 1:08d}"
            (root / "images" / folder).mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(image(shift + number))
            picture.save(root / "images" / folder / f"{name}.jpg", quality=95)
            stored = indices(shift + number, 150) + np.uint8(1)  # void wraps round to 0
            save(root / "annotations" / folder / f"{name}.png", stored)


@pytest.mark.parametrize("kind", ["labelIds", "labelTrainIds"])
def test_cityscapes_with_either_kind_of_label(
    tmp_path: Path, configured: Configured, kind: str
) -> None:
    write_cityscapes(tmp_path, kind)
    splits = load_splits(configured("cityscapes", tmp_path), ["train", "val"])
    assert splits["train"].names == splits["val"].names == NAMES
    for shift, split in ((0, "train"), (10, "val")):
        for index, truth in enumerate(splits[split].truths):
            assert (truth == indices(index + shift, 19)).all()


@pytest.mark.parametrize("place", ["", "VOC2012", "VOCdevkit/VOC2012"])
def test_voc_wherever_it_was_unpacked(tmp_path: Path, configured: Configured, place: str) -> None:
    write_voc(tmp_path / place)
    splits = load_splits(configured("voc", tmp_path), ["train", "val"])
    assert splits["val"].names == ["2007_000012", "2007_000010"]
    for truth, seed in zip(splits["val"].truths, (12, 10), strict=True):
        assert (truth == indices(seed, 21)).all()


def test_augmented_labels_of_voc_are_read_from_their_own_folder(
    tmp_path: Path, configured: Configured
) -> None:
    write_voc(tmp_path)
    save(tmp_path / "SegmentationClassAug/2007_000001.png", indices(99, 21))
    (tmp_path / "ImageSets/Segmentation/trainaug.txt").write_text("2007_000001\n")
    splits = load_splits(configured("voc", tmp_path), ["trainaug"])
    assert (splits["trainaug"].truths[0] == indices(99, 21)).all()


@pytest.mark.parametrize("place", ["", "ADEChallengeData2016"])
def test_ade20k_with_0_as_void(tmp_path: Path, configured: Configured, place: str) -> None:
    write_ade20k(tmp_path / place)
    config = configured("ade20k", tmp_path)
    assert len(config.dataset.classes) == len(config.dataset.colours) == 150
    splits = load_splits(config, ["train", "val"])
    assert splits["train"].names == [f"ADE_train_{number:08d}" for number in (1, 2, 3)]
    for index, truth in enumerate(splits["val"].truths):
        assert (truth == indices(index + 10, 150)).all()


Spoil = Callable[[Path], Any]
WRONG: list[tuple[str, Callable[..., None], Spoil, str, str]] = [
    ("cityscapes", lambda root: write_cityscapes(root, "labelIds"),
     lambda root: shutil.rmtree(root / "gtFine"), "train",
     r"gtFine/train: no such folder; unpack leftImg8bit_trainvaltest\.zip"),
    ("cityscapes", lambda root: write_cityscapes(root, "labelIds"),
     lambda root: (root / f"gtFine/val/bonn/{NAMES[2]}_gtFine_labelIds.png").unlink(), "val",
     r"bonn_000000_000019_gtFine_labelIds\.png: no such file"),
    ("cityscapes", lambda root: write_cityscapes(root, "labelIds"), lambda root: None, "test",
     r"leftImg8bit/test: no such folder; .* set protocol\.evaluation_splits=\[val\]$"),
    ("cityscapes", lambda root: write_cityscapes(root, "labelTrainIds"),
     lambda root: (root / f"leftImg8bit/train/bonn/{NAMES[2]}_leftImg8bit.png").unlink(), "train",
     r"no image belongs to bonn/bonn_000000_000019_gtFine_labelTrainIds of .*gtFine/train"),
    ("voc", write_voc,
     lambda root: (root / "ImageSets/Segmentation/val.txt").write_bytes(b"\r\n \r\n"), "val",
     r"dataset\.root=.*Pascal VOC 2012 has no image in the split 'val'; complete its .*list"),
    ("voc", write_voc, lambda root: shutil.rmtree(root / "ImageSets"), "train",
     r"holds no ImageSets/Segmentation; unpack VOCtrainval_11-May-2012\.tar"),
    ("voc", write_voc, lambda root: None, "test",
     r"no split 'test'; it has train, val: .*set protocol\.evaluation_splits=\[val\]"),
    ("voc", write_voc, lambda root: (root / "JPEGImages/2007_000002.jpg").unlink(), "train",
     r"train\.txt:1: .*2007_000002\.jpg does not exist"),
    ("ade20k", write_ade20k, lambda root: None, "test",
     r"no split 'test' with labels; .* set protocol\.evaluation_splits=\[val\]"),
    ("ade20k", write_ade20k, lambda root: shutil.rmtree(root / "annotations"), "val",
     r"holds no ADEChallengeData2016; unpack ADEChallengeData2016\.zip"),
    ("ade20k", write_ade20k,
     lambda root: save(root / "annotations/validation/ADE_val_00000001.png",
                       np.full(SIZE, 151, np.uint8)), "val", "label value 151 belongs to no class"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "write", "spoil", "split", "message"), WRONG, ids=[case[-1] for case in WRONG]
)
def test_what_is_missing_is_said_with_how_to_get_it(
    name: str, write: Callable[[Path], None], spoil: Spoil, split: str, message: str,
    tmp_path: Path, configured: Configured,
) -> None:  # fmt: skip
    write(tmp_path)
    spoil(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_splits(configured(name, tmp_path), [split])
