"""`python -m bench.data check` lists everything that is wrong, and what is there."""

import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from folders import label, save, write_set
from PIL import Image
from synthetic_files import LAYOUTS

from bench.data.__main__ import main
from bench.data.camvid import fetch

COUNTS, SIZE = {"train": 5, "test": 3}, [24, 32]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    LAYOUTS["folder"](tmp_path / "own", COUNTS, SIZE)
    return tmp_path / "own"


def checked(root: Path, capsys: pytest.CaptureFixture[str], expected: int) -> str:
    sheet = root.parent / "sheet.png"
    arguments = ["check", "dataset=folder", f"dataset.root={root}", "--sheet", str(sheet)]
    assert main([*arguments, "--splits", "train", "test"]) == expected
    return capsys.readouterr().out


def test_a_sound_set(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = checked(root, capsys, 0)
    assert "train: 5 sound pairs, 5 of 32x24" in shown
    assert "no problem found" in shown
    labels = [np.asarray(Image.open(path)) for path in sorted((root / "labels/train").iterdir())]
    road = np.mean([(label == (128, 64, 128)).all(axis=2).mean() for label in labels])
    row = next(line.split() for line in shown.splitlines() if line.startswith("Road"))
    assert float(row[1]) == pytest.approx(100 * road, abs=0.001)
    assert row[2] == "5"


def test_the_contact_sheet_shows_the_labels_over_the_images(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checked(root, capsys, 0)
    sheet = np.asarray(Image.open(root.parent / "sheet.png")).astype(int)
    image = Image.open(root / "images/train/train_00000.png").resize((320, 240))
    label = Image.open(root / "labels/train/train_00000.png").resize((320, 240), 0)
    expected = (np.asarray(image, int) + np.asarray(label, int)) / 2
    assert np.abs(sheet[:240, :320] - expected).mean() < 3


def test_all_problems_are_listed_at_once(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "images/train/train_00001.png").write_bytes(b"")
    Image.new("L", (32, 24), 99).save(root / "labels/train/train_00002.png")
    for kind in ("images", "labels"):
        shutil.copy(root / kind / "train/train_00003.png", root / kind / "test/copy.png")
    shown = checked(root, capsys, 1)
    assert "train_00001.png: the file is empty" in shown
    assert "label value 99 belongs to no class" in shown
    assert "train/train_00003 and test/copy have the same pixels" in shown
    assert "train: 3 sound pairs" in shown
    assert "3 problems" in shown


def test_a_split_that_cannot_be_paired_is_a_problem(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "labels/test/test_00000.png").unlink()
    assert "PROBLEM test: " in checked(root, capsys, 1)


def test_a_class_that_never_occurs_is_a_problem_and_gets_no_weight(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (root / "classes.yaml").open("a") as file:
        file.write("  \n")
    text = (root / "classes.yaml").read_text()
    (root / "classes.yaml").write_text(text.replace("void: 255", "  Boat: [1, 1, 1]\nvoid: 255"))
    shown = checked(root, capsys, 1)
    assert "PROBLEM train: no pixel of class 'Boat'" in shown
    assert "class 'Boat' has no pixel in the training labels" in shown
    assert "nan" not in shown


def check(root: Path, *splits: str) -> int:
    sheet = ["--sheet", str(root.parent / "sheet.png")]
    return main(["check", "dataset=folder", f"dataset.root={root}", *sheet, "--splits", *splits])


def test_masks_whose_white_is_taken_for_void(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stored 0 and 255, void 255: the remedy comes first, and it helps."""
    write_set(
        tmp_path,
        {"train": ["a", "b"]},
        classes=2,
        save_label=lambda path, array: save(path, 255 * array),
    )
    assert check(tmp_path, "train") == 1
    shown = capsys.readouterr().out
    found = (
        rf"PROBLEM if the value 255 in {tmp_path}/labels/train/a\.png, which counts as void, is "
        r"class 'class1', set dataset\.reader\.values=\[0,255\]; train: no pixel of class 'class1'"
    )
    assert re.search(found, shown)
    assert check(tmp_path, "train", "dataset.reader.values=[0,255]") == 0
    row = next(line.split() for line in capsys.readouterr().out.splitlines() if "class1" in line)
    share = np.mean([label(0, 2), label(1, 2)])
    assert float(row[1]) == pytest.approx(100 * share, abs=0.001)


def test_only_the_splits_that_are_evaluated_are_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the message of a missing split says to set helps where it was said."""
    write_set(tmp_path, {"train": ["a"], "val": ["b"]})
    sheet = str(tmp_path / "sheet.png")
    command = ["check", "--sheet", sheet, "dataset=folder", f"dataset.root={tmp_path}"]
    assert main(command) == 1
    assert "set protocol.evaluation_splits=[val]" in capsys.readouterr().out
    assert main([*command, "protocol.evaluation_splits=[val]"]) == 0


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_split_without_a_labelled_pixel_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], split: str
) -> None:
    write_set(tmp_path, {name: ["a", "b"] for name in ("train", "val", "test")})
    for path in (tmp_path / "labels" / split).iterdir():
        save(path, np.full((24, 32), 255, np.uint8))
    assert check(tmp_path, "train", "val", "test") == 1
    problems = [line for line in capsys.readouterr().out.splitlines() if "PROBLEM" in line]
    assert len(problems) == 1
    assert problems[0].startswith(f"PROBLEM {split}: none of its 2 labels has a labelled pixel")


def test_equal_names_are_a_note_and_equal_pixels_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(tmp_path, {"train": ["0000", "0001"], "test": ["0000", "0001"]})
    assert check(tmp_path, "train", "test") == 0
    assert "NOTE 2 names stand in several splits, such as" in capsys.readouterr().out
    for kind in ("images", "labels"):
        shutil.copy(tmp_path / kind / "train/0000.png", tmp_path / kind / "test/0001.png")
    assert check(tmp_path, "train", "test") == 1
    assert "train/0000 and test/0001 have the same pixels" in capsys.readouterr().out


def test_lossy_labels_are_each_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(tmp_path, {"train": ["a", "b"]}, suffix=".jpg")
    assert check(tmp_path, "train") == 1
    shown = capsys.readouterr().out
    assert shown.count("stored as JPEG, whose compression changes class values") == 2
    assert "train: 0 sound pairs" in shown


def test_a_sound_picture_that_is_not_the_released_one_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "camvid"
    LAYOUTS["camvid"](root, COUNTS, SIZE)
    released = [
        fetch.RemoteFile(str(path.relative_to(root)), len(content), sha256)
        for path in sorted(root.rglob("*.*"))
        for content in [path.read_bytes()]
        for sha256 in [hashlib.sha256(content).hexdigest()]
    ]
    monkeypatch.setattr(fetch, "remote_files", lambda: released)
    arguments = ["check", "dataset=camvid", f"dataset.root={root}", "--splits", "train", "test"]
    assert main([*arguments, "--sheet", str(tmp_path / "sheet.png")]) == 0
    label = next((root / "trainannot").iterdir())
    picture = np.asarray(Image.open(label)).copy()
    picture[0, 0] = 11 - picture[0, 0]
    Image.fromarray(picture).save(label)
    capsys.readouterr()
    assert main([*arguments, "--sheet", str(tmp_path / "sheet.png")]) == 1
    assert f"PROBLEM {label}: not the released file" in capsys.readouterr().out


def test_the_real_camvid_is_the_released_one(camvid_root: Path) -> None:
    assert not fetch.changed(camvid_root)
