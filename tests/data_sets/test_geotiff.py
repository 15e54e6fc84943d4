"""GeoTIFF: what is no data is no class and no colour; label maps lie where their images lie."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from bench.data.bands import read_bands
from bench.data.geotiff import NODATA, georeference
from bench.data.images import read_image
from bench.data.label_coding import label_coding
from bench.data.stored_values import Coding
from bench.results import check_plan, label_suffix, write_label

# EPSG:25832, half a metre a pixel: tags of scale, tie point, keys and names.
PLACE = [
    (33550, 12, 3, (0.5, 0.5, 0.0), True),
    (33922, 12, 6, (0.0, 0.0, 0.0, 691000.0, 5335000.0, 0.0), True),
    (34735, 3, 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 25832), True),
    (34737, 2, 12, "UTM zone 32|", True),
]
SIZE = (6, 8)
CODING = label_coding([[1, 2, 3], [9, 9, 9], [255, 255, 255]], 255, names=["a", "b", "c"])


def nodata(value: str) -> list[Any]:
    return [(NODATA, 2, 0, value, True)]


def write(path: Path, pixels: NDArray[Any], tags: list[Any], **arguments: Any) -> Path:
    tifffile.imwrite(path, pixels, extratags=tags, metadata=None, **arguments)
    return path


@pytest.mark.parametrize(
    ("kind", "value", "pixel"), [("uint16", "0", 0), ("float32", "-3.4028235e+38", -3.4028235e38)]
)
def test_bands_without_data_are_refused(
    tmp_path: Path, kind: str, value: str, pixel: float
) -> None:
    """In one band of one pixel too; a tag that no pixel has says nothing."""
    pixels = np.full((*SIZE, 3), 7, kind)
    path = write(tmp_path / "a.tif", pixels, nodata(value), photometric="rgb")
    assert (read_bands(path, 3) == pixels).all()
    pixels[2, 3, 1] = pixel
    write(path, pixels, nodata(value), photometric="rgb")
    with pytest.raises(ValueError, match=r"no data \(.* by the tag of the file\); fill them"):
        read_bands(path, 3)


def test_a_mask_that_hides_pixels_is_refused(tmp_path: Path) -> None:
    for hidden in (0, 1):
        mask = np.ones(SIZE, bool)
        mask[0, :hidden] = False
        with tifffile.TiffWriter(tmp_path / "a.tif") as file:
            file.write(np.full((*SIZE, 3), 7, np.uint16), photometric="rgb")
            file.write(mask, photometric="mask", subfiletype=4)
        if not hidden:
            assert read_bands(tmp_path / "a.tif", 3).shape == (*SIZE, 3)
    with pytest.raises(ValueError, match=r"some values are masked; fill them .* remove the mask"):
        read_bands(tmp_path / "a.tif", 3)


def test_a_colour_without_data_is_refused(tmp_path: Path) -> None:
    """No data is a pixel that has the value in all three channels."""
    pixels = np.full((*SIZE, 3), 7, np.uint8)
    pixels[0, 0] = 0, 0, 5
    path = write(tmp_path / "a.tif", pixels, nodata("0"), photometric="rgb")
    assert (read_image(path) == pixels).all()
    pixels[0, 0] = 0
    write(path, pixels, nodata("0"), photometric="rgb")
    with pytest.raises(ValueError, match=r"a\.tif: some pixels are no data by the tag"):
        read_image(path)


def test_a_class_without_data_is_refused_and_void_is_not(tmp_path: Path) -> None:
    grey = np.full(SIZE, 1, np.uint8)
    grey[0, 0] = 255
    path = write(tmp_path / "a.tif", grey, nodata("255"))
    assert CODING.read(path)[0, 0] == 255
    assert Coding("label", (0, 1, 2), (255,)).read(path)[0, 0] == 3
    write(path, grey, nodata("1"))
    with pytest.raises(ValueError, match=r"pixels of class 'b' are no data .*void_values"):
        CODING.read(path)
    with pytest.raises(ValueError, match=r"the value 1 is a class, and no data .*label-void-value"):
        Coding("label", (0, 1, 2), (255,)).read(path)
    coloured = np.full((*SIZE, 3), 9, np.uint8)
    write(path, coloured, nodata("9"), photometric="rgb")
    with pytest.raises(ValueError, match="pixels of class 'b' are no data"):
        CODING.read(path)


@pytest.mark.parametrize("palette", [None, [0, 0, 0, 255, 0, 0, 0, 7, 255] + 759 * [0]])
def test_a_label_map_lies_where_its_image_lies(tmp_path: Path, palette: list[int] | None) -> None:
    image = write(tmp_path / "in.tif", np.full((*SIZE, 4), 7, np.uint16), PLACE)
    indices = np.arange(48, dtype=np.uint8).reshape(SIZE) % 3
    label = Image.fromarray(indices)
    if palette:
        label.putpalette(palette)
    assert label_suffix(image) == ".tif"
    write_label(tmp_path / "out.v1", label, image, "bench.predict")
    written = tmp_path / "out.v1.tif"
    with Image.open(written) as picture:
        assert (np.asarray(picture) == indices).all()
        assert picture.getpalette() == palette
    assert georeference(written) == georeference(image)
    assert [tag[0] for tag in georeference(written)] == [tag[0] for tag in PLACE]
    with tifffile.TiffFile(written) as file, tifffile.TiffFile(image) as original:
        assert file.pages.first.geotiff_tags == original.pages.first.geotiff_tags
    check_plan(tmp_path, {image: ["out.v1.tif"]}, [image], "bench.predict")  # may be replaced
    with pytest.raises(ValueError, match=r"is no earlier result of bench\.dense_crf"):
        check_plan(tmp_path, {image: ["out.v1.tif"]}, [image], "bench.dense_crf")


def test_other_pictures_have_label_maps_in_png(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain.tif", np.zeros(SIZE, np.uint8), [])
    turned = write(
        tmp_path / "turned.tif", np.zeros(SIZE, np.uint8), [*PLACE, (274, 3, 1, 6, True)]
    )
    (tmp_path / "broken.tif").write_bytes(b"II*\0 no TIFF")
    for path in (plain, turned, tmp_path / "broken.tif", tmp_path / "absent.tif"):
        assert label_suffix(path) == ".png"
    write_label(tmp_path / "a", Image.new("L", SIZE), plain, "bench.predict")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.format == "PNG"
