"""The fast way to read PNG gives Pillow's pixels, and leaves every other file to Pillow."""

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from bench.data.images import read_image
from bench.data.png import read_plain_png

PIXELS = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
SMOOTH = np.stack(np.meshgrid(range(53), range(37)), axis=-1)[..., [0, 1, 0]].astype(np.uint8)


@pytest.mark.parametrize("pixels", [PIXELS, SMOOTH])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_pixels_are_pillows(pixels: Any, level: int, tmp_path: Path) -> None:
    path = tmp_path / "a.PNG"
    Image.fromarray(pixels).save(path, compress_level=level, gamma=0.45, dpi=(72, 72))
    plain = read_plain_png(path)
    assert plain is not None
    assert (plain == np.asarray(Image.open(path))).all()
    assert (plain == pixels).all()
    assert (read_image(path) == pixels).all()


def test_the_pixels_of_camvid_are_pillows(camvid_root: Path) -> None:
    for path in sorted((camvid_root / "train").iterdir())[::40]:
        plain = read_plain_png(path)
        assert plain is not None
        assert (plain == np.asarray(Image.open(path).convert("RGB"))).all()


def chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def other_kinds() -> dict[str, Any]:
    exif, text = Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x0112] = 6
    text.add_text("Raw profile type exif", "turned")
    image = Image.fromarray(PIXELS)
    return {
        "grey": (image.convert("L"), {}),
        "palette": (image.convert("P"), {}),
        "alpha": (image.convert("RGBA"), {}),
        "transparency": (image, {"transparency": (1, 2, 3)}),
        "exif": (image, {"exif": exif}),
        "text": (image, {"pnginfo": text}),
    }


@pytest.mark.parametrize("kind", other_kinds())
def test_other_kinds_of_pixels_are_left_to_pillow(kind: str, tmp_path: Path) -> None:
    image, options = other_kinds()[kind]
    image.save(tmp_path / "a.png", **options)
    assert read_plain_png(tmp_path / "a.png") is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-12],
        lambda data: data + b"more",
        lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
        lambda data: data[:33] + chunk(b"oops", b"") + data[33:],
        lambda data: data[:33] + chunk(b"IEND", b""),
        lambda data: b"GIF89a" + data,
        lambda data: b"",
    ],
)
def test_a_file_that_is_not_sound_is_left_to_pillow(spoil: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(path)
    path.write_bytes(spoil(path.read_bytes()))
    assert read_plain_png(path) is None
    assert read_plain_png(tmp_path / "missing.png") is None


@pytest.mark.timeout(10)
@pytest.mark.parametrize("name", ["i.png", "i.jpg"])
def test_what_is_no_regular_file_is_refused_at_once(name: str, tmp_path: Path) -> None:
    """A FIFO would wait for a writer, in the fast way as in Pillow's."""
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match="not a regular file"):
        read_image(tmp_path / name)


def test_a_picture_that_is_too_large_is_refused_though_it_is_plain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(path)
    for module in ("png", "images"):
        monkeypatch.setattr(f"bench.data.{module}.MAX_PIXELS", 37 * 53)
    assert (read_image(path) == PIXELS).all()
    for module in ("png", "images"):
        monkeypatch.setattr(f"bench.data.{module}.MAX_PIXELS", 37 * 53 - 1)
    with pytest.raises(ValueError, match="53x37 are more than 0 million pixels"):
        read_image(path)
