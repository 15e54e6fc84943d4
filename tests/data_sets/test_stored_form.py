"""Pictures whose stored values Pillow would change without a word are refused, and named."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from bench.data.images import read_image, read_label

GREY = (np.arange(48, dtype=np.uint8) % 3).reshape(6, 8)
COLOUR = np.repeat(GREY[..., None], 3, axis=2) + np.uint8(7)


def png(path: Path, depth: int, colour_type: int, rows: np.ndarray[Any, Any]) -> None:
    """Writes a PNG of a depth that Pillow does not write; rows are bytes (H, bytes)."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    header = struct.pack(">IIBBBBB", 8, 6, depth, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    end = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + end)


def tiff(pixels: Any, **arguments: Any) -> Callable[[Path], None]:
    return lambda path: tifffile.imwrite(path, pixels, **arguments)


def netpbm(largest: int, content: bytes, kind: str = "P5") -> Callable[[Path], object]:
    return lambda path: path.write_bytes(f"{kind} 8 6 {largest}\n".encode() + content)


WIDE = COLOUR.astype(np.uint16)
IN_16_BITS = [
    ("a.png", lambda path: png(path, 16, 2, WIDE.reshape(6, -1).astype(">u2"))),
    ("a.tif", tiff(WIDE, photometric="rgb")),
    ("a.tif", tiff(WIDE, photometric="rgb", compression="zlib")),
    ("a.tif", tiff(WIDE.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate")),
    ("a.ppm", netpbm(65535, WIDE.astype(">u2").tobytes(), "P6")),
]


@pytest.mark.parametrize(("name", "write"), IN_16_BITS)
def test_colours_of_16_bits_are_refused(
    tmp_path: Path, name: str, write: Callable[[Path], object]
) -> None:
    """Pillow keeps the upper 8 bits: values of 12 would be black."""
    write(tmp_path / name)
    for read in (read_image, read_label):
        with pytest.raises(ValueError, match=r"a\.\w+: the (image|label) has 16 bits a channel"):
            read(tmp_path / name)


CHANGED = [
    ("a.pgm", netpbm(1, (GREY > 0).tobytes()), "has the largest value 1"),
    ("a.pgm", netpbm(254, GREY.tobytes()), "has the largest value 254"),
    ("a.tif", tiff(GREY, photometric="miniswhite"), "has 0 as white"),
    ("a.tif", tiff(GREY.astype(np.int8) - 1), "has signed values"),
    ("a.png", lambda path: png(path, 2, 0, GREY[:, :2]), "has 2 bits a pixel"),
    ("a.png", lambda path: png(path, 4, 0, GREY[:, :4]), "has 4 bits a pixel"),
]


@pytest.mark.parametrize(("name", "write", "reason"), CHANGED)
def test_grey_levels_that_a_decoder_changes_are_no_indices(
    tmp_path: Path, name: str, write: Callable[[Path], object], reason: str
) -> None:
    """A mask of 0 and 1 whose maximum is 1 would be read as 0 and 255, which is often void."""
    write(tmp_path / name)
    with pytest.raises(ValueError, match=rf"a\.\w+: the label {reason}.*save it as an 8-bit PNG"):
        read_label(tmp_path / name)


def test_what_is_stored_as_it_is_read_stays(tmp_path: Path) -> None:
    netpbm(255, GREY.tobytes())(tmp_path / "a.pgm")
    netpbm(65535, GREY.astype(">u2").tobytes())(tmp_path / "b.pgm")
    Image.fromarray(GREY).save(tmp_path / "c.png")
    tiff(GREY.astype(np.int16))(tmp_path / "d.tif")
    tiff(GREY)(tmp_path / "e.tif")
    for path in tmp_path.iterdir():
        assert (read_label(path) == GREY).all(), path.name


def test_a_tiff_that_pillow_cannot_read_is_named_as_what_it_is(tmp_path: Path) -> None:
    tiff(GREY.astype(np.float64))(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"not a readable image \(TIFF of 1 x float64, NONE\)"):
        read_label(tmp_path / "a.tif")
