"""What a command writes is planned first: no input and no file of a user's is overwritten."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bench.results
from bench.results import check_plan, write_arrays, write_picture

COMMAND = "bench.predict"


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 3)).save(path)
    return path


def refusal(out: Path, targets: dict[Path, list[str]], *read: Path) -> str:
    with pytest.raises(ValueError, match=r"OUT|rename") as error:
        check_plan(out, targets, read or targets, COMMAND)
    return str(error.value)


def test_a_target_that_is_an_input_is_refused(tmp_path: Path) -> None:
    photo = picture(tmp_path / "photo.png")
    assert "it is the input" in refusal(tmp_path, {photo: ["photo.png"]})


@pytest.mark.parametrize("link", ["hard link", "symbolic link", "folder"])
def test_an_input_is_known_by_its_file_and_not_its_name(tmp_path: Path, link: str) -> None:
    photo, out = picture(tmp_path / "in" / "photo.jpg"), tmp_path / "out"
    if link == "folder":
        out.symlink_to(tmp_path / "in")
        targets = {photo: ["photo.jpg"]}
    else:
        out.mkdir()
        make = os.link if link == "hard link" else os.symlink
        make(photo, out / "other.png")
        targets = {photo: ["other.png"]}
    assert f"it is the input {photo}" in refusal(out, targets)


def test_an_input_that_is_a_link_to_a_target_is_refused(tmp_path: Path) -> None:
    original = picture(tmp_path / "out" / "photo.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "photo.png").symlink_to(original)
    assert "it is the input" in refusal(
        tmp_path / "out", {tmp_path / "in/photo.png": ["photo.png"]}
    )


def test_any_file_that_is_read_counts(tmp_path: Path) -> None:
    probs, image = tmp_path / "a.npz", picture(tmp_path / "images" / "a.png")
    assert "it is the input" in refusal(tmp_path / "images", {probs: ["a.png"]}, probs, image)


def test_two_inputs_that_share_a_target_are_refused(tmp_path: Path) -> None:
    """The overlay of a and the label map of a.overlay have one name."""
    targets = {
        tmp_path / "a.png": ["a.png", "a.overlay.png"],
        tmp_path / "a.overlay.png": ["a.overlay.png", "a.overlay.overlay.png"],
    }
    assert "would both be written to" in refusal(tmp_path / "out", targets)


@pytest.mark.parametrize("names", [("A.png", "a.png"), ("\u00fc.png", "u\u0308.png")])
def test_names_that_differ_in_case_only_are_refused_where_case_is_ignored(
    tmp_path: Path, names: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = {tmp_path / f"in/{name}": [name] for name in names}
    check_plan(tmp_path / "out", targets, targets, COMMAND)  # this file system tells them apart
    monkeypatch.setattr(bench.results, "_ignores_case", lambda out: True)
    assert "the file system ignores case" in refusal(tmp_path / "out", targets)


def test_an_unknown_file_is_left_alone_and_an_earlier_result_replaced(tmp_path: Path) -> None:
    """OUT by mistake the folder of the labels: they have the names of the predictions."""
    label = picture(tmp_path / "labels" / "a.png")
    targets = {tmp_path / "images" / "a.png": ["a.png", "a.npz"]}
    assert "is no earlier result of bench.predict" in refusal(label.parent, targets)
    write_picture(label, Image.new("P", (4, 3)), COMMAND)
    write_arrays(label.with_suffix(".npz"), COMMAND, probs=np.arange(3.0))
    check_plan(label.parent, targets, targets, COMMAND)
    with pytest.raises(ValueError, match=r"is no earlier result of bench\.dense_crf"):
        check_plan(label.parent, targets, targets, "bench.dense_crf")
    np.savez(label.with_suffix(".npz"), probs=np.arange(3.0))
    assert "a.npz is there already" in refusal(label.parent, targets)


@pytest.mark.parametrize("spoil", ["folder", "dangling link", "file in the way", "out is a file"])
def test_what_is_no_file_is_left_alone_too(tmp_path: Path, spoil: str) -> None:
    out = tmp_path / "out"
    if spoil == "folder":
        (out / "sub" / "a.png").mkdir(parents=True)
    elif spoil == "dangling link":
        (out / "sub").mkdir(parents=True)
        (out / "sub" / "a.png").symlink_to(tmp_path / "nowhere")
    elif spoil == "file in the way":
        out.mkdir()
        (out / "sub").write_text("notes")
    else:
        out.write_text("notes")
    before = sorted(tmp_path.rglob("*"))
    refusal(out, {tmp_path / "in" / "sub" / "a.png": ["sub/a.png"]})
    assert sorted(tmp_path.rglob("*")) == before


def test_marked_arrays_are_read_as_any(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", COMMAND, probs=np.arange(5.0))
    assert np.array_equal(np.load(tmp_path / "a.npz")["probs"], np.arange(5.0))
    assert zipfile.ZipFile(tmp_path / "a.npz").testzip() is None
