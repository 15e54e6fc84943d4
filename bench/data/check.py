"""Inspecting a data set before training: everything that is wrong at once, and what is in it.

Training stops at the first error; here all of them are listed, with counts, sizes, class
frequencies and weights, and a contact sheet to look at.
"""

import hashlib
import importlib
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from bench.config import Config
from bench.data import findings
from bench.data.ahead import ahead
from bench.data.bands import Array
from bench.data.class_weights import class_weights
from bench.data.decoding import Decoder, pixel_counts
from bench.data.findings import Inspected
from bench.data.images import UInt8Array, resize_image, resize_label, shown, write_png
from bench.data.pairs import Pair, pairs_of
from bench.data.prepare import is_complete, wrong_files
from bench.data.schema import DatasetConfig

SHOWN = 10  # of each kind of problem
SHEET_ROWS, SHEET_COLUMNS, SHEET_WIDTH = 4, 3, 320  # pictures, pictures, pixels a picture
OVERLAY_OPACITY = 0.5


def inspect(config: Config, splits: list[str], sheet: Path) -> list[str]:
    """Prints what is in the splits, writes the contact sheet, and returns what is wrong.

    Args:
        config: with the data set.
        splits: their names.
        sheet: the PNG to write.
    """
    dataset, problems = config.dataset, []
    known: findings.Splits = {}
    for split in splits:
        try:
            pairs = pairs_of(dataset, split)
        except ValueError as error:
            problems.append(f"{split}: {error}")
            continue
        known[split], wrong = _inspect_split(Decoder.of(config), split, pairs)
        problems += wrong
        _print_split(split, known[split])
        if split == splits[0] and _write_sheet(config, pairs, sheet):
            print(f"{split}: contact sheet written to {sheet}")
    problems += findings.unlabelled(known)
    problems += findings.without_a_pixel(known, dataset, config.protocol.train_split)
    problems += _some(findings.leaks(known), "images stand in two splits")
    if dataset.root is not None and is_complete(Path(dataset.root)):
        wrong = [f"{name}: its checksum is wrong" for name in wrong_files(Path(dataset.root))]
        problems += _some(wrong, "files have a wrong checksum")
    problems += _some(_unlike_the_release(dataset), "files differ from the released ones")
    _print_classes(known, dataset)
    for note in findings.equal_names(known):
        print(f"NOTE {note}")
    for problem in problems:
        print(f"PROBLEM {problem}")
    return problems


def _inspect_split(
    decoder: Decoder, split: str, pairs: list[Pair]
) -> tuple[list[Inspected], list[str]]:
    """Reads every pair; returns those that are sound, and what is wrong with the others."""
    results = ahead(partial(_inspect_pair, decoder), pairs)
    bar = tqdm(results, total=len(pairs), desc=f"checking {split}", ncols=100, disable=None)
    outcomes = list(bar)
    errors = [f"{split}: {result}" for result in outcomes if isinstance(result, str)]
    sound = [result for result in outcomes if isinstance(result, Inspected)]
    return sound, _some(errors, f"pairs of {split} cannot be used")


def _inspect_pair(decoder: Decoder, pair: Pair) -> Inspected | str:
    try:
        image, truth = decoder.read(pair)
    except ValueError as error:
        return str(error)
    digest = hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest()
    height, width = truth.shape
    return Inspected(pair, f"{width}x{height}", pixel_counts(truth, decoder.num_classes), digest)


def _unlike_the_release(dataset: DatasetConfig) -> list[str]:
    """Lists the files whose content is not what was released, where the reader's module knows."""
    module = importlib.import_module(dataset.reader["_target_"].rpartition(".")[0])
    if dataset.root is None or not hasattr(module, "changed_files"):
        return []
    root = Path(dataset.root)
    return [
        f"{root / name}: not the released file (its SHA-256 differs); fetch it again"
        for name in module.changed_files(str(root))
    ]


def _some(texts: list[str], summary: str) -> list[str]:
    """Returns the first few of many texts, and how many there are in all."""
    more = [f"{len(texts)} {summary}; the first {SHOWN} are shown"] if len(texts) > SHOWN else []
    return texts[:SHOWN] + more


def _print_split(split: str, known: list[Inspected]) -> None:
    sizes = Counter(pair.size for pair in known).most_common()
    shown = ", ".join(f"{count} of {size}" for size, count in sizes[:4])
    rest = f" and {len(sizes) - 4} more sizes" if len(sizes) > 4 else ""
    print(f"{split}: {len(known)} sound pairs, {shown}{rest}")


def _print_classes(known: findings.Splits, dataset: DatasetConfig) -> None:
    """Prints the share of each class in each split, and the weights from the first split."""
    pixels = {split: np.stack([p.pixels for p in pairs]) for split, pairs in known.items() if pairs}
    if not pixels:
        return
    first = next(iter(pixels))
    try:
        weights = class_weights("median_frequency", pixels[first], dataset)
    except ValueError as error:
        print(f"no median-frequency weights: {error}")
        weights = np.empty(0)
    heads = "".join(f"{split + ' %':>10}{'images':>8}" for split in pixels)
    print(f"{'class':<20}{heads}{'weight':>10}")
    for index, name in enumerate([*dataset.classes, "void"]):
        cells = "".join(
            f"{100 * p[:, index].sum() / p.sum():>10.3f}{np.count_nonzero(p[:, index]):>8}"
            for p in pixels.values()
        )
        weighted = index < len(weights)
        print(f"{name:<20}{cells}" + (f"{weights[index]:>10.4f}" if weighted else ""))


def _write_sheet(config: Config, pairs: list[Pair], path: Path) -> bool:
    """Writes pictures spread over the split under the colours of their labels, if any is sound."""
    count = min(len(pairs), SHEET_ROWS * SHEET_COLUMNS)
    chosen = [pairs[index] for index in np.linspace(0, len(pairs) - 1, count).astype(int)]
    decoder, tiles = Decoder.of(config), []
    table = np.zeros((256, 3), np.uint8)
    table[: len(config.dataset.colours)] = config.dataset.colours
    for pair in chosen:
        try:
            tiles.append(_tile(*decoder.read(pair), table))
        except ValueError:  # it is among the problems
            continue
    if not tiles:
        return False
    sheet = np.zeros((SHEET_ROWS * tiles[0].shape[0], SHEET_COLUMNS * SHEET_WIDTH, 3), np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, SHEET_COLUMNS)
        top, left = row * tile.shape[0], column * SHEET_WIDTH
        sheet[top : top + tile.shape[0], left : left + SHEET_WIDTH] = tile
    write_png(path, Image.fromarray(sheet))
    return True


def _tile(image: Array, truth: UInt8Array, table: UInt8Array) -> UInt8Array:
    """Lays the colours of a label over its image, at the sheet's size, 4:3."""
    height = SHEET_WIDTH * 3 // 4
    small = resize_image(shown(image), height, SHEET_WIDTH)
    painted = table[resize_label(truth, height, SHEET_WIDTH)]
    mixed = OVERLAY_OPACITY * painted + (1 - OVERLAY_OPACITY) * small
    return mixed.astype(np.uint8)
