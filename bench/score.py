"""Scores a folder of predicted label PNGs against a folder of true ones, without any training.

    python -m bench.score PREDICTIONS LABELS --classes 11 --void 11

Files pair by name. The table gives fractions as percent and states its conventions; `--json` gives
every convention, for the set and for every image. Needs neither torch nor a data set's config.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from math import isnan
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bench.data.images import read_label
from bench.metrics.boundaries import (
    BOUNDARY_CLASSES,
    TOLERANCE,
    VOID_RULES,
    VoidRule,
    boundary_counts,
)
from bench.metrics.regions import ABSENT_CLASSES, confusion_matrix
from bench.metrics.scores import HEADLINE, Evidence, all_scores, headline

NOTES = """\
Percent; n/a: undefined. {images} images; class values {first}..{last} as stored in the files.
G, C, mIoU: one confusion matrix over all images. Pixels whose truth is void (value {void}) are left
  out; void in a prediction counts as wrong. First table: paper_script. Absent classes:
  paper_script    mean over all classes, an absent class counts 0
  ground_truth    mean over the classes in the truth
  union           mean over the classes in truth or prediction
BF: F1 of class boundaries within {tolerance:g} % of the image diagonal, mean over classes, then
  over images. First table: one_to_one, ground_truth. Void rule: {void_rule}.
  one_to_one      each boundary pixel serves one partner: maximum matching
  tolerance       a boundary pixel counts if any of the other map is near
  ground_truth    classes with a boundary in the image's truth
  union           classes with a boundary in the image's truth or prediction"""

Result = tuple[NDArray[np.int64], NDArray[np.int32]]  # confusion (K+1, K+1), boundaries (K, 5)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code, 2 for what the user can mend."""
    options = _parser().parse_args(arguments)
    try:
        _check(options)
        evidence = measure(
            pair_files(options.predictions, options.labels),
            num_classes=options.classes,
            void=options.void,
            first_class=options.first_class,
            tolerance=options.tolerance,
            void_rule=options.void_rule,
            processes=options.processes,
        )
    except (ValueError, OSError) as error:
        print(f"bench.score: {error}", file=sys.stderr)
        return 2
    print(_as_json(evidence) if options.json else _as_table(evidence, options))
    return 0


def pair_files(predictions: Path, labels: Path) -> list[tuple[Path, Path]]:
    """Pairs the PNGs of two folders by file name, sorted; other files are passed over.

    Raises:
        ValueError: a folder is missing or holds no PNG, or a file has no partner.
    """
    predicted, true = _png_names(predictions), _png_names(labels)
    for folder, alone, other in (
        (predictions, sorted(predicted - true), labels),
        (labels, sorted(true - predicted), predictions),
    ):
        if alone:
            more = f" and {len(alone) - 3} more" if len(alone) > 3 else ""
            raise ValueError(
                f"{folder}: no file of the same name in {other} for {', '.join(alone[:3])}{more}"
            )
    return [(predictions / name, labels / name) for name in sorted(true)]


def measure(
    pairs: Sequence[tuple[Path, Path]],
    *,
    num_classes: int,
    void: int,
    first_class: int = 0,
    tolerance: float = TOLERANCE,
    void_rule: VoidRule = "ignore_nothing",
    processes: int = 1,
) -> Evidence:
    """Reads and compares (prediction, truth) files, several at a time.

    Args:
        pairs: from `pair_files`.
        num_classes: K.
        void: the value of void pixels as stored in the files.
        first_class: the value of class 0 as stored in the files.
        tolerance: of BF, as a share of the image diagonal.
        void_rule: of BF, see `boundary_counts`.
        processes: 1 stays in this process.

    Raises:
        ValueError: a file is no index image, holds a value that is neither class nor void, or
            differs in size from its partner; the message names it.
    """
    measure_one = partial(
        _measure_pair,
        num_classes=num_classes,
        void=void,
        first_class=first_class,
        tolerance=tolerance,
        void_rule=void_rule,
    )
    workers = min(processes, -(-len(pairs) // 8))  # fewer than 8 images do not repay a start
    if workers == 1:
        results = _collect(map(measure_one, pairs), len(pairs))
    else:
        # Spawned, not forked: a fork of a process with threads (numpy's, tqdm's) may hang.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            results = _collect(pool.map(measure_one, pairs, chunksize=4), len(pairs))
    confusion, boundaries = zip(*results, strict=True)
    names = tuple(truth.name for _, truth in pairs)
    return Evidence(names, np.stack(confusion), np.stack(boundaries))


def _png_names(folder: Path) -> set[str]:
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    names = {path.name for path in folder.iterdir() if path.suffix.lower() == ".png"}
    if not names:
        raise ValueError(f"{folder}: no PNG file in this folder")
    return names


def _measure_pair(
    pair: tuple[Path, Path],
    *,
    num_classes: int,
    void: int,
    first_class: int,
    tolerance: float,
    void_rule: VoidRule,
) -> Result:
    prediction, truth = (_read_classes(path, num_classes, void, first_class) for path in pair)
    confusion = confusion_matrix(
        prediction, truth, num_classes=num_classes, void=num_classes, name=str(pair[0])
    )
    boundaries = boundary_counts(
        prediction, truth, num_classes=num_classes, tolerance=tolerance, void_rule=void_rule
    )
    return confusion, boundaries


def _read_classes(path: Path, num_classes: int, void: int, first_class: int) -> NDArray[np.int16]:
    """Reads a label file as class indices (H, W): classes are 0..K-1, void is K."""
    index_of = np.full(256, -1, np.int16)
    index_of[first_class : first_class + num_classes] = np.arange(num_classes)
    index_of[void] = num_classes
    stored = read_label(path)
    indices = index_of[stored]
    if indices.min() < 0:
        raise ValueError(
            f"{path}: the value {stored[indices < 0][0]} is neither a class ({first_class}.."
            f"{first_class + num_classes - 1}) nor void ({void}); check --classes, --void and "
            "--first-class"
        )
    return indices


def _collect(results: Iterable[Result], total: int) -> list[Result]:
    """Gathers the results; shows progress on a terminal only."""
    return list(tqdm(results, total=total, unit="image", leave=False, disable=None))


def _as_json(evidence: Evidence) -> str:
    per_image = {
        name: all_scores(evidence.select([image])) for image, name in enumerate(evidence.names)
    }
    return json.dumps({"set": all_scores(evidence), "per_image": per_image}, allow_nan=False)


def _as_table(evidence: Evidence, options: argparse.Namespace) -> str:
    scores = all_scores(evidence)
    of_class, bf = scores["per_class"], scores["BF"]
    first, last = options.first_class, options.first_class + options.classes - 1
    columns = (of_class["accuracy"], of_class["IoU"], of_class["BF"]["one_to_one"]["ground_truth"])
    blocks: list[list[tuple[Any, ...]]] = [
        [("", *HEADLINE), ("all", *(value.item() for value in headline(evidence).values()))],
        [("class", "accuracy", "IoU", "BF"), *zip(range(first, last + 1), *columns, strict=True)],
        [("absent classes", "C", "mIoU")]
        + [(rule, scores["C"][rule], scores["mIoU"][rule]) for rule in ABSENT_CLASSES],
        [("BF", *BOUNDARY_CLASSES)] + [(matching, *bf[matching].values()) for matching in bf],
    ]
    notes = NOTES.format(
        images=len(evidence.names),
        first=first,
        last=last,
        void=options.void,
        tolerance=100 * options.tolerance,
        void_rule=options.void_rule,
    )
    return "\n\n".join(["\n".join(_row(*row) for row in block) for block in blocks] + [notes])


def _row(name: str | int, *cells: str | float | None) -> str:
    """Lays out a name and its figures; fractions become percent."""
    texts = [
        cell
        if isinstance(cell, str)
        else "n/a"
        if cell is None or isnan(cell)
        else f"{cell:.2%}"[:-1]
        for cell in cells
    ]
    return f"{name:<14}" + "".join(f"{text:>14}" for text in texts)


def _check(options: argparse.Namespace) -> None:
    """Refuses options that contradict each other.

    Raises:
        ValueError: naming the option, its value and the remedy.
    """
    first, last = options.first_class, options.first_class + options.classes - 1
    if options.classes < 1 or first < 0 or last > 255:
        raise ValueError(
            f"--classes {options.classes} with --first-class {first} means the values "
            f"{first}..{last}; label PNGs hold 0..255"
        )
    if first <= options.void <= last or not 0 <= options.void <= 255:
        raise ValueError(
            f"--void {options.void} must be a value from 0 to 255 that is not a class "
            f"({first}..{last}); 255 if no pixel is void"
        )
    if not 0 < options.tolerance < 1:
        raise ValueError(
            f"--tolerance {options.tolerance} must lie between 0 and 1: a share of the diagonal"
        )
    if options.processes < 1:
        raise ValueError(f"--processes {options.processes} must be at least 1")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.score",
        description="Scores predicted label PNGs against true ones: G, C, mIoU and BF.",
    )
    parser.add_argument("predictions", type=Path, help="folder of predicted label PNGs")
    parser.add_argument("labels", type=Path, help="folder of true label PNGs of the same names")
    parser.add_argument(
        "--classes", type=int, required=True, help="number of classes, without void"
    )
    parser.add_argument(
        "--void", type=int, required=True, help="value of unlabelled pixels, as stored in the files"
    )
    parser.add_argument(
        "--first-class",
        type=int,
        default=0,
        help="value of the first class as stored in the files; 1 for labels that count from one. "
        "--void is not shifted: SUN RGB-D is --classes 37 --first-class 1 --void 0 (default: 0)",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE,
        help="of BF, as a share of the image diagonal (default: %(default)s)",
    )
    parser.add_argument(
        "--void-rule",
        choices=VOID_RULES,
        default=VOID_RULES[0],
        help="of BF: mask_prediction makes predictions void where the truth is void "
        "(default: %(default)s, as the authors' script)",
    )
    parser.add_argument("--json", action="store_true", help="every convention, set and images")
    parser.add_argument(
        "--processes",
        type=int,
        default=os.cpu_count() or 1,
        help="images scored at a time (default: number of cores)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
