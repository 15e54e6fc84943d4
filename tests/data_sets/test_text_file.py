"""Text files are read in the encoding that they are in, and paths in them as they are meant."""

import codecs
import unicodedata
from pathlib import Path

import pytest

from bench.data.text_file import numbered_lines, read_text, written_path

TEXT = "straße/ü.png straße/日.png\r\n\r\nzweite Zeile\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_every_unicode_encoding_with_a_mark_is_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "t.txt").write_bytes(TEXT.encode(encoding))
    assert read_text(tmp_path / "t.txt") == TEXT
    assert numbered_lines(tmp_path / "t.txt") == [
        (1, "straße/ü.png straße/日.png"),
        (3, "zweite Zeile"),
    ]


def test_big_endian_with_a_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"))
    assert read_text(tmp_path / "t.txt") == TEXT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\nstraße".encode("latin-1"), r"t\.txt: byte 0xdf in line 2 is not utf-8; save the file"),
        ("a.png b.png".encode("utf-16-le"), r"t\.txt: holds zero bytes, as UTF-16 without a mark"),
        (codecs.BOM_UTF16_LE + b"a", r"t\.txt: byte 0x61 in line 1 is not utf-16"),
        (None, r"t\.txt: No such file"),
    ],
)
def test_other_encodings_are_named_with_the_file(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "t.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_text(tmp_path / "t.txt")


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("in_text", ["NFC", "NFD"])
@pytest.mark.parametrize("slash", ["/", "\\"])
def test_paths_are_found_in_either_form_and_with_either_slash(
    tmp_path: Path, on_disk: str, in_text: str, slash: str
) -> None:
    path = tmp_path / unicodedata.normalize(on_disk, "é") / unicodedata.normalize(on_disk, "ü.png")
    path.parent.mkdir()
    path.touch()
    written = unicodedata.normalize(in_text, f"é{slash}ü.png")
    assert written_path(tmp_path, written) == path


def test_a_name_with_a_backslash_is_taken_as_it_is_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "a\\b.png").touch()
    assert written_path(tmp_path, "a\\b.png") == tmp_path / "a\\b.png"


def test_a_path_that_leads_nowhere_is_left_to_the_caller(tmp_path: Path) -> None:
    assert written_path(tmp_path, "x\\ü\\c.png") == tmp_path / "x/ü/c.png"
