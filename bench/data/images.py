"""Reading and writing the two kinds of picture a data set holds: RGB images and index labels.

Everything is 8-bit and (H, W) or (H, W, 3). What cannot be read without guessing is refused.
"""

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from bench.data.png import read_plain_png
from bench.records import replacing

UInt8Array = NDArray[np.uint8]
# What Pillow raises for a damaged file: SyntaxError for a broken PNG chunk, OSError for a short
# file, ValueError for impossible numbers and too much text, and others for what they lead to.
DAMAGE = (
    Image.DecompressionBombError,
    UnidentifiedImageError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    OSError,
    OverflowError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


def read_image(path: Path) -> UInt8Array:
    """Reads an RGB image as uint8 (H, W, 3).

    Grey and palette images become RGB; an opaque alpha channel is dropped.

    Raises:
        ValueError: the file is unreadable, has more than 8 bits a channel, or is transparent.
    """
    plain = read_plain_png(path)
    if plain is not None:
        return plain
    image = open_picture(path)
    if image.mode in {"RGBA", "LA", "PA"}:
        alpha = np.asarray(image.getchannel("A"))
        if alpha.min() < 255:
            raise ValueError(
                f"{path}: the image has transparent pixels, whose colour is undefined; "
                "save it without an alpha channel"
            )
    elif image.mode not in {"RGB", "L", "P"}:
        raise ValueError(
            f"{path}: pixel format {image.mode!r} is not 8-bit colour; convert it to 8-bit RGB"
        )
    return np.asarray(image.convert("RGB"))


def read_label(path: Path) -> UInt8Array:
    """Reads a label map as uint8 (H, W): one class index a pixel.

    Grey levels and palette positions are class indices; a palette's colours do not matter.
    Maps of 16 or 32 bits are accepted when every value fits 8 bits.

    Raises:
        ValueError: the file is unreadable, holds colours instead of indices, or an index above 255.
    """
    image = open_picture(path)
    if image.mode in {"L", "P"}:
        return np.asarray(image)
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 255:
            raise ValueError(
                f"{path}: label value {_worst(values)} is outside 0..255; labels are class indices"
            )
        return values.astype(np.uint8)
    raise ValueError(
        f"{path}: the label is stored in colours ({image.mode}), not as class indices; convert it "
        "to an 8-bit PNG of indices, or read it with dataset=folder and its colours"
    )


def write_label(path: Path, label: UInt8Array, colours: Sequence[Sequence[int]]) -> None:
    """Writes a label map (H, W) as an 8-bit palette PNG, whole or not at all."""
    write_png(path, label_picture(label, colours))


def label_picture(label: UInt8Array, colours: Sequence[Sequence[int]]) -> Image.Image:
    """Makes the palette picture of a label map.

    Args:
        label: class indices (H, W).
        colours: RGB of each index; indices beyond its end show black.
    """
    image = Image.fromarray(label)
    palette = np.zeros((256, 3), np.uint8)  # a shorter one would make Pillow drop high indices
    palette[: len(colours)] = colours
    image.putpalette(palette.tobytes())
    return image


def write_png(path: Path, image: Image.Image) -> None:
    """Writes a picture as PNG, whole or not at all."""
    with replacing(path, durable=False) as file:
        image.save(file, format="PNG", optimize=False)


def resize_image(image: UInt8Array, height: int, width: int) -> UInt8Array:
    """Resizes an RGB image (H, W, 3) to (height, width, 3), bilinear with antialiasing."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def resize_label(label: UInt8Array, height: int, width: int) -> UInt8Array:
    """Resizes a label map (H, W) to (height, width), nearest only: class indices do not mix."""
    if label.shape == (height, width):
        return label
    return np.asarray(Image.fromarray(label).resize((width, height), Image.Resampling.NEAREST))


def open_picture(path: Path) -> Image.Image:
    """Decodes a file completely, so that a truncated or damaged one shows here and not later.

    Raises:
        ValueError: there is no such file, or it is no whole picture.
    """
    if path.exists() and not path.is_file():  # a FIFO would wait for a writer
        raise ValueError(f"{path}: not a regular file; remove it")
    if path.exists() and path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty; fetch it again")
    try:
        with path.open("rb") as file:
            # Decoding skips the checksums of a PNG's pixels; a damaged label would read as another.
            Image.open(file).verify()
            file.seek(0)
            image = Image.open(file)
            image.load()
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except DAMAGE as error:
        raise ValueError(f"{path}: not a readable image ({error}); fetch it again") from error
    return image


def _worst(values: NDArray[np.integer]) -> int:
    return int(values.min() if values.min() < 0 else values.max())
