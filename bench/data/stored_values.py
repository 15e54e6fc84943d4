"""Values that label files store for classes and void, as the command line gives them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.data.geotiff import nodata_pixels
from bench.data.images import indices, open_label

LARGEST = 255  # value of an 8-bit picture


@dataclass(frozen=True)
class Coding:
    """What the label files of one side store.

    Attributes:
        side: `prediction` or `label`.
        values: of the K classes, in their order.
        void_values: that mean void.
    """

    side: str
    values: tuple[int, ...]
    void_values: tuple[int, ...]

    def read(self, path: Path) -> NDArray[np.int16]:
        """Reads a label file as class indices (H, W): classes are 0..K-1, void is K.

        Raises:
            ValueError: it is no index image, or holds a value that is neither class nor void.
        """
        index_of, picture = np.full(256, -1, np.int16), open_label(path)
        index_of[list(self.void_values)] = len(self.values)
        index_of[list(self.values)] = np.arange(len(self.values))
        stored = indices(picture, path)
        found = index_of[stored]
        if found.min() < 0:
            raise ValueError(
                f"{path}: the value {stored[found < 0][0]} is neither a class "
                f"({spans(self.values)}) nor void ({spans(self.void_values) or 'none'}); check "
                f"--classes, --void and --first-class, or give --{self.side}-values and "
                f"--{self.side}-void-values"
            )
        nodata = nodata_pixels(picture)
        hidden = nodata is not None and nodata & (found < len(self.values))
        if np.any(hidden):
            raise ValueError(
                f"{path}: the value {stored[hidden][0]} is a class, and no data by the tag of the "
                f"file; name it in --{self.side}-void-values, or remove the tag where the class is "
                "meant"
            )
        return found

    def check(self, classes: int) -> None:
        """Rejects values that cannot be told apart.

        Args:
            classes: their number, K.

        Raises:
            ValueError: naming the option, its value and the remedy.
        """
        if len(self.values) != classes or len({*self.values}) != classes:
            raise ValueError(
                f"--{self.side}-values {spans(self.values)} must be {classes} different values, "
                "one for each of --classes"
            )
        for value in self.values:
            if not 0 <= value <= LARGEST:
                raise ValueError(f"--{self.side}-values {value}: label files hold 0..{LARGEST}")
        for value in self.void_values:
            if value in self.values or not 0 <= value <= LARGEST:
                raise ValueError(
                    f"--void {value} (or --{self.side}-void-values) must be a value from 0 to "
                    f"{LARGEST} that is not a class "
                    f"({spans(self.values)}); {LARGEST} if no pixel is void"
                )


def check_palettes(
    paths: tuple[Path, Path], codings: tuple[Coding, Coding], prediction: NDArray[np.int16]
) -> None:
    """Rejects a prediction whose palette holds the colours of the truth's at other classes.

    Programs that save colours as a palette picture order it as they like. Grey pictures, and
    palettes with other colours than the truth's, are indices and nothing else.

    Args:
        paths: of the prediction and of its truth.
        codings: likewise.
        prediction: class indices (H, W).

    Raises:
        ValueError: naming file, index, colour and class.
    """
    palettes = [_palette(path) for path in paths]
    if not all(palettes):
        return
    own, true = palettes
    stored = [*codings[1].values, *codings[1].void_values]
    meant = {true[value]: place for place, value in enumerate(stored) if value in true}
    ambiguous = len(meant) < sum(value in true for value in stored)
    used = np.unique(prediction[prediction < len(codings[0].values)]).tolist()
    colours = [own.get(codings[0].values[index]) for index in used]
    if ambiguous or not all(colour in meant for colour in colours):
        return
    for index, colour in zip(used, colours, strict=True):
        if colour is not None and meant[colour] != index:
            raise ValueError(
                f"{paths[0]}: the palette has the colour {list(colour)} at index "
                f"{codings[0].values[index]}, which in {paths[1]} is the colour of "
                f"{stored[meant[colour]]}; save both as grey indices, or with one palette"
            )


def _palette(path: Path) -> dict[int, tuple[int, ...]]:
    """Returns the colour of each index of a palette picture; empty for any other picture."""
    with Image.open(path) as image:
        values = (image.getpalette("RGB") or []) if image.mode == "P" else []
    return {i: tuple(values[3 * i : 3 * i + 3]) for i in range(len(values) // 3)}


def spans(values: Sequence[int]) -> str:
    """Writes values as `value_list` reads them: 0..36,255."""
    spans: list[list[int]] = []
    for value in values:
        if spans and spans[-1][1] == value - 1:
            spans[-1][1] = value
        else:
            spans.append([value, value])
    return ",".join(str(a) if a == b else f"{a}..{b}" for a, b in spans)


def value_list(text: str) -> tuple[int, ...]:
    """Reads values as given on the command line: 1,2,5 or 1..11 or [0, 255].

    Raises:
        ValueError: it is something else; argparse says so.
    """
    values: list[int] = []
    for part in filter(None, text.strip("[] ").split(",")):
        first, _, last = part.partition("..")
        values += range(int(first), int(last or first) + 1)
    return tuple(values)
