"""Reading pictures: right, or refused with the file's name, never misread."""

import contextlib
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from bench.data.images import (
    open_label,
    read_image,
    read_label,
    resize_image,
    resize_label,
    write_label,
)

INDICES = np.arange(12, dtype=np.uint8).reshape(3, 4)


def saved(path: Path, array: np.ndarray, mode: str | None = None) -> Path:
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path)
    return path


def test_a_grey_label_is_read_as_indices(tmp_path: Path) -> None:
    assert (read_label(saved(tmp_path / "l.png", INDICES)) == INDICES).all()


def test_a_palette_label_is_read_as_indices_whatever_its_colours(tmp_path: Path) -> None:
    write_label(tmp_path / "l.png", INDICES, [[9, 9, 9], [0, 128, 255]])
    assert (read_label(tmp_path / "l.png") == INDICES).all()


def test_a_16_bit_label_is_read_when_its_values_fit(tmp_path: Path) -> None:
    path = saved(tmp_path / "l.png", INDICES.astype(np.uint16))
    assert (read_label(path) == INDICES).all()


def test_a_16_bit_label_with_large_values_is_refused_with_the_value(tmp_path: Path) -> None:
    path = saved(tmp_path / "l.png", INDICES.astype(np.uint16) * 100)
    with pytest.raises(ValueError, match=r"l\.png: label value 1100 is outside 0\.\.255"):
        read_label(path)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGB", "in colours"),
        ("RGBA", "in colours"),
        ("1", "in black and white, one bit a pixel"),
        ("LA", "in grey with an alpha channel"),
        ("F", "as floating-point numbers"),
        ("CMYK", "in printing colours"),
    ],
)
def test_a_label_that_holds_no_indices_is_called_what_it_is(
    tmp_path: Path, mode: str, kind: str
) -> None:
    path = saved(tmp_path / ("l.png" if mode not in {"F", "CMYK"} else "l.tif"), INDICES, mode)
    with pytest.raises(ValueError, match=rf"l\.\w+: the label is stored {kind} \({mode}\)"):
        read_label(path)


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "I;16"])
def test_a_value_that_stands_for_transparent_is_refused_where_it_is_used(
    tmp_path: Path, mode: str
) -> None:
    """PNG's tRNS chunk; where no pixel has that value, it says nothing."""
    depth = np.uint16 if mode == "I;16" else np.uint8
    image = Image.fromarray(INDICES.astype(depth))
    image = image if mode == "I;16" else image.convert(mode)
    used = {"P": 5, "L": 5, "I;16": 5, "RGB": (5, 5, 5)}
    unused = {"P": 200, "L": 200, "I;16": 200, "RGB": (5, 5, 6)}
    image.save(tmp_path / "used.png", transparency=used[mode])
    image.save(tmp_path / "unused.png", transparency=unused[mode])
    if mode != "RGB":
        with pytest.raises(ValueError, match=r"used\.png: the label has transparent pixels"):
            read_label(tmp_path / "used.png")
        assert (read_label(tmp_path / "unused.png") == INDICES).all()
    if mode != "I;16":
        with pytest.raises(ValueError, match=r"used\.png: the image has transparent pixels"):
            read_image(tmp_path / "used.png")
        assert (read_image(tmp_path / "unused.png")[..., 0] == INDICES).all() or mode == "P"


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_an_alpha_channel_on_a_label_is_refused_where_it_hides_something(
    tmp_path: Path, mode: str
) -> None:
    image = Image.fromarray(INDICES).convert(mode)
    image.putalpha(Image.fromarray(INDICES))
    image.save(tmp_path / "l.png")
    with pytest.raises(ValueError, match=r"l\.png: the label has transparent pixels"):
        open_label(tmp_path / "l.png")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_an_image_is_turned_as_its_exif_orientation_says(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    """The tag says where row 0 and column 0 of what is stored belong (EXIF 2.32, 0x0112)."""
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :8], upright[:8, 24:] = (255, 0, 0), (0, 0, 255)  # top left, top right
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / f"i.{suffix}"
    options = {"quality": 100, "lossless": True} if suffix == "webp" else {"quality": 100}
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, **options)
    assert np.abs(read_image(path).astype(int) - upright).mean() < 6  # JPEG is not exact
    if orientation == 1:
        open_label(path, lossy=True)
    else:
        with pytest.raises(ValueError, match=f"the label has the EXIF orientation {orientation}"):
            open_label(path, lossy=True)


LOSSY = [
    ("l.jpg", {"format": "JPEG", "quality": 100}),
    ("l.png", {"format": "JPEG"}),
    ("l.webp", {"format": "WEBP", "quality": 90}),
    ("l.webp", {"format": "WEBP", "quality": 90, "icc_profile": b"x" * 3000}),
    ("l.tif", {"format": "TIFF", "compression": "jpeg"}),
    ("l.png", {"format": "JPEG2000"}),
]


@pytest.mark.parametrize(("name", "options"), LOSSY)
def test_a_label_in_lossy_compression_is_refused_by_content(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    Image.fromarray(INDICES).save(tmp_path / name, **options)
    with pytest.raises(ValueError, match=r"whose compression changes class values; save it as PNG"):
        read_label(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("l.gif", {}),
        ("l.bmp", {}),
        ("l.pgm", {}),
        ("l.tif", {"compression": "tiff_lzw"}),
        ("l.tif", {"compression": "tiff_deflate"}),
        ("l.JPG", {"format": "PNG"}),
    ],
)
def test_a_label_in_lossless_compression_is_read_whatever_its_suffix(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    Image.fromarray(INDICES).save(tmp_path / name, **options)
    assert (read_label(tmp_path / name) == INDICES).all()


@pytest.mark.parametrize("profile", [None, b"x" * 3000])
def test_webp_without_loss_keeps_the_colours_of_a_label(
    tmp_path: Path, profile: bytes | None
) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (9, 7, 3), np.uint8)
    Image.fromarray(colours).save(tmp_path / "l.webp", lossless=True, icc_profile=profile)
    assert (np.asarray(open_label(tmp_path / "l.webp")) == colours).all()


@pytest.mark.parametrize("suffix", ["gif", "tif", "webp", "png"])
def test_a_file_of_several_pictures_is_refused(tmp_path: Path, suffix: str) -> None:
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    first.save(tmp_path / f"i.{suffix}", save_all=True, append_images=[second])
    for read in (read_image, read_label):
        with pytest.raises(ValueError, match="the file holds 2 pictures"):
            read(tmp_path / f"i.{suffix}")


def test_a_picture_above_pillows_limit_is_read(tmp_path: Path) -> None:
    Image.new("L", (15000, 13000)).save(tmp_path / "huge.png", compress_level=1)
    assert read_label(tmp_path / "huge.png").shape == (13000, 15000)


def test_a_picture_above_our_limit_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    header = (60000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    chunk = b"IHDR" + header
    checksum = zlib.crc32(chunk).to_bytes(4, "big")
    content = b"\x89PNG\r\n\x1a\n" + len(header).to_bytes(4, "big") + chunk + checksum
    (tmp_path / "bomb.png").write_bytes(content + bytes(4) + b"IDAT" + bytes(99))
    with pytest.raises(ValueError, match=r"bomb\.png: 60000x60000 are more than 500 million"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "tif", "bmp", "ppm"])
def test_a_broken_file_is_one_sentence_whatever_is_broken(tmp_path: Path, suffix: str) -> None:
    """A few bytes changed anywhere: the file is read, or refused as a user's mistake."""
    rng, path = np.random.default_rng(0), tmp_path / f"i.{suffix}"
    saved(path, rng.integers(0, 9, (20, 30), np.uint8))
    content = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(100):
        broken = content.copy()
        broken[rng.integers(0, min(len(broken), rng.choice([60, 10**6])), 4)] = rng.integers(256)
        path.write_bytes(broken.tobytes())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on what it forgives
            with contextlib.suppress(ValueError):
                read_label(path)


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA"])
def test_every_opaque_8_bit_image_becomes_rgb(tmp_path: Path, mode: str) -> None:
    image = read_image(saved(tmp_path / "i.png", np.full((3, 4), 77, np.uint8), mode))
    assert image.shape == (3, 4, 3)
    assert (image == 77).all()


def test_a_transparent_image_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "i.png", np.full((3, 4, 4), 77, np.uint8))
    with pytest.raises(ValueError, match="transparent"):
        read_image(path)


def test_a_16_bit_image_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "i.png", INDICES.astype(np.uint16))
    with pytest.raises(ValueError, match=r"i\.png: the image has the pixel format 'I;16'"):
        read_image(path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "i.png", np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"i\.png: not a readable image"):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"<html>404</html>", "not a readable image"), (None, "no such file")],
)
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "i.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_label(path)


def test_resizing_a_label_never_invents_a_class() -> None:
    label = np.random.default_rng(0).choice(np.array([0, 5, 11], np.uint8), (37, 51))
    assert set(np.unique(resize_label(label, 90, 20))) <= {0, 5, 11}


def test_resizing_keeps_a_constant_image() -> None:
    image = np.full((30, 40, 3), 123, np.uint8)
    assert (resize_image(image, 9, 120) == 123).all()


def test_a_png_whose_pixels_fail_their_checksum_is_refused(tmp_path: Path) -> None:
    """Decoding alone would give other classes and say nothing."""
    path = saved(tmp_path / "l.png", np.zeros((40, 40), np.uint8))
    content = bytearray(path.read_bytes())
    start = content.index(b"IDAT")
    length = int.from_bytes(content[start - 4 : start], "big")
    content[start + 4 + length] ^= 1  # the checksum itself: the pixels decode as they were
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"l\.png: not a readable image"):
        read_label(path)


def test_a_label_whose_bytes_were_damaged_is_never_another_label(tmp_path: Path) -> None:
    """Pillow decodes pixels whose checksum is wrong; a stored stream shows it as other classes."""
    truth = np.random.default_rng(0).integers(0, 12, (40, 60), dtype=np.uint8)
    path = tmp_path / "l.png"
    Image.fromarray(truth).save(path, compress_level=0)
    sound = path.read_bytes()
    for start in range(60, len(sound) - 60, 97):
        damaged = bytearray(sound)
        damaged[start : start + 40] = reversed(damaged[start : start + 40])
        if damaged != sound:
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match=r"l\.png: not a readable image .*checksum"):
                read_label(path)
    path.write_bytes(sound)
    assert (read_label(path) == truth).all()
