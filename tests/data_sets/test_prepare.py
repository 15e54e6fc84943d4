"""Preparing: plain folders at one size, continued after any interruption, never half-written."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from folders import write_set
from PIL import Image
from synthetic_files import LAYOUTS

from bench.data.__main__ import main
from bench.data.pairs import pairs_of
from bench.data.prepare import CHECKSUMS, is_complete, prepare, wrong_files
from bench.data.splits import load_splits

COUNTS, SIZE = {"train": 5, "test": 3}, [36, 48]
Configured = Callable[..., dict[str, Any]]


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    LAYOUTS["sunrgbd_png"](tmp_path / "png", COUNTS, SIZE)
    return tmp_path / "png"


def prepared(configured: Configured, rooms: Path, out: Path) -> int:
    config = configured("sunrgbd", rooms)
    pairs = {split: pairs_of(config.dataset, split) for split in COUNTS}
    return prepare(config, pairs, out, threads=1)


@pytest.mark.parametrize("dataset", ["sunrgbd", "folder"])
def test_the_prepared_set_is_what_a_run_would_have_seen(
    dataset: str, tmp_path: Path, rooms: Path, configured: Configured
) -> None:
    assert prepared(configured, rooms, tmp_path / "out") == 8
    before = load_splits(configured("sunrgbd", rooms), ["train", "test"])
    after = load_splits(configured(dataset, tmp_path / "out"), ["train", "test"])
    for split in COUNTS:
        assert after[split].names == before[split].names
        for batches in zip(
            *(s[split].batches([np.arange(3)]) for s in (after, before)), strict=True
        ):
            assert all((one == other).all() for one, other in zip(*batches, strict=True))


def test_a_second_call_has_nothing_to_do(
    tmp_path: Path, rooms: Path, configured: Configured
) -> None:
    prepared(configured, rooms, tmp_path / "out")
    assert prepared(configured, rooms, tmp_path / "out") == 0


def test_a_link_by_the_name_of_a_half_written_file_is_not_followed(
    tmp_path: Path, rooms: Path, configured: Configured
) -> None:
    victim, out = tmp_path / "victim", tmp_path / "out"
    victim.write_text("mine")
    prepared(configured, rooms, out)
    (out / CHECKSUMS).unlink()
    (out / f".{CHECKSUMS}.{os.getpid()}.tmp").symlink_to(victim)
    prepared(configured, rooms, out)
    assert victim.read_text() == "mine"
    assert not (out / CHECKSUMS).is_symlink()


def test_after_a_full_disk_the_next_call_goes_on(
    tmp_path: Path, rooms: Path, configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, written = Image.Image.save, []

    def full(image: Image.Image, file: BinaryIO, **options: Any) -> None:
        if len(written) == 7:
            file.write(b"half")
            raise OSError(28, "No space left on device")
        written.append(file)
        saved(image, file, **options)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", full)
        with pytest.raises(ValueError, match=r"No space left on device.*the same command goes on"):
            prepared(configured, rooms, out)
    assert not is_complete(out)
    assert not list(out.rglob("*.tmp"))
    with pytest.raises(ValueError, match="the preparation did not finish"):
        load_splits(configured("sunrgbd", out), ["train"])
    assert prepared(configured, rooms, out) == 8 - 3  # 7 pictures were 3 pairs and an image
    assert is_complete(out)
    assert not wrong_files(out)


def test_checksums_find_a_changed_and_a_missing_file(
    tmp_path: Path, rooms: Path, configured: Configured
) -> None:
    out = tmp_path / "out"
    prepared(configured, rooms, out)
    Image.fromarray(np.zeros((24, 32), np.uint8)).save(out / "labels/train/train-000002.png")
    (out / "images/test/test-000001.png").unlink()
    wrong = ["images/test/test-000001.png", "labels/train/train-000002.png"]
    assert sorted(wrong_files(out)) == wrong


def test_a_folder_of_something_else_is_not_written_into(
    tmp_path: Path, rooms: Path, configured: Configured
) -> None:
    with pytest.raises(ValueError, match="is not empty and holds no preparation"):
        prepared(configured, rooms, rooms)
    prepared(configured, rooms, tmp_path / "out")
    config = configured("sunrgbd", rooms, "protocol.image_size=[12,16]")
    with pytest.raises(ValueError, match=r"preparation of another image_size \(\[24, 32\]\)"):
        prepare(config, {"train": []}, tmp_path / "out")


def test_the_command(tmp_path: Path, rooms: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    assert main(["prepare", "sunrgbd", str(rooms), out, "--size", "24", "32"]) == 0
    shown = capsys.readouterr().out
    assert f"8 of 8 pairs written; use dataset=sunrgbd dataset.root={out}" in shown


def test_names_with_folders_and_letters_of_any_script_come_back(
    tmp_path: Path, configured: Configured
) -> None:
    names = ["berlin/0000", "bonn/0000"]
    write_set(tmp_path / "own", {"train": names})
    classes = "classes: {no: [1, 1, 1], 'straße 日本 😀': [2, 2, 2], off: [3, 3, 3]}"
    (tmp_path / "own/classes.yaml").write_text(classes, encoding="utf-8")
    config = configured("folder", tmp_path / "own")
    pairs = {"train": pairs_of(config.dataset, "train")}
    assert prepare(config, pairs, tmp_path / "out", threads=1) == 2
    again = configured("folder", tmp_path / "out")
    assert again.dataset.classes == config.dataset.classes == ["no", "straße 日本 😀", "off"]
    assert load_splits(again, ["train"])["train"].names == names
    assert prepare(config, pairs, tmp_path / "out", threads=1) == 0
