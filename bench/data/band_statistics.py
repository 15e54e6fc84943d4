"""Mean and deviation of each band over the training split, measured once and written down."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bench import records
from bench.data.ahead import ahead
from bench.data.band_file import MEASURED
from bench.data.pairs import Pair, pairs_of
from bench.data.schema import DatasetConfig

DIGITS = 9  # as many as float32 has; the last bits of a sum may differ between machines


def write_statistics(dataset: DatasetConfig, split: str) -> Path:
    """Writes ROOT/bands.yaml, or finds there what it would write; returns its path.

    Raises:
        ValueError: the set declares no bands, an image is wrong, a band is constant, or the file
            says something else.
    """
    if dataset.bands is None or dataset.root is None:
        raise ValueError(
            "dataset.bands is null; say how many bands the images have, in classes.yaml as "
            "'bands: 5' or as dataset.bands=5"
        )
    text = _measured(pairs_of(dataclasses.replace(dataset, limit=None), split), dataset.bands)
    path = Path(dataset.root) / MEASURED
    if not path.exists():
        records.write_bytes(path, text.encode())
    elif path.read_bytes() != text.encode():
        raise ValueError(
            f"{path}: was measured of other images, or written by hand; remove it to measure again"
        )
    return path


def _measured(pairs: list[Pair], bands: int) -> str:
    """Measures all pixels of the images, at their own sizes and in float64, in order."""
    total, digest = 0, hashlib.sha256()
    mean, squares = np.zeros(bands), np.zeros(bands)  # squares: summed, of distances from the mean
    for image in tqdm(
        ahead(lambda pair: pair.image(), pairs), "measuring", len(pairs), ncols=100, disable=None
    ):
        digest.update(f"{image.dtype} {image.shape}".encode() + image.tobytes())
        values = image.reshape(-1, bands).astype(np.float64)
        count, own = len(values), values.mean(axis=0)
        distance = own - mean
        squares += ((values - own) ** 2).sum(axis=0)
        squares += distance**2 * (total * count / (total + count))
        total += count
        mean += distance * (count / total)
    deviation = np.sqrt(squares / total)
    if not deviation.all():
        raise ValueError(
            f"band {int(deviation.argmin()) + 1} of {bands} has one value in all {len(pairs)} "
            "images, so that it cannot be given deviation 1; leave it out of the files"
        )
    lines = {
        "bands": bands,
        "mean": [float(f"{value:.{DIGITS}g}") for value in mean],
        "deviation": [float(f"{value:.{DIGITS}g}") for value in deviation],
        "images": len(pairs),
        "digest": digest.hexdigest()[:16],
    }
    return "".join(f"{key}: {value}\n" for key, value in lines.items())
