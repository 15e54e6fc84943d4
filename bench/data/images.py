"""Reading and writing the two kinds of picture a data set holds: RGB images and index labels.

Everything is 8-bit and (H, W) or (H, W, 3). What cannot be read without guessing is refused.
"""

import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from bench.data.bands import Array, UnusableError, resize_bands, stretched
from bench.data.geotiff import FILL, nodata_pixels
from bench.data.png import MAX_PIXELS, read_plain_png
from bench.data.stored_form import (
    EIGHT_BIT,
    changed_by_decoding,
    is_lossy,
    lost_by_decoding,
    unread,
)
from bench.records import replacing

UInt8Array = NDArray[np.uint8]

# Pillow's own limit, a third of ours, is half a warning and half an exception of its own kind.
Image.MAX_IMAGE_PIXELS = None

# What Pillow raises for a damaged file: SyntaxError for a broken PNG chunk, OSError for a short
# file, ValueError for impossible numbers and too much text, and others for what they lead to.
DAMAGE = (
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

# How a picture is turned upright, by the EXIF tag of that name; 1 is upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What a label's pixels are, by Pillow's mode, where they are no indices.
STORED_AS = {
    "1": "in black and white, one bit a pixel",
    "LA": "in grey with an alpha channel",
    "La": "in grey with an alpha channel",
    "PA": "as a palette with an alpha channel",
    "F": "as floating-point numbers",
    "CMYK": "in printing colours",
}


def read_image(path: Path) -> UInt8Array:
    """Reads an RGB image as uint8 (H, W, 3), turned upright as its EXIF orientation says.

    Grey and palette images become RGB; an opaque alpha channel is dropped.

    Raises:
        ValueError: the file is unreadable, has more than 8 bits a channel, or is transparent.
    """
    plain = read_plain_png(path)
    if plain is not None:
        return plain
    image, _, lost, _ = _open(path)
    if _is_transparent(image):
        raise ValueError(
            f"{path}: the image has transparent pixels, whose colour is undefined; "
            "save it without transparency"
        )
    nodata = nodata_pixels(image)
    if nodata is not None and nodata.any():
        raise ValueError(f"{path}: some pixels are no data by the tag of the file; {FILL} the tag")
    if lost or image.mode not in EIGHT_BIT:
        form = lost or f"has the pixel format {image.mode!r}"
        raise ValueError(
            f"{path}: the image {form}, which is not 8-bit colour; convert it to 8-bit RGB, or "
            "read TIFF as it is with dataset=folder and dataset.bands, the number of bands"
        )
    turn = UPRIGHT.get(_orientation(image))  # none for a TIFF, which Pillow has turned by now
    image = image if image.mode == "RGB" else image.convert("RGB")
    return np.asarray(image if turn is None else image.transpose(turn))


def read_label(path: Path) -> UInt8Array:
    """Reads a label map as uint8 (H, W): one class index a pixel.

    Grey levels and palette positions are class indices; a palette's colours do not matter.
    Maps of 16 or 32 bits are accepted when every value fits 8 bits.

    Raises:
        ValueError: as `open_label`, or the file holds something else than indices of 0..255.
    """
    return indices(open_label(path), path)


def open_label(path: Path, *, lossy: bool = False) -> Image.Image:
    """Decodes a label picture, of whatever kind its pixels are.

    Args:
        path: of the file.
        lossy: accept lossy compression too, for masks that get a threshold.

    Raises:
        ValueError: the file is unreadable, its compression or form changes values, its EXIF
            orientation turns it, or it has transparent pixels.
    """
    image, orientation, lost, changed = _open(path)
    if lost or changed:
        raise ValueError(
            f"{path}: the label {lost or changed}; save it as an 8-bit PNG of indices from its "
            "source"
        )
    if not lossy and is_lossy(image, path):
        raise ValueError(
            f"{path}: the label is stored as {image.format}, whose compression changes class "
            "values; save it as PNG from its source (a two-valued mask can be read with "
            "dataset=folder dataset.reader.threshold=128)"
        )
    if orientation in UPRIGHT:
        raise ValueError(
            f"{path}: the label has the EXIF orientation {orientation}, which some programs apply "
            "and some do not; turn its pixels as they should be and save it as PNG without EXIF"
        )
    if _is_transparent(image):
        raise ValueError(
            f"{path}: the label has transparent pixels, which are neither a class nor void; save "
            "it without transparency"
        )
    return image


def indices(image: Image.Image, path: Path) -> UInt8Array:
    """Returns the values of a label picture (H, W).

    Raises:
        ValueError: they are no indices of 0..255.
    """
    if image.mode in {"L", "P"}:
        return np.asarray(image)
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 255:
            raise ValueError(
                f"{path}: label value {_worst(values)} is outside 0..255; labels are class indices"
            )
        return values.astype(np.uint8)
    coloured = image.mode in {"RGB", "RGBA"}
    kind = "in colours" if coloured else STORED_AS.get(image.mode, "in a form of its own")
    remedy = ", or read it with dataset=folder and its colours" if coloured else ""
    raise ValueError(
        f"{path}: the label is stored {kind} ({image.mode}), not as class indices; convert it to "
        f"an 8-bit PNG of indices{remedy}"
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
    """Writes a picture as PNG, whole or not at all; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)  # a picture's name may have folders in it
    with replacing(path, durable=False) as file:
        image.save(file, format="PNG", optimize=False)


def is_rgb(image: Array) -> bool:
    """Says whether an image (H, W, bands) is one of 8-bit RGB, by its form."""
    return image.dtype == np.uint8 and image.shape[2] == 3


def shown(image: Array) -> UInt8Array:
    """Returns an image as RGB (H, W, 3) to look at: itself, or its first bands stretched."""
    return image if is_rgb(image) else stretched(image)


def resize_image(image: Array, height: int, width: int) -> Array:
    """Resizes an image (H, W, C) to (height, width, C), bilinear with antialiasing."""
    if image.shape[:2] == (height, width):
        return image
    if not is_rgb(image):
        return resize_bands(image, height, width)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def resize_label(label: UInt8Array, height: int, width: int) -> UInt8Array:
    """Resizes a label map (H, W) to (height, width), nearest only: class indices do not mix."""
    if label.shape == (height, width):
        return label
    return np.asarray(Image.fromarray(label).resize((width, height), Image.Resampling.NEAREST))


class _Opened(NamedTuple):
    image: Image.Image
    orientation: int  # as EXIF counts
    lost: str  # what `lost_by_decoding` says
    changed: str  # what `changed_by_decoding` says


def _open(path: Path) -> _Opened:
    """Decodes a file completely, so that a truncated one shows here.

    Raises:
        ValueError: there is no such file, or it is no whole picture, several, or too large a one.
    """
    if path.exists() and not path.is_file():  # a FIFO would wait for a writer
        raise ValueError(f"{path}: not a regular file; remove it")
    try:
        with path.open("rb") as file:
            return _decoded(file)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except UnusableError as error:
        raise ValueError(f"{path}: {error}") from None
    except UnidentifiedImageError:
        raise ValueError(f"{path}: not a readable image {unread(path)}") from None
    except DAMAGE as error:
        raise ValueError(f"{path}: not a readable image ({error}); fetch it again") from error


def _decoded(file: BinaryIO) -> _Opened:
    if os.fstat(file.fileno()).st_size == 0:
        raise UnusableError("the file is empty; fetch it again")
    image = Image.open(file)
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UnusableError(
            f"{width}x{height} are more than {MAX_PIXELS // 1_000_000} million pixels; cut the "
            "picture into parts"
        )
    image.verify()  # decoding skips the checksums of a PNG's pixels: a label would read as another
    file.seek(0)
    image = Image.open(file)
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a camera's JPEG with a preview after it
        raise UnusableError(f"the file holds {frames} pictures; save the one that is meant as PNG")
    # Before loading, on which Pillow turns TIFF, and before EXIF, for which it loads PNG.
    lost, changed = lost_by_decoding(image), changed_by_decoding(image)
    opened = _Opened(image, _orientation(image), lost, changed)
    image.load()
    return opened


def _orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation, 1 where there is none or it is no such number."""
    stored = image.getexif().get(ExifTags.Base.Orientation)
    return int(stored) if stored in UPRIGHT else 1


def _is_transparent(image: Image.Image) -> bool:
    """Says whether a pixel is transparent, by a channel or by a value that stands for it."""
    if not image.has_transparency_data:
        return False
    if image.mode.startswith("I"):
        return bool((np.asarray(image) == image.info["transparency"]).any())
    alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    return bool(alpha.min() < 255)


def _worst(values: NDArray[np.integer]) -> int:
    return int(values.min() if values.min() < 0 else values.max())
