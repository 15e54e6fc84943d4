"""Which files are pictures, and what they are called, is one rule for every command."""

import os
import unicodedata
from pathlib import Path

import pytest

from bench.data.files import paired, picture_files, short_names


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_pictures_are_found_by_suffix_and_the_rest_is_listed(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "B.JPG", "c.webp", "d.GIF", "e.TIFF", "._a.png", "notes.txt")
    touch(tmp_path, ".git/x.png", "folder.png/y.png")
    found = picture_files(tmp_path)
    assert list(found.paths) == ["B", "a", "c", "d", "e"]
    assert found.paths["B"] == tmp_path / "B.JPG"
    assert found.skipped == ["._a.png", ".git/", "folder.png/", "notes.txt"]
    assert "passed over ._a.png, .git/, folder.png/ and 1 more" in found.note()


def test_a_name_is_the_path_below_the_folder(tmp_path: Path) -> None:
    touch(tmp_path, "berlin/0000.png", "bonn/0000.png", "bonn/a.b.png")
    assert list(picture_files(tmp_path).paths) == ["berlin/0000", "bonn/0000", "bonn/a.b"]
    assert picture_files(tmp_path).note() == ""


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["x/a", "y/b"], ["a", "b"]),
        (["x/a", "y/a", "y/b"], ["x/a", "y/a", "y/b"]),
        (["a", "x/a"], ["a", "x/a"]),
    ],
)
def test_paths_are_shortened_where_that_keeps_them_apart(
    paths: list[str], names: list[str]
) -> None:
    assert list(short_names(paths).values()) == names


@pytest.mark.parametrize("pair", [("a.png", "a.jpg"), ("\u00fc.png", "u\u0308.png")])
def test_two_files_of_one_name_are_refused(tmp_path: Path, pair: tuple[str, str]) -> None:
    touch(tmp_path, *pair)
    with pytest.raises(ValueError, match="share one name"):
        picture_files(tmp_path)


def test_names_are_in_the_composed_form_and_open_the_file(tmp_path: Path) -> None:
    touch(tmp_path, unicodedata.normalize("NFD", "stra\u00dfe_\u00fc.png"))
    ((name, path),) = picture_files(tmp_path).paths.items()
    assert name == unicodedata.normalize("NFC", "stra\u00dfe_\u00fc")
    assert path.is_file()


def test_a_name_that_is_no_utf_8_is_refused_in_plain_letters(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"stra\xdfe.png")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes no such name")
    with pytest.raises(ValueError, match=r"'stra\\udcdfe' is not UTF-8; rename the file") as error:
        picture_files(tmp_path)
    str(error.value).encode()


def test_other_suffixes_may_be_asked_for(tmp_path: Path) -> None:
    touch(tmp_path, "a.npz", "b.NPY", "a.png")
    assert list(picture_files(tmp_path, {".npz", ".npy"}).paths) == ["a", "b"]


def test_a_link_to_a_folder_above_ends(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.png")
    (tmp_path / "x/loop").symlink_to(tmp_path)
    (tmp_path / "linked").symlink_to(tmp_path / "x/missing")
    assert list(picture_files(tmp_path).paths) == ["x/a"]


def test_a_picture_that_links_nowhere_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    assert list(picture_files(tmp_path).paths) == ["a"]


@pytest.mark.parametrize(
    ("names", "message"),
    [([], r"holds no \.bmp, .* file$"), (["a.svg"], r"holds no \.bmp, .* file, but a\.svg$")],
)
def test_a_folder_without_pictures_is_refused(
    tmp_path: Path, names: list[str], message: str
) -> None:
    touch(tmp_path, *names)
    with pytest.raises(ValueError, match=message):
        picture_files(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such folder"):
        picture_files(tmp_path / "x")


def test_folders_on_one_side_only_do_not_keep_files_apart(tmp_path: Path) -> None:
    """For data sets, scores and dense_crf alike; where names repeat, the path decides."""
    touch(tmp_path / "a", "berlin/0.jpg", "bonn/1.jpg")
    touch(tmp_path / "b", "0.png", "1.png")
    one, other = (picture_files(tmp_path / name) for name in "ab")
    assert paired(one, other)["berlin/0"] == (tmp_path / "a/berlin/0.jpg", tmp_path / "b/0.png")
    assert paired(other, one)["1"] == (tmp_path / "b/1.png", tmp_path / "a/bonn/1.jpg")
    touch(tmp_path / "a", "bonn/0.jpg")
    with pytest.raises(ValueError, match="nothing pairs with"):
        paired(picture_files(tmp_path / "a"), other)
