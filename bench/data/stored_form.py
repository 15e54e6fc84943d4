"""How a picture file stores its values, where decoding it would change them unseen."""

import struct
from pathlib import Path
from typing import Any

import tifffile
from PIL import Image, ImageFile, TiffImagePlugin

# Formats that keep every value; TIFF and WebP only in some of their forms.
LOSSLESS = {"BMP", "DIB", "GIF", "PNG", "PPM", "TIFF", "WEBP"}
LOSSY_TIFF = {"jpeg", "tiff_jpeg", "webp"}  # as Pillow names TIFF's compressions
EIGHT_BIT = {"L", "LA", "P", "PA", "RGB", "RGBA"}  # Pillow's modes of 8 bits a channel
BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # TIFF's tags
WHITE_IS_ZERO, SIGNED = 0, 2  # values of these
NETPBM = {"ppm", "ppm_plain"}  # Pillow's decoders that scale; their arguments are mode and maximum


def lost_by_decoding(image: Image.Image) -> str:
    """Says what Pillow takes for 8 bits and is not; empty if nothing. Before the pixels are loaded.

    Of 16 bits a channel it keeps the upper 8: black, where the values are a camera's 12 bits.
    """
    if image.mode not in EIGHT_BIT:
        return ""
    bits = 8
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = max(image.tag_v2.get(BITS, (8,)))
        if SIGNED in image.tag_v2.get(SAMPLE_FORMAT, ()):
            return "has signed values"
    else:
        decoder, arguments = _decoder(image)
        if decoder in NETPBM:
            bits = arguments[1].bit_length()
        elif ";16" in str(arguments[0]):
            bits = 16
    return f"has {bits} bits a channel" if bits > 8 else ""


def changed_by_decoding(image: Image.Image) -> str:
    """Says why a label's values are not the stored ones; empty if they are. Before loading.

    Grey levels are brightness to a decoder: those of few bits are spread over 0..255, and those of
    which 0 is white turned round.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        turned = image.mode == "L" and image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO
        return "has 0 as white (MinIsWhite)" if turned else ""
    decoder, arguments = _decoder(image)
    if decoder in NETPBM and arguments[1] not in {255, 65535}:
        return f"has the largest value {arguments[1]}, by which others are scaled"
    if arguments[0] in {"L;2", "L;4"}:
        return f"has {arguments[0][-1]} bits a pixel, by which its values are scaled"
    return ""


def is_lossy(image: Image.Image, path: Path) -> bool:
    """Says whether the file's compression, whatever its suffix, may have changed values."""
    if image.format == "TIFF":
        return image.info.get("compression") in LOSSY_TIFF
    if image.format == "WEBP":
        return not _is_lossless_webp(path.read_bytes())
    return image.format not in LOSSLESS


def unread(path: Path) -> str:
    """Says what a file is that Pillow knows nothing of, and what to do."""
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            kind = f"TIFF of {page.samplesperpixel} x {page.dtype}"
            kind += f", {tifffile.COMPRESSION(page.compression).name}"
    except Exception:  # noqa: BLE001 - whatever a damaged file, or none of this kind, leads to
        return "(of no known format); fetch it again"
    return f"({kind}); save it as PNG, or read images as they are with dataset.bands"


def _decoder(image: Image.Image) -> tuple[str, tuple[Any, ...]]:
    """Returns Pillow's decoder and its arguments; the first is most often the form of a pixel."""
    if not isinstance(image, ImageFile.ImageFile) or not image.tile:
        return "", ("",)
    name, _, _, found = image.tile[0]
    return name, found if isinstance(found, tuple) else (found,)


def _is_lossless_webp(content: bytes) -> bool:
    """Looks for the chunk that holds the pixels: after 12 bytes, (name, size, content) each."""
    start = 12
    while content[start : start + 4] not in {b"VP8L", b"VP8 ", b""}:
        (size,) = struct.unpack_from("<I", content, start + 4)
        start += 8 + size + size % 2
    return content[start : start + 4] == b"VP8L"
