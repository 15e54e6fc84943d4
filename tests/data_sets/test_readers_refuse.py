"""Bad data of every reader are one sentence that names the file and the remedy."""

import csv
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from PIL import Image
from synthetic_files import LAYOUTS

from bench.config import Config
from bench.data.pairs import file_pair
from bench.data.splits import load_splits
from bench.data.sunrgbd import official as sunrgbd_official

COUNTS, SIZE = {"train": 4, "test": 3}, [24, 32]
Configured = Callable[..., dict[str, Any]]


def picture(path: Path, colour: Any = 0, size: tuple[int, int] = (32, 24)) -> None:
    Image.new("RGB" if isinstance(colour, tuple) else "L", size, colour).save(path)


def first(root: Path, folder: str) -> Path:
    return sorted((root / folder).iterdir())[0]


def refused(config: Config, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_splits(config, ["train", "test"])


FOLDER: list[tuple[Callable[[Path], object], str]] = [
    (lambda root: shutil.rmtree(root / "images"), r"neither images/train nor train\.txt"),
    (lambda root: first(root, "labels/train").unlink(), r"labels/train: nothing pairs with train_"),
    (lambda root: first(root, "images/train").unlink(), r"images/train: nothing pairs with train_"),
    (lambda root: first(root, "images/train").write_bytes(b""), "the file is empty"),
    (lambda root: first(root, "labels/train").write_bytes(b"<html>"), "not a readable image"),
    (
        lambda root: picture(first(root, "labels/train"), (7, 7, 7)),
        r"colour \[7, 7, 7\] belongs to",
    ),
    (lambda root: picture(first(root, "labels/train"), 99), "label value 99 belongs to no class"),
    (
        lambda root: picture(first(root, "labels/train"), 0, (30, 24)),
        "label is 30x24 and its image",
    ),
    (
        lambda root: (
            shutil.copytree(root / "images/train", root / "images/test", dirs_exist_ok=True)
            and shutil.copytree(root / "labels/train", root / "labels/test", dirs_exist_ok=True)
        ),
        "test/train_00000 and train/train_00000 have the same pixels",
    ),
    (lambda root: (root / "train.txt").write_text("a.png\n"), r"train\.txt:1: 'a\.png' is not"),
    (lambda root: (root / "train.txt").write_text("a.png b.png\n"), r"train\.txt:1: .*a\.png does"),
    (lambda root: (root / "train.txt").write_text("\n"), r"train\.txt: lists no image"),
    (
        lambda root: (root / "train.txt").write_text(
            2 * "images/train/train_00000.png labels/train/train_00000.png\n"
        ),
        r"train\.txt:2: the image images/train/train_00000\.png is listed",
    ),
]


@pytest.mark.parametrize(("spoil", "message"), FOLDER, ids=[message for _, message in FOLDER])
def test_folders(spoil: Any, message: str, tmp_path: Path, configured: Configured) -> None:
    LAYOUTS["folder"](tmp_path, COUNTS, SIZE)
    spoil(tmp_path)
    refused(configured("folder", tmp_path), message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"classes\.yaml: no such file; write the classes there"),
        ("classes: [a, [b]]", r"classes\.yaml: must say 'classes:"),
        ("classes: {a: [1, 2, 300]}", r"classes\.yaml: must say 'classes:"),
        ("classes: {a: ", r"classes\.yaml: not readable as YAML"),
        ("[]", r"classes\.yaml: must hold keys"),
        ("classes: {a: [1, 2, 3]}", r"dataset\.classes is \['a'\]; it must be at least two names"),
        ("classes: {a: [1, 2, 3], b: [2, 2, 2]}\nvoid: 1", r"dataset\.void is 1; .* from 2 to 255"),
    ],
)
def test_class_files(
    text: str | None, message: str, tmp_path: Path, configured: Configured
) -> None:
    if text is not None:
        (tmp_path / "classes.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        configured("folder", tmp_path)


def edit_manifest(root: Path, **changed: str) -> None:
    """Changes cells of the first row of the manifest, the key `header` its first line."""
    with (root / "manifest.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    rows[0] = changed.pop("header", ",".join(rows[0])).split(",")
    for name, value in changed.items():
        if name not in rows[0]:
            rows = [[*rows[0], name], *([*row, ""] for row in rows[1:])]
        rows[1][["image", "label", "source", "split"].index(name)] = value
    with (root / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def own_mapping(root: Path, text: str) -> None:
    (root / "mappings").mkdir()
    (root / "mappings" / "camvid.yaml").write_text(text)


ROADS: list[tuple[Callable[[Path], object], str]] = [
    (lambda root: (root / "manifest.csv").unlink(), r"manifest\.csv: no such file"),
    (lambda root: edit_manifest(root, image="x.png"), r"manifest\.csv:2: .*x\.png does not exist"),
    (
        lambda root: edit_manifest(root, source="mars"),
        r"source 'mars' has no mapping; write .*kitti",
    ),
    (lambda root: edit_manifest(root, source=""), r"manifest\.csv:2: the row is incomplete"),
    (
        lambda root: edit_manifest(root, source="../evil"),
        r"manifest\.csv:2: source '\.\./evil' is no plain name",
    ),
    (
        lambda root: edit_manifest(root, split="tset"),
        r"manifest\.csv:2: split 'tset' is none of train, val, test",
    ),
    (lambda root: edit_manifest(root, header="image,label,origin"), "has no column 'source'"),
    (lambda root: shutil.rmtree(root / "camvid/test"), r"camvid/test: no such folder"),
    (
        lambda root: own_mapping(root, "classes: {tree: {value: 5}}"),
        r"camvid\.yaml: class 'tree' has the target None",
    ),
    (
        lambda root: own_mapping(root, "classes: {tree: {value: 5, target: Oak}}"),
        r"camvid\.yaml: class 'tree' has the target 'Oak'; it must be one of Sky, .*, void",
    ),
    (
        lambda root: own_mapping(root, "classes: {tree: {value: 5, target: Tree}}"),
        r"label value \d+ belongs to no class \(known: 5\)",
    ),
    (lambda root: own_mapping(root, "classes: {}"), r"camvid\.yaml: must have 'classes:"),
    (
        lambda root: next((root / "stanford_background").glob("*.txt")).write_text("0 1\n2 x\n"),
        r"regions\.txt: not a matrix of integers",
    ),
    (
        lambda root: next((root / "labelme").glob("*.xml")).write_text("<annotation>"),
        r"\.xml: not a LabelMe annotation",
    ),
]


@pytest.mark.parametrize(("spoil", "message"), ROADS, ids=[message for _, message in ROADS])
def test_road_scenes(spoil: Any, message: str, tmp_path: Path, configured: Configured) -> None:
    LAYOUTS["road_scenes"](tmp_path, COUNTS, SIZE)
    spoil(tmp_path)
    refused(configured("road_scenes", tmp_path), message)


def test_road_scenes_without_any_test_set(tmp_path: Path, configured: Configured) -> None:
    LAYOUTS["road_scenes"](tmp_path, COUNTS, SIZE)
    shutil.rmtree(tmp_path / "camvid")
    with pytest.raises(ValueError, match=r"no row of split 'test', and there is no .*camvid to"):
        load_splits(configured("road_scenes", tmp_path), ["test"])


ROOMS: list[tuple[Callable[[Path], object], str]] = [
    (lambda root: shutil.rmtree(root / "SUNRGBD-train_images"), "in no known form"),
    (lambda root: shutil.rmtree(root / "labels"), "no folder of labels"),
    (lambda root: first(root, "labels").unlink(), r"img-000001\.png is missing"),
    (lambda root: sorted((root / "labels").iterdir())[-1].unlink(), "6 labels for 3 test and 4"),
    (lambda root: picture(first(root, "labels"), 38), r"label value 38 belongs to no class"),
    (lambda root: (root / "images").mkdir(), "the preparation did not finish"),
]


@pytest.mark.parametrize(("spoil", "message"), ROOMS, ids=[message for _, message in ROOMS])
def test_the_png_release(spoil: Any, message: str, tmp_path: Path, configured: Configured) -> None:
    LAYOUTS["sunrgbd_png"](tmp_path, COUNTS, SIZE)
    spoil(tmp_path)
    refused(configured("sunrgbd", tmp_path), message)


def test_an_unknown_split_of_sun_rgbd(tmp_path: Path, configured: Configured) -> None:
    with pytest.raises(ValueError, match="no split 'val'"):
        load_splits(configured("sunrgbd", tmp_path), ["val"])


def old_matlab(root: Path) -> None:
    path = root / "SUNRGBDtoolbox/Metadata/SUNRGBD2Dseg.mat"
    scipy.io.savemat(path, {"SUNRGBD2Dseg": np.zeros(3)})


def new_matlab(root: Path) -> None:
    source = root / "SUNRGBDtoolbox/Metadata/SUNRGBD2Dseg.mat"
    header = b"MATLAB 7.3 MAT-file".ljust(124) + (0x0200).to_bytes(2, "little") + b"IM"
    target = root / "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat"
    target.write_bytes(header.ljust(512, b"\0") + source.read_bytes()[512:])


OFFICIAL: list[tuple[Callable[[Path], object], str]] = [
    (old_matlab, r"SUNRGBD2Dseg\.mat: not a MATLAB 7\.3 \(HDF5\) file"),
    (new_matlab, r"allsplit\.mat: a MATLAB 7\.3 file, but the official one is older"),
    (
        lambda root: (root / "SUNRGBDtoolbox/Metadata/SUNRGBDMeta.mat").write_bytes(b"x" * 200),
        r"SUNRGBDMeta\.mat: not a MATLAB file",
    ),
    (
        lambda root: (root / "SUNRGBDtoolbox/Metadata/SUNRGBDMeta.mat").unlink(),
        r"SUNRGBDMeta\.mat: no such file; unpack",
    ),
    (
        lambda root: scipy.io.savemat(
            root / "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat", {"other": 1}
        ),
        r"allsplit\.mat: holds no alltrain",
    ),
    (
        lambda root: next(root.glob("SUNRGBD/kv1/train*/image/*.jpg")).unlink(),
        r"\.jpg: no such file; unpack SUNRGBD\.zip",
    ),
]


@pytest.mark.parametrize(("spoil", "message"), OFFICIAL, ids=[message for _, message in OFFICIAL])
def test_the_official_release(
    spoil: Any, message: str, tmp_path: Path, configured: Configured
) -> None:
    pytest.importorskip("h5py", reason="the official layout needs the extra sunrgbd")
    LAYOUTS["sunrgbd_official"](tmp_path, COUNTS, SIZE)
    spoil(tmp_path)
    refused(configured("sunrgbd", tmp_path), message)


def test_a_missing_h5py_is_named_with_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ValueError, match=r"pip install 'segbench\[sunrgbd\]'"):
        sunrgbd_official._label_maps(tmp_path / "x.mat", 0)


def test_a_set_that_cannot_be_downloaded_says_so(tmp_path: Path, configured: Configured) -> None:
    LAYOUTS["folder"](tmp_path, COUNTS, SIZE)
    refused(configured("folder", tmp_path, "dataset.download=true"), "Folder cannot be downloaded")


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "", "a\0b"])
def test_no_image_is_named_out_of_its_folder(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name an image"):
        file_pair(Path("a.png"), Path("a.png"), name=name)
