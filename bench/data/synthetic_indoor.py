"""Procedural rooms with SUN RGB-D's 37 classes: for trying things out and for tests.

A scene is a pure function of (seed, split, index, size). Each class has its own colour and one of
four shapes; nothing here looks like a real room, and no score on it means anything.
"""

import colorsys

import numpy as np
from PIL import Image, ImageDraw

from bench.data.images import UInt8Array
from bench.data.pairs import Pair
from bench.data.synthetic import painted_pairs

CLASSES, VOID = 37, 255
WALL, FLOOR, DOOR, WINDOW, CEILING = 0, 1, 7, 8, 21
FURNITURE = sorted(set(range(CLASSES)) - {WALL, FLOOR, DOOR, WINDOW, CEILING})

# Golden-angle hues, three brightnesses: neighbours in the list of classes look different.
COLOURS = np.array(
    [colorsys.hsv_to_rgb(k * 0.381966 % 1, 0.55, (0.5, 0.7, 0.9)[k % 3]) for k in range(CLASSES)]
)


def read(split: str, counts: dict[str, int], size: list[int], seed: int) -> list[Pair]:
    """Returns the pairs of one split; arguments and errors as bench.data.synthetic.read."""
    return painted_pairs(room, split, counts, size, seed)


def room(seed: int, height: int, width: int) -> tuple[UInt8Array, UInt8Array]:
    """Paints one room: image uint8 (H, W, 3) and label uint8 (H, W), classes 0..36, void 255."""
    rng = np.random.default_rng(seed)
    label = Image.new("L", (width, height), WALL)
    pen = ImageDraw.Draw(label)

    def box(kind: int, left: float, top: float, right: float, bottom: float) -> None:
        pen.rectangle((left * width, top * height, right * width, bottom * height), fill=kind)

    horizon = rng.uniform(0.55, 0.7)
    box(CEILING, 0, 0, 1, rng.uniform(0.08, 0.18))
    box(FLOOR, 0, horizon, 1, 1)
    door, window = rng.uniform(0.02, 0.3), rng.uniform(0.55, 0.8)
    box(DOOR, door, 0.25, door + 0.12, horizon)
    box(WINDOW, window, 0.22, window + 0.18, 0.45)
    for kind in rng.choice(FURNITURE, size=9, replace=False):
        x, y = rng.uniform(0, 0.9), rng.uniform(0.25, 0.9)
        w, h = rng.uniform(0.04, 0.2), rng.uniform(0.05, 0.25)
        corners = (x * width, y * height, (x + w) * width, (y + h) * height)
        if kind % 4 == 0:
            pen.ellipse(corners, fill=int(kind))
        elif kind % 4 == 1:
            pen.polygon([corners[:2], (corners[2], corners[1]), corners[2:]], fill=int(kind))
        else:
            pen.rectangle(corners, fill=int(kind))
    box(VOID, 0.97, 0, 1, 1)  # depth cameras leave a border without labels
    return _coloured(np.asarray(label), rng), np.asarray(label)


def _coloured(label: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Gives every class its colour, the scene its light, and every pixel noise."""
    table = np.zeros((256, 3))
    table[:CLASSES] = 255 * COLOURS
    light = np.linspace(rng.uniform(0.8, 1.1), rng.uniform(0.8, 1.1), label.shape[1])
    image = table[label] * light[None, :, None] + rng.normal(0, 8, (*label.shape, 3))
    return image.clip(0, 255).astype(np.uint8)
