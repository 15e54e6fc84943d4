"""Reading pictures: right, or refused with the file's name, never misread."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data.images import (
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


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "1", "LA"])
def test_a_label_in_colours_is_refused(tmp_path: Path, mode: str) -> None:
    path = saved(tmp_path / "l.png", INDICES, mode)
    with pytest.raises(ValueError, match=r"l\.png: the label is stored in colours"):
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
    with pytest.raises(ValueError, match=r"i\.png: pixel format 'I;16'"):
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


def test_a_label_whose_bytes_were_damaged_is_never_another_label(tmp_path: Path) -> None:
    """Pillow decodes pixels whose checksum is wrong; a stored stream shows it as other classes."""
    truth = np.random.default_rng(0).integers(0, 12, (40, 60), dtype=np.uint8)
    path = tmp_path / "l.png"
    Image.fromarray(truth).save(path, compress_level=0)
    sound = path.read_bytes()
    for start in range(60, len(sound) - 60, 97):
        damaged = bytearray(sound)
        damaged[start : start + 40] = reversed(damaged[start : start + 40])
        if damaged == sound:
            continue
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"l\.png: not a readable image .*checksum"):
            read_label(path)
    path.write_bytes(sound)
    assert (read_label(path) == truth).all()
