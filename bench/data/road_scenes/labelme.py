"""LabelMe annotations: polygons with free names in XML, drawn as a map of class indices."""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from bench.data.images import UInt8Array

Polygon = list[tuple[float, float]]


def read_polygons(path: Path, names: dict[str, int], others: int | None) -> UInt8Array:
    """Draws the objects of an annotation, large ones first; uint8 (H, W).

    Args:
        path: the XML file, which gives the picture's size.
        names: class index of each object name in lower case; of a name with several words, such
            as 'car az90deg', the longest known part decides.
        others: the index of all other names and of pixels without an object; None: such names
            are refused and such pixels impossible.

    Raises:
        ValueError: the file is malformed, or an object's name is unknown.
    """
    try:
        tree = ET.parse(path)
        height, width = (int(tree.findtext(f"imagesize/{key}", "")) for key in ("nrows", "ncols"))
        objects = [
            (item.findtext("name", "").strip().lower(), _points(item))
            for item in tree.iter("object")
            if item.findtext("deleted", "0").strip() != "1"
        ]
    except (ET.ParseError, ValueError) as error:
        raise ValueError(f"{path}: not a LabelMe annotation ({error}); fetch it again") from error
    if others is None:
        raise ValueError(f"{path}: the mapping of LabelMe annotations needs 'others: void'")
    label = Image.new("L", (width, height), others)
    pen = ImageDraw.Draw(label)
    for name, polygon in sorted(objects, key=lambda item: -_area(item[1])):
        if len(polygon) >= 3:
            pen.polygon(polygon, fill=_index(name, names, others))
    return np.asarray(label)


def _points(item: ET.Element) -> Polygon:
    return [
        (float(point.findtext("x", "")), float(point.findtext("y", "")))
        for point in item.iterfind("polygon/pt")
    ]


def _area(polygon: Polygon) -> float:
    """Returns the area of a polygon (the shoelace formula)."""
    following = polygon[1:] + polygon[:1]
    doubled = sum(a[0] * b[1] - a[1] * b[0] for a, b in zip(polygon, following, strict=True))
    return abs(doubled) / 2


def _index(name: str, names: dict[str, int], others: int) -> int:
    """Finds the longest run of the name's words that is known."""
    words = name.split()
    for length in range(len(words), 0, -1):
        for start in range(len(words) - length + 1):
            part = " ".join(words[start : start + length])
            if part in names:
                return names[part]
    return others
