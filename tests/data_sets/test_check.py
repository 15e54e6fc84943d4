"""`python -m bench.data check` lists everything that is wrong, and what is there."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
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


def test_a_class_that_never_occurs_gets_no_weight_but_is_shown(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (root / "classes.yaml").open("a") as file:
        file.write("  \n")
    text = (root / "classes.yaml").read_text()
    (root / "classes.yaml").write_text(text.replace("void: 255", "  Boat: [1, 1, 1]\nvoid: 255"))
    shown = checked(root, capsys, 0)
    assert "class 'Boat' has no pixel in the training labels" in shown
    assert "nan" not in shown


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
