"""TIFF images of any number of bands, of 8 or 16 bits or float32; GeoTIFF is one of its forms."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from bench.data.geotiff import FILL, NODATA, ORIENTATION, UPRIGHT, nodata_value
from bench.data.png import MAX_PIXELS

Array = NDArray[Any]

KINDS = ("uint8", "uint16", "int16", "float32")  # what torch computes with, or holds in int32


def read_bands(path: Path, count: int) -> Array:
    """Reads an image of `count` bands as its own type (H, W, count).

    The bands may be samples of a pixel, planes, or pages of the file.

    Raises:
        ValueError: the file is no readable TIFF, or holds something else.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        array = _decoded(path)
    except UnusableError as error:
        raise ValueError(f"{path}: {error}") from None
    except Exception as error:  # whatever a damaged file leads to; codecs have their own classes
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{path}: not a readable TIFF ({reason}); fetch it again, or set dataset.bands=null "
            "if images are 8-bit RGB"
        ) from error
    if array.shape[2] != count:
        rows = ", or save the bands as samples (planarconfig='contig'), not rows as pages"
        raise ValueError(
            f"{path}: the image has {array.shape[2]} bands where dataset.bands={count}; correct "
            f"one of them{rows if array.shape[1] == count else ''}"
        )
    return array


class UnusableError(Exception):
    """The file is sound and cannot be used; says why and what to do."""


def _decoded(path: Path) -> Array:
    """Decodes a file to (H, W, bands), in the machine's byte order."""
    with tifffile.TiffFile(path) as file:
        every = [page for page in file.pages if not page.is_reduced]  # type: ignore[union-attr]
        pages = [page for page in every if not page.is_mask]  # type: ignore[union-attr]
        shapes = {(page.shape, page.dtype) for page in pages}
        if len(shapes) != 1:
            raise UnusableError(f"its {len(pages)} pages differ in size or type; save one image")
        (_, dtype) = next(iter(shapes))
        if str(dtype) not in KINDS:
            raise UnusableError(f"its values are {dtype}; save them as {', '.join(KINDS)}")
        first = pages[0]
        assert isinstance(first, tifffile.TiffPage)
        if first.imagelength * first.imagewidth > MAX_PIXELS or first.imagedepth > 1:
            raise UnusableError(
                f"{first.shape} are a volume or more than {MAX_PIXELS // 1_000_000} million "
                "pixels; cut it into parts"
            )
        if first.tags.valueof(ORIENTATION, UPRIGHT) != UPRIGHT:
            raise UnusableError("its orientation tag turns it; save its pixels as they should lie")
        planes = [_bands_last(page.asarray(), first) for page in pages]
        masked = any(not page.asarray().all() for page in every if page.is_mask)  # type: ignore[union-attr]
        nodata = nodata_value(first.tags.valueof(NODATA))
    array = np.concatenate(planes, axis=2)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UnusableError(
            "some values are NaN or infinite; fill them, and label their pixels void"
        )
    if masked or (nodata is not None and (array == nodata).any()):
        said = "masked" if masked else f"no data ({nodata:g} by the tag of the file)"
        raise UnusableError(f"some values are {said}; {FILL} the {'mask' if masked else 'tag'}")
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def _bands_last(array: Array, page: tifffile.TiffPage) -> Array:
    """Turns the array of a page, (H, W), (H, W, bands) or (bands, H, W), into (H, W, bands)."""
    if array.ndim == 2:
        return array[..., None]
    return np.moveaxis(array, 0, 2) if page.axes.startswith("S") else array


def resize_bands(image: Array, height: int, width: int) -> Array:
    """Resizes (H, W, bands) to (height, width, bands), band by band as RGB is, in its own type."""
    if image.shape[:2] == (height, width):
        return image
    resized = np.empty((height, width, image.shape[2]), image.dtype)
    for band in range(image.shape[2]):
        plane = Image.fromarray(image[..., band].astype(np.float32))
        values = np.asarray(plane.resize((width, height), Image.Resampling.BILINEAR))
        resized[..., band] = values if image.dtype.kind == "f" else values.round()
    return resized


def stretched(image: Array) -> NDArray[np.uint8]:
    """Makes a picture to look at, RGB (H, W, 3), of the first three bands, or of the first.

    From the 2nd to the 98th percentile of each band.
    """
    bands = image[..., :3] if image.shape[2] >= 3 else image[..., [0, 0, 0]]
    low, high = np.percentile(bands, (2, 98), axis=(0, 1))
    span = np.maximum(high - low, np.finfo(np.float32).tiny)
    picture: NDArray[np.uint8] = (((bands - low) / span).clip(0, 1) * 255).round().astype(np.uint8)
    return picture
