"""What a GeoTIFF says beside its pixels: where they lie on the earth, and which are no data.

Both stand in tags of the TIFF file (OGC 19-008r4, GDAL's GDAL_NODATA), so that no further library
is needed: another picture of the same pixels takes the tags over as they are.
"""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

# ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory, GeoDoubleParams,
# GeoAsciiParams, RPCCoefficient.
GEOREFERENCE = (33550, 33922, 34264, 34735, 34736, 34737, 50844)
NODATA = 42113
ORIENTATION, UPRIGHT = 274, 1  # TIFF's tag, and its value where nothing is turned
SUFFIXES = {".tif", ".tiff"}
FILL = "fill them and label their pixels void, then remove"  # what a message goes on to name

# Code, type, count and value, and that it is written once: a tag as tifffile writes it.
Tag = tuple[int, int, int, Any, bool]


def georeference(path: Path) -> list[Tag]:
    """Returns the tags that place a GeoTIFF's pixels on the earth; none for any other file.

    None either for a file that is turned by its orientation, or that cannot be read: whoever reads
    its pixels says so.
    """
    if path.suffix.lower() not in SUFFIXES:
        return []
    try:
        with tifffile.TiffFile(path) as file:
            tags = file.pages.first.tags
            if tags.valueof(ORIENTATION, UPRIGHT) != UPRIGHT:
                return []
            found = [tags[code] for code in GEOREFERENCE if code in tags]
            return [(tag.code, int(tag.dtype), tag.count, tag.value, True) for tag in found]
    except Exception:  # noqa: BLE001 - whatever a damaged file leads to
        return []


def nodata_value(tag: object) -> float | None:
    """Returns the number in the tag NODATA, which is text; None if it is absent or no number."""
    try:
        return float(str(tag).strip("\0 "))
    except ValueError:
        return None


def nodata_pixels(picture: Image.Image) -> NDArray[np.bool_] | None:
    """Says which pixels (H, W) of a picture that Pillow opened its tag declares to be no data.

    None if it declares none. They have the value in all channels: 0 and 255 are ordinary in one.
    """
    tags = picture.tag_v2 if isinstance(picture, TiffImagePlugin.TiffImageFile) else {}
    value = nodata_value(tags.get(NODATA))
    if value is None:
        return None
    pixels = np.asarray(picture)
    found: NDArray[np.bool_] = (pixels == value).reshape(*pixels.shape[:2], -1).all(axis=2)
    return found
