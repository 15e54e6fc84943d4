"""What label files store, values or colours, and the class index 0..K-1 or void it stands for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.images import UInt8Array, open_picture, read_label

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class LabelCoding:
    """The meaning of the values and colours of label files; what is not listed is refused.

    Attributes:
        values: class index or void of each stored value, 0..255.
        colours: class index or void of each RGB colour; empty: coloured labels are refused.
    """

    values: Mapping[int, int]
    colours: Mapping[Colour, int] = field(default_factory=dict)

    def read(self, path: Path) -> UInt8Array:
        """Reads a label picture as class indices uint8 (H, W).

        Raises:
            ValueError: it cannot be read, or holds a value or colour that is not listed.
        """
        if self.colours:
            picture = open_picture(path)
            if picture.mode in {"RGB", "RGBA"}:
                return self.of_colours(np.asarray(picture.convert("RGB")), str(path))
        return self.of_values(read_label(path), str(path))

    def of_values(self, stored: UInt8Array, source: str) -> UInt8Array:
        """Turns stored values uint8 (H, W) into class indices.

        Raises:
            ValueError: naming the source and a value that is not listed.
        """
        table = np.full(256, -1, np.int16)
        table[list(self.values)] = list(self.values.values())
        indices = table[stored]
        if indices.min(initial=0) < 0:
            unknown = int(stored[indices < 0][0])
            raise ValueError(
                f"{source}: label value {unknown} belongs to no class (known: "
                f"{_spans(self.values)}); correct the file or the table of label values"
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
