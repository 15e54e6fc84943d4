"""Procedural road scenes with CamVid's eleven classes: for trying things out and for tests.

A scene is a pure function of (seed, split, index, size). It has what makes decoders differ: poles a
pixel or two wide, small pedestrians, cars that hide one another, texture and noise. It is a
stand-in, never a benchmark: colours tell most classes apart.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bench.data.images import UInt8Array
from bench.data.pairs import Pair
from bench.seeds import derive_seed

# Paints image (H, W, 3) and label (H, W) from a seed, a height and a width.
Painter = Callable[[int, int, int], tuple[UInt8Array, UInt8Array]]

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST, VOID = range(12)

# Mean colour of each class; every object varies around it.
BASE_COLOURS = np.array(
    [
        [170, 200, 235], [150, 105, 85], [95, 95, 100], [85, 85, 90], [165, 155, 145],
        [60, 110, 50], [210, 180, 60], [120, 90, 60], [60, 70, 140], [190, 80, 90],
        [90, 160, 150], [25, 25, 25],
    ]
)  # fmt: skip


def read(split: str, counts: dict[str, int], size: list[int], seed: int) -> list[Pair]:
    """Returns the pairs of one split.

    Args:
        split: a key of `counts`.
        counts: how many scenes each split has.
        size: [height, width] of the scenes in pixels.
        seed: scenes of one seed and split are always the same.

    Raises:
        ValueError: the split is unknown, or the size or a count is too small.
    """
    return painted_pairs(scene, split, counts, size, seed)


def painted_pairs(
    paint: Painter, split: str, counts: dict[str, int], size: list[int], seed: int
) -> list[Pair]:
    """Returns the pairs of one split as some painter paints them; else as `read`."""
    if counts.get(split, 0) < 1:
        raise ValueError(
            f"dataset.reader.counts has no scenes for split {split!r}; it names {', '.join(counts)}"
        )
    if len(size) != 2 or min(size) < 16:
        raise ValueError(f"dataset.reader.size is {size}; it must be [height, width] of 16 or more")
    pairs = []
    for index in range(counts[split]):
        place = derive_seed(seed, f"scene/{split}", index), size[0], size[1]
        name = f"{split}_{index:05d}"
        image, label = partial(_image, paint, *place), partial(_label, paint, *place)
        pairs.append(Pair(name, image, label, f"synthetic scene {name}"))
    return pairs


def scene(seed: int, height: int, width: int) -> tuple[UInt8Array, UInt8Array]:
    """Paints one scene: image uint8 (H, W, 3) and label uint8 (H, W) with void 11."""
    canvas = _Canvas(np.random.default_rng(seed), height, width)
    _background(canvas)
    _street_furniture(canvas)
    _traffic(canvas)
    canvas.box(VOID, 0, 0.96, 1, 1.1)  # the bonnet of the car that films
    return canvas.finished()


def _image(paint: Painter, seed: int, height: int, width: int) -> UInt8Array:
    return paint(seed, height, width)[0]


def _label(paint: Painter, seed: int, height: int, width: int) -> UInt8Array:
    return paint(seed, height, width)[1]


class _Canvas:
    """Draws every shape into image and label at once; coordinates are fractions of the size."""

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self.rng, self.height, self.width = rng, height, width
        self._image = Image.new("RGB", (width, height))
        self._label = Image.new("L", (width, height))
        self._pens = ImageDraw.Draw(self._image), ImageDraw.Draw(self._label)

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def colour(self, kind: int, spread: float = 18) -> tuple[int, int, int]:
        """Draws an object's colour: brightness varies more than hue."""
        drawn = BASE_COLOURS[kind] + self.rng.normal(0, spread) + self.rng.normal(0, spread / 3, 3)
        red, green, blue = (int(v) for v in drawn.clip(0, 255))
        return red, green, blue

    def polygon(self, kind: int, points: list[tuple[float, float]]) -> None:
        pixels = [(x * self.width, y * self.height) for x, y in points]
        self._pens[0].polygon(pixels, fill=self.colour(kind))
        self._pens[1].polygon(pixels, fill=kind)

    def box(self, kind: int, left: float, top: float, right: float, bottom: float) -> None:
        self.polygon(kind, [(left, top), (right, top), (right, bottom), (left, bottom)])

    def ellipse(self, kind: int, x: float, y: float, radius_x: float, radius_y: float) -> None:
        corners = [
            (x - radius_x) * self.width,
            (y - radius_y) * self.height,
            (x + radius_x) * self.width,
            (y + radius_y) * self.height,
        ]
        self._pens[0].ellipse(corners, fill=self.colour(kind))
        self._pens[1].ellipse(corners, fill=kind)

    def line(self, kind: int, points: list[tuple[float, float]], thickness: float) -> None:
        """Draws a line whose thickness is a fraction of the height, at least one pixel."""
        pixels = [(x * self.width, y * self.height) for x, y in points]
        stroke = max(1, round(thickness * self.height))
        self._pens[0].line(pixels, fill=self.colour(kind), width=stroke)
        self._pens[1].line(pixels, fill=kind, width=stroke)

    def finished(self) -> tuple[UInt8Array, UInt8Array]:
        """Adds lighting, texture and sensor noise, and returns image and label."""
        label = np.asarray(self._label)
        image = np.asarray(self._image).astype(np.float64)
        light = np.linspace(self.uniform(0.8, 1.2), self.uniform(0.8, 1.2), self.width)
        image *= light[None, :, None]
        image += self._texture(label)[..., None]
        image += self.rng.normal(0, 5, image.shape)
        return image.clip(0, 255).astype(np.uint8), label

    def _texture(self, label: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Foliage is coarse, walls have windows, tarmac is grainy; the rest is smooth."""
        rows, columns = np.indices(label.shape) / self.height
        texture = np.zeros(label.shape)
        texture += (label == TREE) * self.rng.normal(0, 22, label.shape)
        texture += (label == ROAD) * self.rng.normal(0, 6, label.shape)
        windows = (np.sin(rows * 75) > 0.3) & (np.sin(columns * 60) > 0.2)
        texture -= ((label == BUILDING) & windows) * 45
        return texture


def _background(canvas: _Canvas) -> None:
    """Sky, buildings and trees on both sides, pavement, road."""
    horizon = canvas.uniform(0.4, 0.5)
    centre = canvas.uniform(0.4, 0.6)
    canvas.box(SKY, 0, 0, 1, 1)
    left = 0.0
    while left < 1:
        right = left + canvas.uniform(0.12, 0.3)
        distance = abs((left + right) / 2 - centre)  # what stands at the side is near, so tall
        top = horizon - canvas.uniform(0.1, 0.25) - 0.5 * distance
        canvas.box(BUILDING, left, top, right, horizon + 0.1)
        left = right + canvas.uniform(0, 0.06)
    canvas.box(PAVEMENT, 0, horizon, 1, 1)
    half = canvas.uniform(0.35, 0.55)
    canvas.polygon(
        ROAD,
        [
            (centre - 0.03, horizon),
            (centre + 0.03, horizon),
            (centre + half, 1),
            (centre - half, 1),
        ],
    )


def _street_furniture(canvas: _Canvas) -> None:
    """Trees, fences, poles and signs along both sides, far ones first."""
    for depth in np.sort(canvas.rng.uniform(0.1, 1, size=9)):
        side = -1 if canvas.rng.random() < 0.5 else 1
        x = 0.5 + side * (0.06 + 0.42 * depth) + canvas.uniform(-0.03, 0.03)
        ground = 0.46 + 0.3 * depth
        kind = int(canvas.rng.choice([TREE, TREE, FENCE, POLE, POLE, SIGN]))
        if kind == TREE:
            canvas.line(TREE, [(x, ground), (x, ground - 0.2 * depth)], 0.03 * depth)
            canvas.ellipse(TREE, x, ground - 0.35 * depth, 0.11 * depth, 0.2 * depth)
        elif kind == FENCE:
            canvas.box(FENCE, x, ground - 0.13 * depth, x + side * 0.2 * depth, ground)
        else:
            canvas.line(POLE, [(x, ground), (x, ground - 0.55 * depth)], 0.016 * depth)
            if kind == SIGN:
                top, half = ground - 0.6 * depth, 0.03 * depth
                canvas.box(SIGN, x - half, top, x + half, top + 0.12 * depth)


def _traffic(canvas: _Canvas) -> None:
    """Cars, pedestrians and bicyclists, far ones first, so that near ones hide them."""
    for depth in np.sort(canvas.rng.uniform(0.15, 1, size=int(canvas.rng.integers(4, 9)))):
        x = 0.5 + canvas.uniform(-0.45, 0.45) * (0.3 + 0.7 * depth)
        ground = 0.47 + 0.4 * depth
        kind = int(canvas.rng.choice([CAR, CAR, PEDESTRIAN, PEDESTRIAN, BICYCLIST]))
        if kind == CAR:
            width, tall = 0.13 * depth, 0.16 * depth
            canvas.box(CAR, x - width, ground - 0.6 * tall, x + width, ground)
            canvas.box(CAR, x - 0.6 * width, ground - tall, x + 0.6 * width, ground - 0.5 * tall)
        else:
            _person(canvas, kind, x, ground, depth)


def _person(canvas: _Canvas, kind: int, x: float, ground: float, depth: float) -> None:
    """A walker upright, a rider leaning forward on two wheels."""
    tall, lean = 0.3 * depth, 0.0
    if kind == BICYCLIST:
        hubs = [
            (x - 0.07 * depth, ground - 0.05 * depth),
            (x + 0.07 * depth, ground - 0.05 * depth),
        ]
        for hub in hubs:
            canvas.ellipse(BICYCLIST, *hub, 0.04 * depth, 0.055 * depth)
        canvas.line(BICYCLIST, [hubs[0], (x, ground - 0.15 * depth), hubs[1]], 0.03 * depth)
        lean, ground = 0.05 * depth, ground - 0.1 * depth
        tall *= 0.8
    hip, shoulder = 0.02 * depth, 0.026 * depth
    canvas.polygon(
        kind,
        [
            (x - hip, ground),
            (x + hip, ground),
            (x + lean + shoulder, ground - 0.8 * tall),
            (x + lean - shoulder, ground - 0.8 * tall),
        ],
    )
    canvas.ellipse(kind, x + lean, ground - 0.9 * tall, 0.017 * depth, 0.1 * tall)
