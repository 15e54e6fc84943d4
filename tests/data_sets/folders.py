"""A small set of one's own as files, each part of it as a test wants it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from bench.data.images import UInt8Array

COLOURS = [(128, 64, 128), (64, 0, 128), (128, 128, 0)]
SIZE = (24, 32)  # height, width

Save = Callable[[Path, UInt8Array], None]


def save(path: Path, array: UInt8Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def label(seed: int, classes: int = 3) -> UInt8Array:
    """Draws a rectangle of each class from 1 on over class 0."""
    rng = np.random.default_rng(seed)
    drawn = np.zeros(SIZE, np.uint8)
    for index in range(1, classes):
        top, left = rng.integers(0, 14), rng.integers(0, 20)
        drawn[top : top + 8, left : left + 10] = index
    return drawn


def image(seed: int) -> UInt8Array:
    return np.random.default_rng(1000 + seed).integers(0, 255, (*SIZE, 3), np.uint8)


def write_set(
    root: Path,
    names: dict[str, list[str]],
    *,
    save_label: Save = save,
    classes: int = 3,
    suffix: str = ".png",
) -> None:
    """Writes images/SPLIT/NAME.png, labels/SPLIT/NAME and classes.yaml; every picture differs."""
    seed = 0
    for split, some in names.items():
        for name in some:
            save(root / "images" / split / f"{name}.png", image(seed))
            path = root / "labels" / split / f"{name}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_label(path, label(seed, classes))
            seed += 1
    colours = ", ".join(f"class{index}: {list(COLOURS[index])}" for index in range(classes))
    (root / "classes.yaml").write_text(f"classes: {{{colours}}}\n")
