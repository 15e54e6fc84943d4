"""What label files store, values or colours, and the class index 0..K-1 or void it stands for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.data.geotiff import nodata_pixels
from bench.data.images import UInt8Array, indices, open_label

Colour = tuple[int, int, int]

# Turns a label file into class indices uint8 (H, W).
LabelReader = Callable[[Path], UInt8Array]


@dataclass(frozen=True)
class LabelCoding:
    """The meaning of the values and colours of label files; what is not listed is refused.

    Attributes:
        values: class index or void of each stored value, 0..255.
        colours: class index or void of each RGB colour; empty: coloured labels are refused.
        void: which of these indices is void; its colours prove nothing about a palette, black
            being the first colour of most.
        palette: what counts in a palette label, `indices` or `colours`; None: indices, unless the
            colours contradict them, which is refused.
        names: of the classes, for messages.
    """

    values: Mapping[int, int]
    colours: Mapping[Colour, int] = field(default_factory=dict)
    void: int | None = None
    palette: str | None = None
    names: Sequence[str] = ()

    def read(self, path: Path) -> UInt8Array:
        """Reads a label picture as class indices uint8 (H, W).

        Raises:
            ValueError: it cannot be read, or holds a value or colour that is not listed.
        """
        picture = open_label(path)
        by_colour = picture.mode in {"RGB", "RGBA"}
        if picture.mode == "P" and self.palette is None:
            self._check_palette(picture, str(path))
        elif picture.mode == "P":
            by_colour = self.palette == "colours"
        if by_colour and self.colours:
            found = self.of_colours(np.asarray(picture.convert("RGB")), str(path))
        else:
            found = self.of_values(indices(picture, path), str(path))
        nodata = nodata_pixels(picture)
        hidden = nodata is not None and nodata & (found != self.void)
        if np.any(hidden):
            raise ValueError(
                f"{path}: pixels of {self._called(int(found[hidden][0]))} are no data by the tag "
                "of the file; make their value void (dataset.reader.void_values), or remove the "
                "tag where the class is meant"
            )
        return found

    def _check_palette(self, picture: Image.Image, source: str) -> None:
        """Refuses a palette that shows classes at other indices than theirs.

        That is where two entries in use have the colours of other classes, or where one has and no
        entry in use has a colour of its own. Grey ramps and other palettes say nothing.
        """
        used = used_palette(picture)
        wrong = [
            (index, colour)
            for index, colour in used.items()
            if self.colours.get(colour, self.void) not in {self.void, self.values.get(index)}
        ]
        foreign = [colour for colour in used.values() if colour not in self.colours]
        if not wrong or (foreign and len(wrong) == 1) or _is_grey_ramp(used):
            return
        index, colour = wrong[0]
        raise ValueError(
            f"{source}: the palette contradicts the indices: index {index} means "
            f"{self._called(self.values.get(index))}, but is shown in {list(colour)}, the colour "
            f"of {self._called(self.colours[colour])}; with dataset=folder say which counts, "
            "dataset.reader.palette=colours or =indices"
        )

    def _called(self, index: int | None) -> str:
        """Names a class, void or neither."""
        if index is None or index == self.void:
            return "no class" if index is None else "void"
        return f"class {self.names[index]!r}" if index < len(self.names) else f"class {index}"

    def of_values(self, stored: UInt8Array, source: str) -> UInt8Array:
        """Turns stored values uint8 (H, W) into class indices.

        Raises:
            ValueError: naming the source and a value that is not listed.
        """
        table = np.full(256, -1, np.int16)
        table[list(self.values)] = list(self.values.values())
        indices = table[stored]
        if indices.min(initial=0) < 0:
            unknown = int(stored[indices < 0].max())
            mask = (
                f" (a mask of two values is read with dataset.reader.values=[0,{unknown}], one "
                "that compression blurred with dataset.reader.threshold=128)"
            )
            two = len({*self.values.values()} - {self.void}) == 2
            raise ValueError(
                f"{source}: label value {unknown} belongs to no class (known: "
                f"{_spans(self.values)}); correct the file or the table of label values"
                f"{mask if two else ''}"
            )
        return indices.astype(np.uint8)

    def of_colours(self, picture: UInt8Array, source: str) -> UInt8Array:
        """Turns a coloured label uint8 (H, W, 3) into class indices (H, W).

        Raises:
            ValueError: naming the source and a colour that is not listed.
        """
        known = sorted((_packed(np.array(colour)), index) for colour, index in self.colours.items())
        codes, indices = (np.array(column) for column in zip(*known, strict=True))
        packed = _packed(picture.astype(np.int32))
        place = np.searchsorted(codes, packed).clip(max=len(codes) - 1)
        wrong = codes[place] != packed
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise ValueError(
                f"{source}: colour {picture[row, column].tolist()} belongs to no class, at row "
                f"{row}, column {column}; correct the file or the table of label colours (labels "
                "saved as JPEG or resized smoothly cannot be used)"
            )
        found: UInt8Array = indices[place].astype(np.uint8)
        return found


def label_coding(
    colours: Sequence[Sequence[int] | None],
    void: int,
    *,
    values: Sequence[int] | None = None,
    void_values: Sequence[int] | None = None,
    void_colours: Sequence[Sequence[int]] | None = None,
    palette: str | None = None,
    names: Sequence[str] | None = None,
) -> LabelCoding:
    """Makes the coding of K classes.

    Args:
        colours: of the classes, RGB; None for each where labels hold no colours.
        void: the index that void gets.
        values: of the classes; None: 0 to K-1.
        void_values: values that mean void; None: `void` itself.
        void_colours: colours that mean void.
        palette: see `LabelCoding`.
        names: of the classes, for messages.

    Raises:
        ValueError: two classes share a value or a colour, the number of values is not K, or a
            value or palette cannot be.
    """
    values = list(range(len(colours))) if values is None else list(values)
    if len(values) != len(colours) or len({*values}) != len(values):
        raise ValueError(
            f"dataset.reader.values is {values}; it must be {len(colours)} different label values, "
            "one a class"
        )
    for key, stored in (("values", values), ("void_values", list(void_values or []))):
        if not all(0 <= value <= 255 for value in stored):
            raise ValueError(f"dataset.reader.{key} is {stored}; label values are 0..255")
    if palette not in {None, "indices", "colours"}:
        raise ValueError(f"dataset.reader.palette is {palette}; it must be indices or colours")
    # Classes come last: a value that is both a class and void is the class.
    by_value = dict.fromkeys([void] if void_values is None else void_values, void)
    by_value |= {value: index for index, value in enumerate(values)}
    by_colour: dict[Colour, int] = {}
    for index, colour in enumerate(colours):
        if colour is not None and by_colour.setdefault(_rgb(colour), index) != index:
            raise ValueError(
                f"dataset.colours gives classes {by_colour[_rgb(colour)]} and {index} one colour "
                f"({list(colour)}); give each its own"
            )
    if by_colour:
        by_colour = {_rgb(colour): void for colour in void_colours or []} | by_colour
    return LabelCoding(by_value, by_colour, void, palette, names or ())


def threshold_reader(
    threshold: int,
    num_classes: int,
    values: Sequence[int] | None = None,
    void_values: Sequence[int] | None = None,
) -> LabelReader:
    """Returns what reads masks of two values, blurred by compression, as classes 0 and 1.

    Args:
        threshold: grey levels from here up are class 1.
        num_classes: K.
        values: of the classes; the threshold leaves no room for them.
        void_values: likewise.

    Raises:
        ValueError: there are not two classes, or the threshold or another argument cannot be.
    """
    if num_classes != 2:
        raise ValueError(
            f"dataset.reader.threshold is {threshold}, which makes two classes, but there are "
            f"{num_classes}; leave it out"
        )
    if not 1 <= threshold <= 255:
        raise ValueError(f"dataset.reader.threshold is {threshold}; it must be from 1 to 255")
    if values is not None or void_values is not None:
        raise ValueError(
            "dataset.reader.threshold makes values of its own; leave out values and void_values"
        )
    return partial(_read_mask, threshold)


def _read_mask(threshold: int, path: Path) -> UInt8Array:
    picture = open_label(path, lossy=True)
    if picture.mode not in {"1", "L", "P", "RGB", "RGBA"}:
        raise ValueError(
            f"{path}: pixel format {picture.mode!r} is not 8-bit grey; convert the mask to it"
        )
    return (np.asarray(picture.convert("L")) >= threshold).astype(np.uint8)


def used_palette(picture: Image.Image) -> dict[int, Colour]:
    """Returns the palette's colour of each index that a palette picture (mode P) uses."""
    used = np.flatnonzero(picture.histogram()[:256])
    entries = np.zeros((256, 3), np.uint8)  # indices beyond a short palette show black
    stored = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
    entries[: len(stored)] = stored
    return {int(index): _rgb(entries[index]) for index in used}


def _is_grey_ramp(used: Mapping[int, Colour]) -> bool:
    return all(colour == (index, index, index) for index, colour in used.items())


def _rgb(colour: Sequence[int] | NDArray[Any]) -> Colour:
    red, green, blue = colour
    return int(red), int(green), int(blue)


def _packed(colour: NDArray[Any]) -> Any:
    """Packs RGB (..., 3) into one number each."""
    return (colour[..., 0] << 16) | (colour[..., 1] << 8) | colour[..., 2]


def _spans(values: Mapping[int, int]) -> str:
    """Lists the known values: 0..36, 255."""
    spans: list[list[int]] = []
    for value in sorted(values):
        if spans and spans[-1][1] == value - 1:
            spans[-1][1] = value
        else:
            spans.append([value, value])
    return ", ".join(str(a) if a == b else f"{a}..{b}" for a, b in spans)
